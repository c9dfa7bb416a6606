"""Tables of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

BREAK = "<br>"


def tabulate(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Each cell on one line; a `|` in it is its own, not the table's."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    lines = [list(head), ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def fold(name: str, width: int = 44) -> str:
    """A long name as code, on lines of at most `width` where its parts allow that."""
    lines = [""]
    for part in re.findall(r"[^_.]+[_.]?", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return BREAK.join(f"`{line}`" for line in lines)


def plain(text: str) -> str:
    """Text that is no Markdown and no HTML."""
    return text.replace("<", "&lt;").replace("*", "\\*")
