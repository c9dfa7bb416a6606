"""The page of the five jobs: what stands on it, and how it is written as one file of HTML."""

from __future__ import annotations

import io
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from PIL import Image

PAGE = Path(__file__).with_name("page.html")


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture's file, relative to the page, with its size in pixels and what is said below."""

    path: str
    alt: str
    width: int
    height: int
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Figures side by side, all of one height; `height` is the least one, in pixels."""

    figures: tuple[Figure, ...]
    title: str = ""
    text: str = ""
    height: int = 180


Cell = Figure | tuple[str, ...]
"""A picture, or lines of text."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells in columns, the first of which names the row; a head is a name and a note."""

    heads: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Figures in the sense of accountants: a large value, and what it counts."""

    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Reasons:
    """A picture, the map of where the shopper acted, a text, and signed shares in words."""

    title: str
    figures: tuple[Figure, ...]
    text: str
    shares: tuple[tuple[str, float], ...]


Block = Gallery | Table | Facts | Reasons


@dataclass(frozen=True, slots=True)
class Section:
    """One job: what the merchant gets, what came of it, and the code or command that made it."""

    name: str
    title: str
    text: str
    blocks: tuple[Block, ...]
    code: str
    command: str = ""


class Shelf:
    """Where the page's pictures are put: a folder beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes, alt: str, title: str = "", note: str = "") -> Figure:
        """Writes an encoded picture under `name` and the suffix of its kind."""
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            kind = picture.get_format_mimetype() or ""
        path = self._folder / f"{name}{mimetypes.guess_extension(kind) or ''}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return Figure(f"{self._folder.name}/{path.name}", alt, width, height, title, note)


def render(sections: Sequence[Section], footer: str) -> str:
    links = "".join(
        f'<a href="#{escape(section.name)}">{escape(section.title)}</a>' for section in sections
    )
    return Template(PAGE.read_text("utf-8")).substitute(
        links=links, sections="\n".join(map(_section, sections)), footer=escape(footer)
    )


def _section(section: Section) -> str:
    command = f'<pre class="command">{escape(section.command)}</pre>' if section.command else ""
    return (
        f'<section id="{escape(section.name)}"><h2>{escape(section.title)}</h2>'
        f'<p class="lead">{escape(section.text)}</p>'
        f"{''.join(map(_block, section.blocks))}"
        f'<div class="code"><h3>Made by</h3><pre>{escape(section.code)}</pre>{command}</div>'
        "</section>"
    )


def _block(block: Block) -> str:
    if isinstance(block, Gallery):
        figures = "".join(_figure(each, block.height) for each in block.figures)
        return f'{_heading(block.title, block.text)}<div class="gallery">{figures}</div>'
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Reasons):
        return _reasons(block)
    facts = (f"<div><dd>{escape(v)}</dd><dt>{escape(name)}</dt></div>" for v, name in block.facts)
    return f'<dl class="facts">{"".join(facts)}</dl>'


def _table(table: Table) -> str:
    heads = (f'<th scope="col">{escape(a)}<small>{escape(b)}</small></th>' for a, b in table.heads)
    rows = (
        f'<tr><th scope="row">{_cell(name)}</th>'
        f"{''.join(f'<td>{_cell(cell)}</td>' for cell in cells)}</tr>"
        for name, *cells in table.rows
    )
    return (
        f'{_heading(table.title, table.text)}<div class="wide" tabindex="0"><table>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    if isinstance(cell, Figure):
        return _figure(cell)
    first, *others = cell or ("",)
    return escape(first) + "".join(f"<small>{escape(line)}</small>" for line in others)


def _reasons(reasons: Reasons) -> str:
    figures = "".join(_figure(each, 240) for each in reasons.figures)
    bars = "".join(
        f'<li><span>{escape(name)}</span><i class="{"against" if share < 0 else "for"}" '
        f'style="--share:{min(abs(share), 1):.2f}"></i><b>{share:+.0%}</b></li>'
        for name, share in reasons.shares
    )
    return (
        f'<h3>{escape(reasons.title)}</h3><div class="reasons"><div class="gallery">{figures}</div>'
        f'<div><p>{escape(reasons.text)}</p><ul class="bars">{bars}</ul></div></div>'
    )


def _heading(title: str, text: str) -> str:
    told = f"<p>{escape(text)}</p>" if text else ""
    return f"<h3>{escape(title)}</h3>{told}" if title else told


def _figure(figure: Figure, height: int = 0) -> str:
    ratio = figure.width / figure.height
    style = f' style="--ratio:{ratio:.4f};--height:{height}px"' if height else ""
    title = f"<b>{escape(figure.title)}</b>" if figure.title else ""
    note = f"<small>{escape(figure.note)}</small>" if figure.note else ""
    caption = f"<figcaption>{title}{note}</figcaption>" if title or note else ""
    return (
        f'<figure{style}><a href="{escape(figure.path)}"><img src="{escape(figure.path)}" '
        f'alt="{escape(figure.alt)}" width="{figure.width}" height="{figure.height}" '
        f'loading="lazy"></a>{caption}</figure>'
    )
