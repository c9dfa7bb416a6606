"""The command `etalage`: generate, stream, slate, explain, enhance, verify, batches, erase, …"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from etalage.cli_batches import add_batches
from etalage.cli_options import (
    add_connection,
    add_image,
    read_connection,
    read_options,
    read_repairs,
)
from etalage.cli_privacy import add_privacy
from etalage.client import Client
from etalage.enhancement import Repair
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
from etalage.requests import ImageFormat, Product
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
        epilog="Exits with 0: done, 1: the server failed, 2: wrong arguments, "
        "3: no such product or batch, 4: no server or a full one, 5: too late, "
        "6: not permitted, 7: cancelled.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_verb(verbs, "generate", _generate, "images of one product", _add_product)
    _add_verb(verbs, "stream", _stream, "the same, showing how far it is", _add_product)
    _add_verb(verbs, "slate", _slate, "one image for each of several products", _add_slate)
    _add_verb(verbs, "explain", _explain, "which inputs move an image", _add_explained)
    _add_enhance(verbs)
    _add_verify(verbs)
    _add_cancel(verbs)
    add_batches(verbs)
    add_privacy(verbs)
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
    if result.source != "generated" or image.is_original:
        facts.append(f"from {'original' if image.is_original else result.source}")
    if image.look:
        facts.append(" ".join(image.look))
    if (true := image.fidelity) is not None and true.growth_percent is not None:
        facts.append(f"product {true.max_difference}/255 off, grown {true.growth_percent:.1f} %")
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
    add_image(parser)
    add_connection(parser)


def _add_enhance(verbs: Any) -> None:
    summary = "what is wrong with a packshot, and a better one"
    parser = verbs.add_parser("enhance", help=summary, description=summary)
    parser.set_defaults(run=_enhance)
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--product", help="its id")
    source.add_argument("--packshot", metavar="FILE", type=Path, help="a picture")
    add("-o", "--output", metavar="FILE", help="image to write; left out: only a diagnosis")
    add("--difference", metavar="FILE", help="where it changed, as a PNG to write")
    add("--repairs", nargs="+", default=(), choices=get_args(Repair), help="what may be done")
    add("--mask", metavar="FILE", type=Path, help="white where it must be painted anew")
    add("--steps", type=int, help="of the restoration, 1 to 20 (default: the server's)")
    add("--upscale-factor", type=int, help="of the repair upscale, 2 to 4 (default: 2)")
    add("--format", choices=get_args(ImageFormat), help="(default: by the name of the output)")
    add("--quality", type=int, help="of WebP and JPEG, 1 to 100")
    add_connection(parser)


def _add_verify(verbs: Any) -> None:
    summary = "where images come from, and whether they were changed since"
    parser = verbs.add_parser("verify", help=summary, description=summary)
    parser.set_defaults(run=_verify)
    parser.add_argument("images", metavar="FILE", nargs="+", type=Path, help="PNG, WebP or JPEG")
    add_connection(parser)


def _add_cancel(verbs: Any) -> None:
    summary = "what runs, or is to come, under an id"
    parser = verbs.add_parser("cancel", help=summary, description=summary)
    parser.set_defaults(run=_cancel)
    parser.add_argument("request_id", metavar="ID", help="the request's --request-id")
    add_connection(parser)


def _add_product(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--product", required=True, help="its id, or its title with --packshot")
    _add_packshot(parser)
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="image to write")
    parser.add_argument("--num-images", type=int, default=1, help="1 to 8 (default: 1)")


def _add_packshot(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--packshot", metavar="FILE", help="a picture of a product not in store")
    add("--mask", metavar="FILE", default=b"", help="of the packshot: white where the product is")


def _add_explained(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--product", required=True, help="its id, or its title with --packshot")
    _add_packshot(parser)
    parser.add_argument("--map", metavar="FILE", help="where the shopper acted, as a PNG to write")


def _add_slate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--products", required=True, nargs="+", metavar="ID", help="best first")
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="folder to fill")


def _connect(arguments: argparse.Namespace) -> Client:
    connection = read_connection(arguments)
    return Client(arguments.server, timeout_s=arguments.timeout, **connection)


def _product(arguments: argparse.Namespace) -> str | Product:
    if arguments.packshot is None:
        return cast(str, arguments.product)
    return Product(arguments.product, arguments.packshot, mask=arguments.mask)


def _generate(client: Client, arguments: argparse.Namespace) -> int:
    return _save(client.generate(_product(arguments), **read_options(arguments)), arguments.output)


def _stream(client: Client, arguments: argparse.Namespace) -> int:
    for event in client.stream(_product(arguments), **read_options(arguments)):
        if isinstance(event, Progress):
            _show(event)
        elif isinstance(event, Result):
            return _save(event, arguments.output)
    raise EtalageError("the stream ended without a result")


def _slate(client: Client, arguments: argparse.Namespace) -> int:
    num_failed = 0
    for item in client.slate(arguments.products, **read_options(arguments)):
        if item.result is None:
            num_failed += 1
            error = item.error or EtalageError("no result")
            print(f"etalage: {item.product_id}: {describe_error(error)}", file=sys.stderr)
        else:
            _save(item.result, Path(arguments.output) / _name(item))
    return 1 if num_failed else 0


def _explain(client: Client, arguments: argparse.Namespace) -> int:
    answer = client.explain(_product(arguments), **read_options(arguments))
    told = answer.explanation
    print(told.text)
    for each in told.influences:
        print(f"{each.share:+7.1%}  {each.change:6.2f}/255  {each.input}: {each.description}")
    if arguments.map and told.shopper_map:
        Path(arguments.map).write_bytes(told.shopper_map)
    return 0


def _enhance(client: Client, arguments: argparse.Namespace) -> int:
    source = arguments.packshot or arguments.product
    enhanced = client.enhance(source, **read_repairs(arguments))
    for each in enhanced.findings:
        after = "" if each.score_after is None else f" -> {each.score_after:4.2f}"
        mark = "!" if each.is_found else " "
        print(f"{mark} {each.defect:20} {each.score_before:4.2f}{after}  {each.measured}")
    for warning in enhanced.warnings:
        print(f"etalage: {warning}", file=sys.stderr)
    if enhanced.image is not None:
        done = ", ".join(enhanced.repairs) or "nothing had to be done"
        print(f"{enhanced.image.save(arguments.output)}: {done}")
    if arguments.difference and enhanced.difference is not None:
        enhanced.difference.save(arguments.difference)
    return 0


def _verify(client: Client, arguments: argparse.Namespace) -> int:
    """Fails where not every image is as it was signed."""
    num_doubtful = 0
    for path in arguments.images:
        verified = client.verify(path)
        num_doubtful += verified.manifest != "valid"
        print(f"{path}: {verified}")
    return 1 if num_doubtful else 0


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
    if result.explanation is not None:
        print(result.explanation.text)
    for each in result.tries:
        print(f"etalage: seed {each.seed} failed: {', '.join(each.reasons)}", file=sys.stderr)
    for warning in result.warnings:
        print(f"etalage: warning: {warning}", file=sys.stderr)
    return 0 if result.images else 1


def _name(item: SlateItem) -> str:
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in item.product_id)
    suffix = "jpg" if (mime := item.unwrap().image.mime_type) == "image/jpeg" else mime[6:]
    return f"{item.rank + 1:02d}-{safe}.{suffix}"
