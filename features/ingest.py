"""A catalogue into the feature store: pictures and titles → embeddings → offline → online."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
from PIL import Image
from tqdm import tqdm

from diffusion.composition import Pixels
from features.catalogue import DEFAULT_LOCALE, Catalogue, CatalogueProduct, Problem
from features.materialize import materialize
from features.offline import sift, to_vectors, write_part
from features.packshots import show_product
from features.schema import PRODUCT_FEATURES, TIMESTAMP
from features.store import StoreConfig, apply_store
from features.vector import ImageTextEncoders, fingerprint

PART_ROWS = 4096


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of a catalogue; `seconds` is wall time."""

    num_products: int
    problems: tuple[Problem, ...]
    fingerprint: str
    seconds: float

    def exit_code(self, strict: bool) -> int:
        """1 if nothing was written, or anything was left out although `strict`."""
        return int(not self.num_products or (strict and bool(self.problems)))


def ingest(
    catalogue: Path | Catalogue,
    config: StoreConfig,
    encoders: ImageTextEncoders,
    *,
    batch_size: int = 32,
    progress: bool = True,
    name: str | None = None,
    known_since: datetime | None = None,
) -> IngestReport:
    """Computes embeddings of every good product and writes them offline and online.

    A row without a timestamp is an event of `known_since` (default: now). Offline, each ingest adds
    to history, unless its `name` repeats: then it replaces the one before. Bad rows end up in the
    report. Raises CatalogueUnreadable, and FingerprintMismatch where the store was made with other
    encoders.
    """
    started = time.monotonic()
    rows = catalogue if isinstance(catalogue, Catalogue) else Catalogue(catalogue)
    since = known_since or datetime.now(UTC)
    name = name or f"ingest-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    printed = fingerprint(encoders.width, encoders.digest)
    store = apply_store(config, printed)
    folder = config.offline_folder(PRODUCT_FEATURES)
    problems: list[Problem] = []
    oldest: list[datetime] = []
    num_products = num_parts = 0
    with tqdm(total=rows.estimate_rows(), desc="ingest", unit="", disable=not progress) as bar:
        for table in _make_parts(rows, config, encoders, batch_size, since, bar):
            good, flaws = sift(PRODUCT_FEATURES, table, encoders.width)
            problems += [Problem(flaw.column, flaw.key, flaw.description) for flaw in flaws]
            write_part(folder, f"{name}-{num_parts:05d}", good)
            num_parts += 1
            num_products += len(good)
            oldest += good.column(TIMESTAMP).to_pylist()
            oldest = sorted(oldest)[:1]
    _drop_parts(folder, name, num_parts)
    for start in oldest:
        materialize(store, PRODUCT_FEATURES, encoders.width, start=start, progress=progress)
    seconds = time.monotonic() - started
    return IngestReport(num_products, (*rows.problems, *problems), printed, seconds)


def _make_parts(
    rows: Catalogue,
    config: StoreConfig,
    encoders: ImageTextEncoders,
    batch_size: int,
    since: datetime,
    bar: tqdm[NoReturn],
) -> Iterator[pa.Table]:
    """Tables of about PART_ROWS products; memory holds one of them and one batch of pictures."""
    products = iter(rows)
    tables: list[pa.Table] = []
    while batch := list(islice(products, batch_size)):
        tables.append(_embed(batch, config, encoders, since))
        bar.update(len(batch))
        if sum(map(len, tables)) >= PART_ROWS:
            yield pa.concat_tables(tables)
            tables = []
    if tables:
        yield pa.concat_tables(tables)


def _embed(
    batch: list[tuple[CatalogueProduct, Pixels]],
    config: StoreConfig,
    encoders: ImageTextEncoders,
    since: datetime,
) -> pa.Table:
    products = [product for product, _ in batch]
    images = np.stack([show_product(pixels) for _, pixels in batch])
    columns = {
        PRODUCT_FEATURES.key: [product.product_id for product in products],
        TIMESTAMP: [product.timestamp or since for product in products],
        "image_embedding": to_vectors(encoders.encode_images(images)),
        "text_embedding": to_vectors(encoders.encode_texts([pick_title(p) for p in products])),
        "category": [product.category for product in products],
        "titles": [json.dumps(dict(p.titles), ensure_ascii=False) for p in products],
        "packshot": [_keep_packshot(product, pixels, config.home) for product, pixels in batch],
    }
    return pa.table(columns, schema=PRODUCT_FEATURES.arrow)


def pick_title(product: CatalogueProduct) -> str:
    """The title that stands for a product: the English one, or the first."""
    return product.titles.get(DEFAULT_LOCALE) or next(iter(product.titles.values()))


def _keep_packshot(product: CatalogueProduct, pixels: Pixels, home: Path) -> str:
    """Where the packshot is; one that the catalogue masks is kept under home, cut out."""
    if not product.is_masked:
        return product.packshot
    folder = home.absolute() / "packshots"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(product.product_id.encode()).hexdigest()[:24]}.webp"
    Image.fromarray(pixels).save(path, lossless=True)
    return str(path)


def _drop_parts(folder: Path, name: str, first: int) -> None:
    """Removes what is left of a longer ingest of the same name."""
    for path in folder.glob(f"{name}-*.parquet"):
        number = path.stem.removeprefix(f"{name}-")
        if number.isdecimal() and int(number) >= first:
            path.unlink()
