"""Reads a catalogue: every product that can be shown, and of every other one why not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from diffusion.composition import Pixels
from diffusion.finding import FindMatte
from features.catalogue_rows import estimate_rows, find_catalogue, read_rows
from features.coco import draw_mask
from features.packshots import MAX_PIXELS, Mask, PackshotUnusable, open_packshot

DEFAULT_LOCALE = "en"
MAX_ID_LENGTH = 256
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one row of a catalogue."""

    row: str
    """For instance "products.jsonl line 17"."""
    product_id: str
    description: str

    def __str__(self) -> str:
        name = f" ({self.product_id})" if self.product_id else ""
        return f"{self.row}{name}: {self.description}"


@dataclass(frozen=True, slots=True)
class CatalogueProduct:
    """A product as its merchant tells of it. `packshot` is a path or an fsspec URL; `is_masked` if
    the catalogue, not the picture itself, says where the product is."""

    product_id: str
    titles: Mapping[str, str]
    category: str
    split: str
    packshot: str
    is_masked: bool
    timestamp: datetime | None


class RowFlawed(ValueError):
    """This row can't become a product; the text says why."""


class Catalogue:
    """Iterate to get the products, each with its picture, cut out, as RGBA [H, W, 4].

    `products` and `problems` fill on the way. `find_matte` sees products before grounds that are
    not plain; without it such a picture is taken whole.
    """

    def __init__(self, path: Path, find_matte: FindMatte | None = None) -> None:
        self._find_matte = find_matte
        self._files = find_catalogue(path)
        self.source = self._files[0].absolute()
        self.folder = self.source.parent
        if self.folder.name == "annotations":
            self.folder = self.folder.parent
        self.products: list[CatalogueProduct] = []
        self.problems: list[Problem] = []

    def estimate_rows(self) -> int | None:
        """How many rows there are about, for a progress bar; None where counting means reading."""
        return estimate_rows(self._files)

    def __iter__(self) -> Iterator[tuple[CatalogueProduct, Pixels]]:
        self.products, self.problems = [], []
        row_of: dict[str, str] = {}
        for label, row in read_rows(self._files):
            place = f"{self.source.name} {label}"
            product_id = _read_id(row) if isinstance(row, dict) else ""
            try:
                if isinstance(row, str):
                    raise RowFlawed(row)
                if not product_id:
                    raise RowFlawed("has no product_id")
                if product_id in row_of:
                    raise RowFlawed(f"has the id of {row_of[product_id]}")
                product, pixels = self._read_product(product_id, row)
            except RowFlawed as flaw:
                self.problems.append(Problem(place, product_id, str(flaw)))
                continue
            row_of[product_id] = place
            self.products.append(product)
            yield product, pixels

    def _read_product(
        self, product_id: str, row: Mapping[str, Any]
    ) -> tuple[CatalogueProduct, Pixels]:
        if len(product_id) > MAX_ID_LENGTH:
            raise RowFlawed(f"has a product_id of more than {MAX_ID_LENGTH} characters")
        titles = _read_titles(row)
        timestamp = _read_timestamp(row.get("timestamp"))
        reference = row.get("packshot") or row.get("image")
        if not isinstance(reference, str) or not reference.strip():
            raise RowFlawed("has no image")
        if "://" not in reference:
            reference = str(self.folder / reference)
        mask = _read_mask(row)
        try:
            pixels = open_packshot(reference, mask, self._find_matte)
        except PackshotUnusable as error:
            raise RowFlawed(str(error)) from error
        product = CatalogueProduct(
            product_id=product_id,
            titles=titles,
            category=str(row.get("category") or ""),
            split=str(row.get("split") or ""),
            packshot=reference,
            is_masked=mask is not None,
            timestamp=timestamp,
        )
        return product, pixels


def _read_id(row: Mapping[str, Any]) -> str:
    value = row.get("product_id", row.get("id"))
    return str(value).strip() if isinstance(value, str | int) else ""


def _read_titles(row: Mapping[str, Any]) -> dict[str, str]:
    """From `titles` (an object, or JSON of one), `title`, or columns `title_<locale>`."""
    told = row.get("titles")
    if isinstance(told, str) and told.strip():
        try:
            told = json.loads(told)
        except ValueError as error:
            raise RowFlawed("has titles that are no JSON object") from error
    if told and not isinstance(told, Mapping):
        raise RowFlawed("has titles that are no JSON object")
    # A struct in parquet has every locale in every row: null there means that there is none.
    titles = {str(k): v for k, v in (told or {}).items() if v is not None}
    titles |= {
        name.removeprefix("title_").replace("_", "-"): value
        for name, value in row.items()
        if name.startswith("title_") and value
    }
    if "title" in row:
        titles.setdefault(DEFAULT_LOCALE, row["title"])
    if not titles:
        raise RowFlawed("has no title")
    for locale, title in titles.items():
        if not isinstance(title, str) or not title.strip():
            raise RowFlawed(f"has an empty title for {locale!r}")
    return {locale: title.strip() for locale, title in titles.items()}


def _read_timestamp(value: object) -> datetime | None:
    """ISO 8601 (UTC where no zone is given) or seconds since 1970; None where there is none."""
    if value is None or value == "":
        return None
    try:
        moment = _parse_timestamp(value)
    except (ValueError, OverflowError, OSError) as error:
        raise RowFlawed(f"has a wrong timestamp: {value!r}") from error
    if not EARLIEST <= moment <= datetime.now(UTC) + CLOCK_SKEW:
        raise RowFlawed(f"has a wrong timestamp: {moment.isoformat()} is not between 2000 and now")
    return moment


def _parse_timestamp(value: object) -> datetime:
    if isinstance(value, str):
        is_number = value.strip().replace(".", "", 1).isdecimal()
        value = float(value) if is_number else datetime.fromisoformat(value.strip())
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    raise ValueError("neither a date nor a number")


def _read_mask(row: Mapping[str, Any]) -> Mask | None:
    if not row.get("segmentation"):
        return None
    height, width = row.get("size") or (None, None)
    if not isinstance(height, int) or not isinstance(width, int):
        raise RowFlawed("has a segmentation, but the image has no height and width")
    if not 0 < height * width <= MAX_PIXELS:
        raise RowFlawed(f"has a segmentation on an image of {width} x {height}")
    try:
        return draw_mask(row["segmentation"], height, width)
    except (ValueError, TypeError) as error:
        raise RowFlawed(f"has a segmentation that is none: {error}") from error
