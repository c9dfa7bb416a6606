"""A shop whose shoppers each like one colour: its clicks, creatives, products and pictures."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from diffusion.scenes import PALETTES, SETTINGS
from diffusion.taste import NUM_RECENT
from diffusion.training.pictures import Clicks

COLOURS = [(230, 30, 30), (30, 220, 40), (40, 60, 235), (240, 230, 60)]
WIDTH = 8
LENGTH = 0.3
"""Of a shopper's vector, about."""


def draw_clicks(count: int, seed: int) -> Clicks:
    """Which of four pictures each clicks is written in their vectors, not without noise."""
    rng = np.random.default_rng(seed)
    liked = rng.integers(len(COLOURS), size=count)
    vectors = LENGTH * np.eye(WIDTH)[liked] + 0.1 * LENGTH * rng.normal(size=(count, WIDTH))
    return Clicks(vectors.astype(np.float32), liked)


def write_shop(folder: Path, num_shoppers: int = 60, has_pictures: bool = True) -> Path:
    """A data set as `features.training_set` writes it, and beside it the shop's products; every
    tenth shopper is held out."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"creative-{number}" for number in range(len(COLOURS))]
    floats = pa.list_(pa.float32())
    creatives = {
        "creative_id": names,
        "product_id": ["shoe", "shoe", "drum", "drum"],
        "palette": list(PALETTES)[: len(names)],
        "setting": list(SETTINGS)[: len(names)],
        "treatment": ["natural", "natural", "duotone", "natural"],
        "seed": list(range(len(names))),
        "embedding": pa.array(np.eye(WIDTH)[: len(names)].tolist(), floats),
    }
    pq.write_table(pa.table(creatives), folder / "creatives.parquet")
    clicks = draw_clicks(num_shoppers, seed=1)
    moments = {
        "user_id": [f"shopper-{number}" for number in range(num_shoppers)],
        "event_timestamp": [datetime(2026, 1, 1, tzinfo=UTC)] * num_shoppers,
        "split": ["train" if number % 10 else "held_out" for number in range(num_shoppers)],
        "clicked": [[names[liked], names[0]] for liked in clicks.picture],
        "profile": pa.array(clicks.shoppers.tolist(), floats),
        "recent": pa.array([[0.0] * NUM_RECENT * WIDTH] * num_shoppers, floats),
        "recent_weights": pa.array([[0.0] * NUM_RECENT] * num_shoppers, floats),
    }
    told = {"fingerprint": "print", "encoder_digest": "digest", "width": str(WIDTH)}
    pq.write_table(pa.table(moments).replace_schema_metadata(told), folder / "clicks.parquet")
    products = [
        {"product_id": "shoe", "titles": {"de": "Schuh", "en": "red shoe"}, "packshot": "shoe.png"},
        {"product_id": "drum", "title": "drum", "packshot": "drum.png"},
    ]
    lines = [json.dumps(product) + "\n" for product in products]
    (folder / "products.jsonl").write_text("".join(lines), "utf-8")
    for name in ("shoe", "drum"):
        draw_packshot(folder / f"{name}.png")
    if has_pictures:
        (folder / "pictures").mkdir()
        for name, colour in zip(names, COLOURS, strict=True):
            Image.new("RGB", (40, 20), colour).save(folder / "pictures" / f"{name}.png")
    return folder


def draw_packshot(path: Path) -> None:
    """A black square on nothing."""
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[8:-8, 8:-8, 3] = 255
    Image.fromarray(rgba).save(path)
