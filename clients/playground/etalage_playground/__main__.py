"""python -m etalage_playground --server 127.0.0.1:50051"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from etalage.cli_options import add_connection, read_connection
from etalage_playground.guard import Guard
from etalage_playground.site import build_site
from etalage_playground.suggestions import SUGGESTIONS, read_suggestions

LOOPBACK = "127.0.0.1"
STOP_TIMEOUT_S = 2
TIMEOUT_S = 90.0
"""Of a call: somebody looks on, and sees how far it is."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        suggestions = read_suggestions(arguments.suggestions)
        site = build_site(
            arguments.server,
            suggestions,
            timeout_s=arguments.timeout,
            **read_connection(arguments),
        )
        listener = _listen(arguments.host, arguments.port)
    except (OSError, ValueError) as error:
        print(f"etalage-playground: {error}", file=sys.stderr)
        return 2
    host, port = listener.getsockname()[:2]
    guard = Guard(site, {f"{name}:{port}" for name in _names(arguments.host)})
    config = uvicorn.Config(
        guard,
        loop="asyncio",
        ws="none",
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )
    shown = f"[{host}]" if ":" in host else host
    print(f"playground: http://{shown}:{port} asks {arguments.server}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="etalage-playground", description="A page on which to try a server of Etalage."
    )
    add = parser.add_argument
    add("--host", default=LOOPBACK, help=f"address of the page (default: {LOOPBACK}, this machine)")
    add("--port", type=int, default=8008, help="0 picks a free one (default: 8008)")
    add("--suggestions", type=Path, default=SUGGESTIONS, metavar="FILE",
        help="products and shoppers to offer, JSON (default: the embedded world's)")  # fmt: skip
    add_connection(parser)
    parser.set_defaults(timeout=TIMEOUT_S)
    return parser


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _names(host: str) -> set[str]:
    """By which a browser may call the page: another name may be another site's."""
    bound = f"[{host}]" if ":" in host else host
    return {bound, "localhost", LOOPBACK}


if __name__ == "__main__":
    sys.exit(main())
