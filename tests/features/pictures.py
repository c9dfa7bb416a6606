"""Small merchants' pictures and catalogues, written to a folder."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

CATEGORIES = ("sports", "books", "tools")


def draw_picture(colour=(200, 30, 30), side=64, alpha=True) -> Image.Image:
    """A square of one colour in the middle, on nothing or on white."""
    image = Image.new("RGBA", (side, side), (0, 0, 0, 0) if alpha else (255, 255, 255, 255))
    image.paste((*colour, 255), (side // 4, side // 4, 3 * side // 4, 3 * side // 4))
    return image if alpha else image.convert("RGB")


def draw_on_clutter(colour=(200, 30, 30), side=64) -> tuple[Image.Image, np.ndarray]:
    """The same square before anything, and its alpha."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    alone = draw_picture(colour, side)
    cluttered = Image.fromarray(noise)
    cluttered.paste(alone, mask=alone.getchannel("A"))
    return cluttered, np.asarray(alone.getchannel("A")) / np.float32(255)


def save_pictures(folder, *names) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        colour = tuple(np.random.default_rng(number).integers(0, 200, 3).tolist())
        draw_picture(colour).save(folder / name)


def to_png(image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def write_jsonl(path, *rows) -> None:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def make_shop(folder: Path) -> Path:
    """Six products in three categories, the last one held out."""
    names = [f"p{number}.png" for number in range(6)]
    save_pictures(folder, *names)
    rows = [
        {
            "product_id": name[:-4],
            "titles": {"en": name, "de": name},
            "packshot": name,
            "category": CATEGORIES[number % 3],
            "split": "held_out" if number == 5 else "train",
        }
        for number, name in enumerate(names)
    ]
    write_jsonl(folder / "products.jsonl", *rows)
    return folder
