"""The verbs of `etalage` about a shopper's data: erase, export-user, consent."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etalage.cli_options import add_connection
from etalage.client import Client

Run = Callable[[Client, argparse.Namespace], int]


def add_privacy(verbs: Any) -> None:
    erase = _add_verb(verbs, "erase", _erase, "all that is held of a shopper, for good")
    text = "take nothing in of them ever again, also not of what they do from now on"
    erase.add_argument("--permanent", action="store_true", help=text)
    text = "answer once no request can read it, before files are written anew"
    erase.add_argument("--no-wait", action="store_true", help=text)
    export = _add_verb(verbs, "export-user", _export, "all that is held of a shopper, as JSON")
    export.add_argument("-o", "--output", metavar="FILE", type=Path, help="(default: print it)")
    consent = _add_verb(verbs, "consent", _consent, "whether a shopper's taste may be used")
    consent.add_argument("choice", choices=("given", "withdrawn"))


def _add_verb(verbs: Any, name: str, run: Run, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    parser.add_argument("user", metavar="USER", help="their id")
    add_connection(parser)
    return parser


def _erase(client: Client, arguments: argparse.Namespace) -> int:
    """Prints the proof; 1 where a store could not be asked."""
    wait = not arguments.no_wait
    proof = client.erase(arguments.user, permanent=arguments.permanent, wait=wait)
    print(json.dumps(proof.to_dict(), indent=1))
    failed = [store for store in proof.stores if store.error]
    for store in failed:
        print(f"etalage: {store.store} failed, to be tried again: {store.error}", file=sys.stderr)
    return int(bool(failed) or (wait and not proof.complete))


def _export(client: Client, arguments: argparse.Namespace) -> int:
    data = client.export_user(arguments.user)
    if arguments.output is None:
        print(data.decode())
    else:
        arguments.output.write_bytes(data)
        print(arguments.output)
    return 0


def _consent(client: Client, arguments: argparse.Namespace) -> int:
    since = client.set_consent(arguments.user, arguments.choice == "given")
    print(f"{arguments.choice} since {since.isoformat()}")
    return 0
