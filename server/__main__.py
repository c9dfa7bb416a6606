"""The verbs of `python -m server`. Each imports late what it needs."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from server.bulk.shard import Shard
from server.commands.settings import ConfigurationError, add_flags, configuration_from
from server.configuration import Configuration

Verb = Callable[[Configuration, argparse.Namespace], int]
Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_SETTINGS = """Every setting can come from a file (--config), from the environment
(ETALAGE_SLICE__NAME, e.g. ETALAGE_SERVER__PORT) and from a flag, in rising precedence."""


_HOLDERS = "features", "experiments", "batches", "image_cache", "privacy", "logging"
"""Slices that say where something of shoppers is held."""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server", description="Etalage, a model server.", allow_abbrev=False
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_serve(verbs)
    _add_ingest(verbs)
    _add_bulk(verbs)
    _add_plan(verbs)
    _add_report(verbs)
    _add_dataset(verbs)
    _add_verify(verbs)
    _add_erase(verbs)
    _add_export_user(verbs)
    _add_models(verbs)
    _add_keys(verbs)
    _add_demo(verbs)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    parsed, unknown = make_parser().parse_known_args(arguments)
    try:
        if unknown:
            raise ConfigurationError(f"{' '.join(unknown)}: unknown; --help lists what is allowed")
        configuration = configuration_from(parsed)
    except ConfigurationError as error:
        print(f"wrong configuration, nothing was started:\n{error}", file=sys.stderr)
        return 2
    run: Verb = parsed.run
    return run(configuration, parsed)


def _add_verb(verbs: Verbs, name: str, text: str, run: Verb) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}. {_SETTINGS}",
        usage=f"python -m server {name} [options] [--config FILE] [--SLICE.NAME VALUE ...]",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    return parser


def _add_serve(verbs: Verbs) -> None:
    parser = _add_verb(verbs, "serve", "answer requests until a signal comes", _serve)
    text = "where to write the bound ports, as JSON with the keys grpc, admin, health and metrics"
    parser.add_argument("--port-file", type=Path, metavar="FILE", help=text)
    text = (
        "where rows are sampled: here, or in replicas on Ray Serve: RAY_ADDRESS or, without one, "
    )
    text += "this machine"
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help=text)
    add_flags(parser)


def _serve(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.commands.serve import serve

    if arguments.engine == "ray":
        from server.commands.replicas import build_on_ray as build
    else:
        from server.commands.building import build

    return serve(configuration, build, arguments.port_file)


def _add_ingest(verbs: Verbs) -> None:
    parser = _add_verb(verbs, "ingest", "compute embeddings and fill the feature store", _ingest)
    parser.add_argument(
        "catalogue",
        type=Path,
        nargs="?",
        metavar="CATALOGUE",
        help="JSONL, parquet, CSV or COCO JSON file, or a folder with one; unset: the embedded one",
    )
    text = "fail where any row had to be left out"
    parser.add_argument("--strict", action="store_true", help=text)
    add_flags(parser, ("model", "features", "privacy", "enhancement", "logging"))


def _ingest(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.commands.ingest import ingest

    return ingest(configuration, arguments.catalogue, arguments.strict)


def _add_bulk(verbs: Verbs) -> None:
    text = "make the images of a file of requests, going on from where a run was stopped"
    parser = _add_verb(verbs, "bulk", text, _bulk)
    parser.usage = "python -m server bulk REQUESTS OUT [options] [--SLICE.NAME VALUE ...]"
    text = "parquet, JSONL or CSV file, path or fsspec URL; a row is a request, its fields columns"
    parser.add_argument("requests", metavar="REQUESTS", help=text)
    text = "folder, path or fsspec URL, of images/, manifest.parquet and failures.jsonl"
    parser.add_argument("out", metavar="OUT", help=text)
    text = "make part I of N, from 1, e.g. 2/8; afterwards without it, for one manifest of all"
    parser.add_argument("--shard", type=_shard, default="1/1", metavar="I/N", help=text)
    text = "here, or on actors of Ray Data: RAY_ADDRESS or, without one, this machine"
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help=text)
    text = "actors of Ray, each with the models loaded and engine.threads cores (default: 1)"
    parser.add_argument("--num-actors", type=_count, default=1, metavar="N", help=text)
    text = "requests under way at once (default: twice the largest of engine.buckets, by device)"
    parser.add_argument("--in-flight", type=_count, default=0, metavar="N", help=text)
    slices = "engine", "model", "features", "creatives", "verification", "enhancement"
    add_flags(parser, (*slices, "image_cache", "provenance", "logging"))


def _bulk(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.commands.building import build
    from server.commands.bulk import BulkOptions, bulk, make_absolute

    options = BulkOptions(
        make_absolute(arguments.requests),
        make_absolute(arguments.out),
        arguments.shard,
        arguments.engine,
        arguments.num_actors,
        arguments.in_flight,
    )
    return bulk(configuration, build, options)


def _add_plan(verbs: Verbs) -> None:
    from server.commands.plan_options import add_options

    text = "say how many devices so many requests need"
    parser = verbs.add_parser("plan", help=text, description=f"{text.capitalize()}.")
    parser.set_defaults(run=_plan, config=None)
    add_options(parser)


def _plan(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.commands.plan import plan

    return plan(arguments)


def _add_report(verbs: Verbs) -> None:
    parser = _add_verb(verbs, "report", "say what an experiment came to by now", _report)
    parser.add_argument("--experiment", required=True, metavar="KEY", help="its key")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the page for people")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it as JSON")
    add_flags(parser, ("experiments", "features"))


def _report(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.commands.report import report

    return report(configuration, arguments.experiment, arguments.html, arguments.json)


def _add_dataset(verbs: Verbs) -> None:
    text = "turn what shoppers did in experiments into a training set"
    parser = _add_verb(verbs, "dataset", text, _dataset)
    parser.usage = "python -m server dataset OUT [options] [--SLICE.NAME VALUE ...]"
    text = "the parquet file to write; creatives.parquet goes beside it"
    parser.add_argument("out", type=Path, metavar="OUT", help=text)
    text = "of the products, as `ingest` takes it; unset: the embedded one"
    parser.add_argument("--catalogue", type=Path, metavar="FILE", help=text)
    add_flags(parser, ("experiments", "features", "privacy", "model", "enhancement"))


def _dataset(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.commands.dataset import dataset

    return dataset(configuration, arguments.catalogue, arguments.out)


def _add_verify(verbs: Verbs) -> None:
    text = "say of images where they come from, and whether they were changed since"
    parser = _add_verb(verbs, "verify", text, _verify)
    parser.usage = "python -m server verify IMAGE [IMAGE ...] [options] [--SLICE.NAME VALUE ...]"
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="PNG, WebP or JPEG")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each")
    add_flags(parser, ("provenance", "features"))


def _verify(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.commands.provenance import verify

    return verify(configuration, arguments.images, arguments.json)


def _add_erase(verbs: Verbs) -> None:
    text = "erase shoppers from all stores, and print what went as a line of JSON for each"
    parser = _add_verb(verbs, "erase", text, _erase)
    parser.usage = "python -m server erase [USER ...] [options] [--SLICE.NAME VALUE ...]"
    text = "their ids; none: goes on with erasures that failed somewhere"
    parser.add_argument("users", nargs="*", metavar="USER", help=text)
    text = "take nothing in of them ever again, also not of what they do from now on"
    parser.add_argument("--permanent", action="store_true", help=text)
    add_flags(parser, _HOLDERS)


def _erase(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.commands.privacy import erase

    return erase(configuration, arguments.users, arguments.permanent)


def _add_export_user(verbs: Verbs) -> None:
    text = "write all that is held of a shopper, as JSON"
    parser = _add_verb(verbs, "export-user", text, _export_user)
    parser.usage = "python -m server export-user USER [options] [--SLICE.NAME VALUE ...]"
    parser.add_argument("user", metavar="USER", help="their id")
    text = "file to write; unset: standard output"
    parser.add_argument("--out", type=Path, metavar="FILE", help=text)
    add_flags(parser, _HOLDERS)


def _export_user(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.commands.privacy import export_user

    return export_user(configuration, arguments.user, arguments.out)


def _add_models(verbs: Verbs) -> None:
    text = "look at pretrained models, and at those of a running server"
    parser = verbs.add_parser("models", help=text, description=f"{text.capitalize()}.")
    nested = parser.add_subparsers(required=True, metavar="VERB")
    text = "load what a specification says, run a step of each bucket, tell what it takes"
    parser = _add_verb(nested, "check", text, _check_model)
    parser.usage = "python -m server models check SPECIFICATION [options]"
    parser.add_argument("specification", type=Path, metavar="SPECIFICATION", help="a YAML file")
    parser.add_argument(
        "--device", type=_device, default="auto", metavar="X", help="auto, cpu or cuda[:number]"
    )
    parser.add_argument(
        "--buckets",
        type=_buckets,
        default=(1, 2, 3, 4),
        metavar="X,X",
        help="rows of a forward, rising (default: 1,2,3,4)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_flags(parser, ("logging",))
    _add_administration(nested)


def _add_administration(nested: Verbs) -> None:
    """What is asked of a running server."""
    told = {
        "list": ("which revisions a running server holds", ""),
        "load": ("load a model into a running server, or exchange it", "SPECIFICATION"),
        "unload": ("take a model from a running server", "NAME"),
    }
    for name, (text, subject) in told.items():
        parser = nested.add_parser(name, help=text, description=f"{text.capitalize()}.")
        parser.set_defaults(run=_administer, verb=name, config=None)
        if subject:
            parser.add_argument("subject", metavar=subject)
        text = "the server's admin port (default: 127.0.0.1:50052)"
        parser.add_argument("--admin", default="127.0.0.1:50052", metavar="HOST:PORT", help=text)
        text = "plaintext to another machine; otherwise ETALAGE_CA, ETALAGE_CERT and ETALAGE_KEY "
        text += "name files of PEM, and ETALAGE_API_KEY or ETALAGE_TOKEN, or a file that one of "
        text += "these with _FILE names, says who calls"
        parser.add_argument("--insecure", action="store_true", help=text)


def _administer(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.commands import administer

    address, is_insecure = arguments.admin, arguments.insecure
    if arguments.verb == "list":
        return administer.list_models(address, is_insecure)
    if arguments.verb == "load":
        return administer.load_model(address, Path(arguments.subject), is_insecure)
    return administer.unload_model(address, arguments.subject, is_insecure)


def _add_keys(verbs: Verbs) -> None:
    text = "make an API key of a tenant"
    parser = verbs.add_parser("keys", help=text, description=f"{text.capitalize()}.")
    nested = parser.add_subparsers(required=True, metavar="VERB")
    text = "print a new key, which is kept nowhere, and what the file of tenants says of it"
    parser = nested.add_parser("new", help=text, description=f"{text.capitalize()}.")
    parser.set_defaults(run=_make_key, config=None)
    parser.add_argument("tenant", metavar="TENANT", help="its name")


def _make_key(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.commands.keys import make

    return make(arguments.tenant)


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text)


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu or cuda[:number]")
    return text


def _buckets(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) if part.isdecimal() else 0 for part in text.split(","))
    if sizes[0] < 1 or list(sizes) != sorted(set(sizes)):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of rising numbers such as 1,2,4")
    return sizes


def _check_model(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.commands.models import check

    return check(
        arguments.specification,
        arguments.device,
        arguments.buckets,
        arguments.json,
        configuration.logging,
    )


def _add_demo(verbs: Verbs) -> None:
    text = "start a server, ask it for images of one product for different shoppers, keep them"
    parser = _add_verb(verbs, "demo", text, _demo)
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), metavar="FOLDER", help="(default: out/demo)"
    )
    add_flags(parser, ("features",))


def _demo(configuration: Configuration, arguments: argparse.Namespace) -> int:
    from server.demo import run

    return run(configuration.features.home, arguments.out)


if __name__ == "__main__":
    sys.exit(main())
