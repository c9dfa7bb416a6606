"""Runs what stands in a page as a reader would, from its top to its bottom.

A `python` block goes on with the names of those before it, a `bash` block stops at the first
command that fails, a block with a title is written to the file of that name, and a `text` block is
what the block before it prints; `…` in it stands for what differs from run to run. Other blocks are
for the eye.
"""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etalage import Client

ADDRESS = "127.0.0.1:50051"
"""Of a server in the pages."""

_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.M | re.S)


@dataclass(frozen=True, slots=True)
class Block:
    kind: str
    title: str
    text: str

    @property
    def serves(self) -> bool:
        """Whether it starts a server, which somebody else does here."""
        return self.kind == "bash" and "server serve" in self.text


def read_blocks(page: str) -> list[Block]:
    return [Block(*parts) for parts in _BLOCK.findall(page)]


def write_files(blocks: list[Block]) -> None:
    """Those that have a name, here."""
    for block in blocks:
        if block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, "utf-8")


def follow(page: str, server: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Runs a page in the working folder and gives the names of its Python. Fails where the page
    promises what does not come."""
    names: dict[str, Any] = {}
    told = ""
    try:
        for block in read_blocks(page):
            if block.title:
                write_files([block])
            elif block.kind == "python":
                told = _run_python(block.text.replace(ADDRESS, server), names)
            elif block.kind == "bash" and not block.serves:
                told = _run_bash(block.text, environment)
            elif block.kind == "text":
                assert _is_told(block.text, told), f"{block.text!r} is promised, {told!r} came"
    finally:
        for client in (each for each in names.values() if isinstance(each, Client)):
            client.close()
    return names


def _run_python(text: str, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(text, "page", "exec"), names)
    return printed.getvalue()


def _run_bash(text: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-e", "-c", text], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def _is_told(promised: str, told: str) -> bool:
    wanted = re.escape(promised.strip()).replace("…", ".*")
    return re.search(rf"^{wanted}$", told, re.M) is not None
