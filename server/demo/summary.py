"""What was made, in numbers: a file for machines, a table for people."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from PIL import Image

from server.demo.asking import Picture

_COLUMNS = ("image", "product", "shopper", "arm", "reason", "steps", "ms", "kB")


def file_name(picture: Picture) -> str:
    suffix = {"image/jpeg": "jpg"}.get(mime := picture.result.image.mime_type, mime[6:])
    return f"{picture.shot.name}.{suffix}"


def summarize(pictures: Sequence[Picture], seconds: Mapping[str, float]) -> dict[str, Any]:
    """The content of summary.json; `seconds` says how long each part of the demonstration took."""
    return {
        "images": [_record(picture) for picture in pictures],
        "checks": measure(pictures),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }


GENERIC = (
    ("preserve-anonymous", "preserve-strength-zero"),
    ("restyle-no-consent", "restyle-cold-start"),
)
"""Pairs that must be one image, since neither of the two is for a shopper."""


def measure(pictures: Sequence[Picture]) -> dict[str, float]:
    """How far images lie apart, in 1/255: generic ones must not, those for shoppers should.

    `generic_max` is the largest difference of one channel of one pixel, `shoppers_mean` the mean
    difference over all pixels and pairs of shoppers.
    """
    pixels = {picture.shot.name: _pixels(picture) for picture in pictures}
    shoppers = [image for name, image in pixels.items() if name.startswith("preserve-shopper-")]
    apart = [np.abs(one - other).mean() for one, other in combinations(shoppers, 2)]
    return {
        "generic_max": max(float(np.abs(pixels[a] - pixels[b]).max()) for a, b in GENERIC),
        "shoppers_mean": round(float(np.mean(apart)), 2),
    }


def format_table(pictures: Sequence[Picture]) -> str:
    rows = [_COLUMNS, *(_row(picture) for picture in pictures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column >= 5 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _record(picture: Picture) -> dict[str, Any]:
    shot, result = picture.shot, picture.result
    return {
        "path": file_name(picture),
        "product": shot.product_id,
        "shopper": shot.user_id or None,
        "label": shot.caption,
        "mode": shot.mode,
        "strength": shot.strength,
        "arm": result.arm,
        "seed": result.image.seed,
        "source": result.source,
        "personalization": {
            "applied": result.personalization.applied,
            "reason": result.personalization.reason,
        },
        "sampler": result.sampler,
        "steps": result.steps,
        "timings_ms": {stage: round(ms, 2) for stage, ms in result.timings_ms.items()},
        "bytes": len(result.image.data),
    }


def _row(picture: Picture) -> tuple[str, ...]:
    shot, result = picture.shot, picture.result
    return (
        file_name(picture),
        shot.product_id,
        shot.user_id or "-",
        result.arm,
        result.personalization.reason,
        str(result.steps),
        f"{sum(result.timings_ms.values()):.0f}",
        f"{len(result.image.data) / 1000:.0f}",
    )


def _pixels(picture: Picture) -> np.ndarray[Any, np.dtype[np.int16]]:
    with Image.open(io.BytesIO(picture.result.image.data)) as opened:
        return np.asarray(opened.convert("RGB"), np.int16)
