"""The verbs of `etalage batches`: submit, get, list, watch, cancel."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.json_format import Parse, ParseError

from etalage.batches import Batch
from etalage.cli_options import add_connection
from etalage.client import Client
from etalage.v1.images_pb2 import GenerateImageRequest

Run = Callable[[Client, argparse.Namespace], int]

EXIT_CODES: Mapping[str, int] = {"failed": 1, "cancelled": 7}
"""By how a batch that was waited for has ended."""


def add_batches(verbs: Any) -> None:
    summary = "jobs of many images, which outlive the connection"
    parser = verbs.add_parser("batches", help=summary, description=summary)
    own = parser.add_subparsers(required=True, metavar="VERB")
    _add_submit(own)
    _add_verb(own, "get", _get, "how far a batch is, and what failed", has_id=True)
    _add_verb(own, "list", _list, "all that the server remembers, the youngest first")
    _add_verb(own, "watch", _watch, "news of a batch until it has ended", has_id=True)
    _add_verb(own, "cancel", _cancel, "stop a batch; what was made stays", has_id=True)


def read_requests(path: Path) -> Iterator[GenerateImageRequest]:
    """A request from each line that is not empty. Raises ValueError naming the line."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip():
            try:
                yield Parse(line, GenerateImageRequest())
            except ParseError as error:
                reason = str(error).partition("\n")[0]
                raise ValueError(f"{path}: line {number}: {reason}") from error


def describe_batch(batch: Batch) -> str:
    """One line for a person."""
    num_done = batch.num_succeeded + batch.num_failed
    facts = [batch.state, f"{num_done} of {batch.num_requests} done"]
    if batch.num_failed:
        facts.append(f"{batch.num_failed} failed")
    if batch.images_per_second:
        facts.append(f"{batch.images_per_second:.1f} images/s")
    return f"{batch.batch_id}: {', '.join((*facts, batch.output_folder))}"


def _add_submit(verbs: Any) -> None:
    parser = _add_verb(verbs, "submit", _submit, "the requests of a file as a batch")
    add = parser.add_argument
    add("file", metavar="FILE", type=Path, help="JSON Lines: a GenerateImageRequest in each line, "
        'such as {"product_id": "wrench", "user_id": "u1", "seed": 5}')  # fmt: skip
    add("--request-id", default="", metavar="ID", help="the batch's id (default: made up)")
    add("--output-folder", default="", metavar="FOLDER", help="below the server's own for batches")


def _add_verb(
    verbs: Any, name: str, run: Run, summary: str, has_id: bool = False
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    if has_id:
        parser.add_argument("batch_id", metavar="ID", help="the batch's id")
    add_connection(parser)
    return parser


def _submit(client: Client, arguments: argparse.Namespace) -> int:
    batch = client.batches.submit(
        read_requests(arguments.file),
        request_id=arguments.request_id,
        output_folder=arguments.output_folder,
    )
    print(describe_batch(batch))
    return 0


def _get(client: Client, arguments: argparse.Namespace) -> int:
    _tell(client.batches.get(arguments.batch_id))
    return 0


def _list(client: Client, arguments: argparse.Namespace) -> int:
    for batch in client.batches.list():
        print(describe_batch(batch))
    return 0


def _watch(client: Client, arguments: argparse.Namespace) -> int:
    """As long as it takes: `--timeout` is for calls that answer at once."""
    last = None
    for last in client.batches.watch(arguments.batch_id):
        print(describe_batch(last), flush=True)
    if last is None:
        return 1
    _tell_failures(last)
    return EXIT_CODES.get(last.state, 0)


def _cancel(client: Client, arguments: argparse.Namespace) -> int:
    _tell(client.batches.cancel(arguments.batch_id))
    return 0


def _tell(batch: Batch) -> None:
    print(describe_batch(batch))
    _tell_failures(batch)


def _tell_failures(batch: Batch) -> None:
    for each in batch.failures:
        print(f"etalage: {each.request_id}: {each.message} [{each.reason}]", file=sys.stderr)
