"""Pictures that shoppers clicked, and who these shoppers were just before.

The training set of `python -m features.training_set` says who clicked what. A shop's own pictures
lie beside it, `pictures/<creative_id>.png`, .jpg or .webp; those of the embedded world are drawn.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageOps

from diffusion.composition import Pixels, composite, contact_shadow, place_in, resize
from diffusion.scenes import PALETTES, Scene, render_scene
from diffusion.taste import NUM_RECENT, embed_shopper
from diffusion.training.clicks import CREATIVES, TYPICAL_SHARE, choose_clicks, read_vectors
from diffusion.treatments import apply_treatment

CLICKS, PICTURES, PRODUCTS = "clicks.parquet", "pictures", "products.jsonl"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
LANGUAGE = "en"
"""Of titles, where a product has one in it: what most text encoders were trained in."""

Vectors = NDArray[np.float32]
Size = tuple[int, int]


class DatasetUnusable(RuntimeError):
    """The folder is no training set, or pictures of it are missing; says which file."""


@dataclass(frozen=True)
class Clicks:
    """Shoppers' vectors [m, w] as known before a click, and the number of the picture clicked."""

    shoppers: Vectors
    picture: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.picture)


@dataclass(frozen=True)
class Product:
    title: str
    packshot: Path


@dataclass(frozen=True)
class Picture:
    """What `creatives.parquet` says of one, and the file of it, if any."""

    creative_id: str
    product: Product
    facts: Mapping[str, Any]
    file: Path | None

    @property
    def title(self) -> str:
        return self.product.title

    def open(self, size: Size) -> Pixels:
        """RGB uint8 [height, width, 3]; raises DatasetUnusable."""
        try:
            return self._draw(size) if self.file is None else read_picture(self.file, size)
        except (OSError, KeyError, ValueError, Image.DecompressionBombError) as error:
            where = self.file or f"{CREATIVES}: {self.creative_id}"
            raise DatasetUnusable(f"{where}: {error}") from error

    def identify(self) -> str:
        """Changes with the picture."""
        source = self.file or self.product.packshot
        told = source.stat() if source.is_file() else None
        state = (told.st_size, told.st_mtime_ns) if told else None
        return json.dumps(
            [self.creative_id, str(source.absolute()), state, self.facts], default=str
        )

    def _draw(self, size: Size) -> Pixels:
        """The product in its look, as `features.simulate` shows it to shoppers."""
        width, height = size
        side = max(size)
        palette, setting, treatment = (self.facts[a] for a in ("palette", "setting", "treatment"))
        top, left = (side - height) // 2, (side - width) // 2
        scene = render_scene(Scene(palette, setting, int(self.facts["seed"])), side)
        packshot = _read_packshot(self.product.packshot, min(size))
        colours = PALETTES[palette] if treatment == "duotone" else None
        rgb, alpha = place_in(apply_treatment(packshot, treatment, colours), width, height)
        ground = scene[top : top + height, left : left + width]
        return composite(ground, rgb, alpha, contact_shadow(alpha))


@dataclass(frozen=True)
class Dataset:
    """`encoder_digest` names the encoders that made the vectors; shoppers held out are for
    measuring only."""

    width: int
    encoder_digest: str
    trained: Clicks
    held_out: Clicks
    pictures: list[Picture]

    @property
    def digest(self) -> str:
        """Of all that it shows; 16 hex digits."""
        sha = hashlib.sha256(f"{self.encoder_digest} {self.width}".encode())
        for clicks in (self.trained, self.held_out):
            sha.update(clicks.shoppers.tobytes() + clicks.picture.tobytes())
        for picture in self.pictures:
            sha.update(picture.identify().encode() + picture.title.encode())
        return sha.hexdigest()[:16]


def read_dataset(folder: Path, catalogue: Path, typical_share: float = TYPICAL_SHARE) -> Dataset:
    """Of each moment's next clicks the one that suits the shopper best, and of all moments the most
    typical share, as `diffusion.training.clicks` has it. Raises DatasetUnusable."""
    clicks, creatives = _read_table(folder / CLICKS), _read_table(folder / CREATIVES)
    told: dict[bytes, bytes] = clicks.schema.metadata or {}
    try:
        width = int(told[b"width"])
        split = clicks["split"].to_pylist()
        shoppers = _embed(clicks, width)
        chosen, likeness = choose_clicks(clicks["clicked"], creatives, shoppers)
    except (KeyError, ValueError) as error:
        raise DatasetUnusable(
            f"{folder / CLICKS} is no training set (python -m features.training_set writes one), "
            f"or names what is not in {CREATIVES}: {error}"
        ) from error
    is_trained = np.array([name == "train" for name in split], bool)
    if not is_trained.any():
        raise DatasetUnusable(f"{folder / CLICKS}: split: no moment is in train")
    kept = likeness >= np.quantile(likeness[is_trained], 1 - typical_share)
    shown, picture = np.unique(chosen[kept], return_inverse=True)
    trained, held_out = (
        Clicks(shoppers[kept][rows], picture[rows])
        for rows in (is_trained[kept], ~is_trained[kept])
    )
    pictures = _find_pictures(folder, creatives.take(shown), catalogue)
    encoder_digest = told.get(b"encoder_digest", b"").decode()
    return Dataset(width, encoder_digest, trained, held_out, pictures)


def _embed(clicks: pa.Table, width: int) -> Vectors:
    """Who the shoppers are before any product is named: [m, w]."""
    profile = read_vectors(clicks["profile"], width)
    recent = read_vectors(clicks["recent"], NUM_RECENT * width).reshape(-1, NUM_RECENT, width)
    weights = read_vectors(clicks["recent_weights"], NUM_RECENT)
    return embed_shopper(profile, recent, weights)


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DatasetUnusable(f"{path} can't be read: {error}") from error


def read_products(catalogue: Path) -> dict[str, Product]:
    """By id, from products.jsonl. Raises DatasetUnusable."""
    file, found = catalogue / PRODUCTS, {}
    try:
        for line in file.read_text("utf-8").splitlines():
            row = json.loads(line)
            titles = row.get("titles") or {LANGUAGE: row["title"]}
            title = titles.get(LANGUAGE) or next(iter(titles.values()))
            packshot = catalogue / (row.get("packshot") or row.get("image") or "")
            found[str(row["product_id"])] = Product(title, packshot)
    except (OSError, KeyError, ValueError, AttributeError, StopIteration) as error:
        raise DatasetUnusable(f"{file} can't be read: {error!r}") from error
    return found


def _find_pictures(folder: Path, creatives: pa.Table, catalogue: Path) -> list[Picture]:
    own = folder / PICTURES
    files = {path.stem: path for path in own.glob("*") if path.suffix.lower() in SUFFIXES}
    products = read_products(catalogue)
    pictures = []
    if "product_id" not in creatives.column_names:
        raise DatasetUnusable(f"{folder / CREATIVES}: product_id is missing")
    for facts in creatives.drop_columns("embedding").to_pylist():
        name, product = facts["creative_id"], products.get(facts["product_id"])
        if product is None:
            raise DatasetUnusable(
                f"{catalogue / PRODUCTS}: {facts['product_id']} is missing: {CREATIVES} names it"
            )
        if own.is_dir() and name not in files:
            raise DatasetUnusable(f"{own}: {name}.png, .jpg or .webp is missing")
        pictures.append(Picture(name, product, facts, files.get(name)))
    return pictures


def _read_packshot(path: Path, side: int) -> Pixels:
    """RGBA, no larger than a picture of this side could show it: treatments cost by the pixel."""
    with Image.open(path) as image:
        rgba = np.asarray(image.convert("RGBA"))
    height, width = rgba.shape[:2]
    scale = min(1.0, side / max(height, width))
    return resize(rgba, max(1, round(width * scale)), max(1, round(height * scale)))


def read_picture(path: Path, size: Size) -> Pixels:
    """The middle of a picture in other proportions; what is transparent is white."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    white = Image.new("RGBA", upright.size, "white")
    flat = Image.alpha_composite(white, upright).convert("RGB")
    return np.asarray(ImageOps.fit(flat, size, Image.Resampling.LANCZOS))


def open_pictures(pictures: list[Picture], size: Size) -> Pixels:
    """uint8 [n, height, width, 3]."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(lambda picture: picture.open(size), pictures)))
