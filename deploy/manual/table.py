"""Tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

BREAK = "<br>"


def tabulate(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Each cell on one line; a `|` in it is its own, not the table's."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    lines = [list(head), ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def plain(text: str) -> str:
    """Text that is no Markdown and no HTML."""
    return text.replace("<", "&lt;").replace("*", "\\*")
