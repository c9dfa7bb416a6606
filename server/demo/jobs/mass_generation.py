"""The first job: pictures for many products, in the background."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from etalage import Batch, Client, Item
from server.demo.jobs.source import show_source
from server.demo.page import Facts, Figure, Gallery, Section, Shelf
from server.demo.program import Cast, title

PRODUCTS = (
    *("handbag", "headphone", "bicycle", "bouquet", "croissant", "fountain-pen", "watch", "sushi"),
    *("potted-plant", "anchor", "ballet-shoes", "pineapple", "stopwatch", "pie", "thread", "jar"),
    *("softball", "popcorn", "ferry", "hibiscus", "wrench", "kiwi-fruit", "candy", "ring-buoy"),
    *("avocado", "bread", "screwdriver", "blossom", "green-apple", "studio-microphone"),
    *("light-rail", "clapper-board", "american-football", "spoon", "pool-8-ball", "sponge"),
)
"""From the part of the catalogue that the embedded model has not seen in training."""

TIMEOUT_S = 180.0


def make_catalogue(client: Client, products: Sequence[str]) -> Batch:
    items = [
        Item(product, model="fast", seed=seed, format="webp", longest_side=320)
        for seed, product in enumerate(products)
    ]
    batch = client.batches.submit(items)
    return client.batches.wait(batch.batch_id, timeout_s=TIMEOUT_S)


def show(client: Client, cast: Cast, shelf: Shelf) -> Section:
    """Raises RuntimeError where a picture failed."""
    batch = make_catalogue(client, PRODUCTS)
    if batch.num_succeeded != len(PRODUCTS):
        raise RuntimeError(f"batch {batch.batch_id}: {batch.num_failed} failed: {batch.failures}")
    folder = Path(batch.output_folder)
    rows = pq.read_table(folder / "manifest.parquet").to_pylist()
    figures = (
        _put(shelf, folder, row, product) for row, product in zip(rows, PRODUCTS, strict=True)
    )
    return Section(
        "mass-generation",
        "Mass generation",
        "A whole catalogue gets pictures in one job that outlives connections and restarts. No "
        "picture is made twice, none is lost, and a manifest accounts for each.",
        (Facts(_count(batch, rows)), Gallery(tuple(figures), height=104)),
        show_source(make_catalogue),
        "python -m server bulk requests.parquet out/",
    )


def _put(shelf: Shelf, folder: Path, row: dict[str, Any], product: str) -> Figure:
    name = title(product)
    return shelf.put(f"mass-{product}", (folder / row["path"]).read_bytes(), f"{name} in a scene")


def _count(batch: Batch, rows: Sequence[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Numbers of the job, and of its manifest."""
    differences = [row["max_difference"] for row in rows]
    growths = [row["growth_percent"] for row in rows]
    return (
        (f"{batch.num_succeeded} of {batch.num_requests}", "pictures made"),
        (f"{len(rows) / _seconds(batch):.1f} per second", "without a graphics card"),
        (str(len({row["sha256"] for row in rows})), "different files by checksum"),
        (f"{max(differences)}/255", "largest change inside a product"),
        (f"{max(growths):.1f} %", "most a product grew beyond its outline"),
    )


def _seconds(batch: Batch) -> float:
    return ((batch.ended or batch.updated) - batch.created).total_seconds()
