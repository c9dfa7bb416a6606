"""The command `etalage`: generate, stream, slate, cancel."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from etalage.channels import DEFAULT_SERVER, DEFAULT_TIMEOUT_S, ConnectionOptions
from etalage.client import Client
from etalage.errors import (
    Cancelled,
    DeadlineExceeded,
    EtalageError,
    InvalidArgument,
    NotFound,
    Overloaded,
    PermissionDenied,
    Unavailable,
)
from etalage.requests import (
    Arm,
    DeadlinePolicy,
    ImageFormat,
    ImageOptions,
    Mode,
    Product,
    Sampler,
    Sigmas,
)
from etalage.results import Image, Progress, Result, SlateItem

EXIT_CODES: Mapping[type[EtalageError], int] = {
    InvalidArgument: 2,
    NotFound: 3,
    Overloaded: 4,
    Unavailable: 4,
    DeadlineExceeded: 5,
    PermissionDenied: 6,
    Cancelled: 7,
}
SUFFIX_TO_FORMAT = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}

_OPTIONS = tuple(ImageOptions.__annotations__)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or the code of what went wrong as `etalage --help` lists them."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        with _connect(arguments) as client:
            return cast(int, arguments.run(client, arguments))
    except EtalageError as error:
        print(f"etalage: {describe_error(error)}", file=sys.stderr)
        return EXIT_CODES.get(type(error), 1)
    except (OSError, ValueError) as error:
        print(f"etalage: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="etalage",
        description="How should this product look to this shopper?",
        epilog="Exits with 0: done, 1: the server failed, 2: wrong arguments, 3: no such product, "
        "4: no server or a full one, 5: too late, 6: not permitted, 7: cancelled.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_verb(verbs, "generate", _generate, "images of one product", _add_product)
    _add_verb(verbs, "stream", _stream, "the same, showing how far it is", _add_product)
    _add_verb(verbs, "slate", _slate, "one image for each of several products", _add_slate)
    _add_cancel(verbs)
    return parser


def describe_error(error: EtalageError) -> str:
    """One line for a person."""
    text = f"{error} [{error.reason or error.code}]"
    if error.retry_after_s is not None:
        text += f", try again in {error.retry_after_s:g} s"
    return text


def describe_image(result: Result, image: Image) -> str:
    """One line of what the response says of this image."""
    shopper = result.personalization.reason.replace("_", " ")
    total_ms = sum(result.timings_ms.values())
    facts = [f"arm {result.arm}", shopper, f"seed {image.seed}"]
    if result.source != "generated":
        facts.append(f"from {result.source}")
    if result.degradation != "none":
        facts.append(f"degraded to {result.degradation.replace('_', ' ')}")
    facts += [f"{result.steps} steps", f"{total_ms:.0f} ms"]
    if result.num_forward_rows:
        facts.append(f"{result.num_forward_rows} forward rows")
    if result.num_shared_steps:
        facts.append(f"{result.num_shared_steps} steps shared")
    return ", ".join(facts)


def _add_verb(
    verbs: Any,
    name: str,
    run: Callable[[Client, argparse.Namespace], int],
    summary: str,
    add_subject: Callable[[argparse.ArgumentParser], None],
) -> None:
    parser = verbs.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    add_subject(parser)
    _add_image(parser)
    _add_connection(parser)


def _add_cancel(verbs: Any) -> None:
    summary = "what runs, or is to come, under an id"
    parser = verbs.add_parser("cancel", help=summary, description=summary)
    parser.set_defaults(run=_cancel)
    parser.add_argument("request_id", metavar="ID", help="the request's --request-id")
    _add_connection(parser)


def _add_product(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--product", required=True, help="its id, or its title with --packshot")
    parser.add_argument("--packshot", metavar="FILE", help="a picture of a product not in store")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="image to write")
    parser.add_argument("--num-images", type=int, default=1, help="1 to 8 (default: 1)")


def _add_slate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--products", required=True, nargs="+", metavar="ID", help="best first")
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="folder to fill")


def _add_image(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the image (left out: the server's default)").add_argument
    add("--user", default="", help="who is asking (default: anonymous)")
    add("--strength", type=float, help="personalization, 0 to 1")
    add("--product-scale", type=float, help="guidance of the product, 0 to 30")
    add("--steps", type=int, help="sampling steps, 1 to 100")
    add("--seed", type=int, help="0 is a seed like any other")
    add("--sampler", choices=get_args(Sampler))
    add("--mode", choices=get_args(Mode), default="preserve", help="(default: preserve)")
    add("--locale", default="en", help="BCP 47 tag (default: en)")
    add("--format", choices=get_args(ImageFormat), help="(default: by the name of the output)")
    add("--quality", type=int, help="of WebP and JPEG, 1 to 100")
    add("--longest-side", type=int, help="in pixels, 32 to 2048")
    add("--aspect-ratio", type=float, help="width over height, 0.25 to 4")
    add("--deadline-policy", choices=get_args(DeadlinePolicy))
    add("--arm", help=f"forces an arm: {', '.join(get_args(Arm))}")
    add("--model", help="one that the server has, such as quality or fast")
    add("--sigmas", choices=get_args(Sigmas), help="noise levels at which the sampler stops")
    add("--style", default="", help="a LoRA that the model has")
    add("--reuse", action="store_true", help="let forward passes that change little be skipped")
    add("--request-id", default="", metavar="ID", help="by which to cancel it (default: made up)")


def _add_connection(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the server").add_argument
    add("--server", default=os.environ.get("ETALAGE_SERVER", DEFAULT_SERVER), metavar="HOST:PORT",
        help=f"(default: ETALAGE_SERVER or {DEFAULT_SERVER})")  # fmt: skip
    add("--timeout", type=float, default=DEFAULT_TIMEOUT_S, metavar="SECONDS", help="(default: 30)")
    add("--ca", metavar="FILE", help="certificates to trust, PEM")
    add("--cert", metavar="FILE", help="the client's own certificate, PEM")
    add("--key", metavar="FILE", help="and its private key, PEM")
    add("--insecure", action="store_true", help="plaintext to another machine")


def _connect(arguments: argparse.Namespace) -> Client:
    connection = {name: getattr(arguments, name) for name in ("ca", "cert", "key", "insecure")}
    return Client(
        arguments.server, timeout_s=arguments.timeout, **cast(ConnectionOptions, connection)
    )


def _options(arguments: argparse.Namespace) -> ImageOptions:
    options = {name: getattr(arguments, name) for name in _OPTIONS if name in arguments}
    suffix = Path(arguments.output).suffix.lower()
    options["format"] = options["format"] or SUFFIX_TO_FORMAT.get(suffix)
    return cast(ImageOptions, options)


def _product(arguments: argparse.Namespace) -> str | Product:
    if arguments.packshot is None:
        return cast(str, arguments.product)
    return Product(title=arguments.product, packshot=arguments.packshot)


def _generate(client: Client, arguments: argparse.Namespace) -> int:
    return _save(client.generate(_product(arguments), **_options(arguments)), arguments.output)


def _stream(client: Client, arguments: argparse.Namespace) -> int:
    for event in client.stream(_product(arguments), **_options(arguments)):
        if isinstance(event, Progress):
            _show(event)
        elif isinstance(event, Result):
            return _save(event, arguments.output)
    raise EtalageError("the stream ended without a result")


def _slate(client: Client, arguments: argparse.Namespace) -> int:
    num_failed = 0
    for item in client.slate(arguments.products, **_options(arguments)):
        if item.result is None:
            num_failed += 1
            error = item.error or EtalageError("no result")
            print(f"etalage: {item.product_id}: {describe_error(error)}", file=sys.stderr)
        else:
            _save(item.result, Path(arguments.output) / _name(item))
    return 1 if num_failed else 0


def _cancel(client: Client, arguments: argparse.Namespace) -> int:
    done = client.cancel(arguments.request_id)
    rest = "refused for a while" if done.is_remembered else "its answer, if any, stays"
    print(f"{arguments.request_id}: {done.num_cancelled} cancelled, {rest}")
    return 0


def _show(progress: Progress) -> None:
    """A bar where a person looks at it, nothing in a log."""
    if not sys.stderr.isatty():
        return
    done = 30 * progress.step // max(progress.total_steps, 1)
    end = "\n" if progress.step == progress.total_steps else ""
    bar = f"{'#' * done:.<30}"
    print(f"\r{bar} {progress.step}/{progress.total_steps}", end=end, file=sys.stderr, flush=True)


def _save(result: Result, output: str | Path) -> int:
    first = Path(output)
    for number, image in enumerate(result.images, start=1):
        path = first if number == 1 else first.with_stem(f"{first.stem}-{number}")
        print(f"{image.save(path)}: {describe_image(result, image)}")
    for warning in result.warnings:
        print(f"etalage: warning: {warning}", file=sys.stderr)
    return 0 if result.images else 1


def _name(item: SlateItem) -> str:
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in item.product_id)
    suffix = "jpg" if (mime := item.unwrap().image.mime_type) == "image/jpeg" else mime[6:]
    return f"{item.rank + 1:02d}-{safe}.{suffix}"
