"""The fourth job: packshots as they come from suppliers, diagnosed and repaired."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

from etalage import Client, Enhanced
from server.demo.damage import add_noise, blur, compress, darken, photograph, write_over
from server.demo.jobs.source import show_source
from server.demo.page import Cell, Section, Shelf, Table
from server.demo.program import Cast, title

SIDE = 384

Damage = Callable[[Image.Image], Image.Image]

DAMAGES: tuple[tuple[str, str, Damage], ...] = (
    ("fountain-pen", "Noise", add_noise),
    ("handbag", "Blur", blur),
    ("bouquet", "JPEG blocks", compress),
    ("stopwatch", "A text laid over it", write_over),
    ("headphone", "Dark, in yellow light", darken),
)


def repair(client: Client, packshot: bytes) -> Enhanced:
    return client.enhance(packshot)


def show(client: Client, cast: Cast, shelf: Shelf) -> Section:
    rows = tuple(_repair(client, shelf, *damage) for damage in DAMAGES)
    heads = ("", "As delivered", "Repaired", "What changed", "Found, from 0 to 1")
    return Section(
        "repair",
        "Quality and repair",
        "Packshots of any supplier are checked for ten defects and repaired where it helps. Each "
        "answer says what was found, what was done and where, and leaves a good picture alone.",
        (Table(tuple((head, "") for head in heads), rows),),
        show_source(repair),
        "etalage enhance --packshot delivered.jpg -o repaired.png --difference changed.png",
    )


def _repair(
    client: Client, shelf: Shelf, product: str, name: str, damage: Damage
) -> tuple[Cell, ...]:
    original = client.generate(product, arm="original", format="png")
    damaged = _encode(damage(photograph(original.image.data, SIDE)))
    result = repair(client, damaged)
    alt = f"{title(product)}, {name.lower()}"
    stem = f"repair-{product}"
    return (
        (name, title(product)),
        shelf.put(f"{stem}-before", damaged, f"{alt}: as delivered"),
        shelf.put(f"{stem}-after", result.image.data, f"{alt}: repaired")
        if result.image
        else ("not repaired",),
        shelf.put(f"{stem}-difference", result.difference.data, f"{alt}: light where it changed")
        if result.difference
        else ("nothing",),
        _tell(result),
    )


def _tell(result: Enhanced) -> tuple[str, ...]:
    """Defects with their scores before and after, what was done, and what to know of it."""
    found = [
        f"{finding.defect.replace('_', ' ')} {finding.score_before:.2f}"
        + ("" if finding.score_after is None else f" → {finding.score_after:.2f}")
        for finding in result.findings
        if finding.is_found
    ]
    done = ", ".join(word.replace("_", " ") for word in result.repairs)
    return (
        *(found or ("no defect",)),
        *((f"done: {done}",) if done else ()),
        *result.warnings,
    )


def _encode(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
