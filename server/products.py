"""Products ready for fusion: packshot cut out, encoded and kept, most recently used first."""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from diffusion.cutout import cut_out
from diffusion.encoders import Encoders
from diffusion.image_model import ImageModel, ProductFacts
from features.packshots import open_packshot, show_product
from features.records import Product
from server.core import InlineProduct

DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True, slots=True)
class PreparedProduct:
    """`cutout` is uint8 RGBA [H, W, 4] at the packshot's own size; `condition` is the product as
    one model is shown it."""

    name: str
    cutout: NDArray[np.uint8]
    condition: Any

    @property
    def num_bytes(self) -> int:
        return self.cutout.nbytes + int(self.condition.num_bytes)


def choose_title(titles: Mapping[str, str], locale: str) -> tuple[str, str]:
    """(language, title): the locale, its shorter forms, English, then whatever there is.

    RFC 4647, section 3.4, lookup. Raises KeyError on a product without titles.
    """
    known = {language.lower(): language for language in titles}
    parts = locale.lower().split("-")
    wanted = ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
    for candidate in (*wanted, DEFAULT_LANGUAGE, *known):
        if candidate in known:
            return known[candidate], titles[known[candidate]]
    raise KeyError("a product without titles")


class ProductShelf:
    """Prepares products for one model and keeps those used last, `max_bytes` of them; callable from
    several threads.

    `encoders` made the features of products. Raises features.packshots.PackshotUnusable where a
    packshot can't be read.
    """

    def __init__(
        self, model: ImageModel, encoders: Encoders, max_bytes: int = 512 * 1024 * 1024
    ) -> None:
        self._model, self._encoders, self._max_bytes = model, encoders, max_bytes
        self._kept: OrderedDict[Hashable, PreparedProduct] = OrderedDict()
        self._num_bytes = 0
        self._lock = Lock()

    def find(
        self, product: Product, locale: str, aspect_ratio: float = 1.0
    ) -> PreparedProduct | None:
        """What is kept of a product: takes microseconds, and no thread."""
        key = name(product, locale), aspect_ratio
        with self._lock:
            if (found := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
            return found

    def prepare(self, product: Product, locale: str, aspect_ratio: float = 1.0) -> PreparedProduct:
        """A product of the feature store, told in the language of `locale`."""
        if (found := self.find(product, locale, aspect_ratio)) is not None:
            return found
        language, title = choose_title(product.titles, locale)
        facts = self._tell(product, language, title)
        condition = self._model.prepare(facts, aspect_ratio)
        made = PreparedProduct(product.product_id, facts.cutout, condition)
        key = name(product, locale), aspect_ratio
        with self._lock:
            if key not in self._kept:  # or another thread was faster
                self._kept[key] = made
                self._num_bytes += made.num_bytes
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= self._kept.popitem(last=False)[1].num_bytes
        return made

    def prepare_inline(self, product: InlineProduct, aspect_ratio: float = 1.0) -> PreparedProduct:
        """A product that the request brought along; it is not kept."""
        cutout = cut_out(Image.open(io.BytesIO(product.packshot)))
        facts = [product.title, *(f"{k} {v}" for k, v in sorted(product.attributes.items()))]
        told = ProductFacts(
            cutout,
            product.title,
            self._encoders.encode_images(show_product(cutout)[None])[0],
            self._encoders.encode_texts([", ".join(facts)])[0],
            open_control(product.control_map, cutout) if product.control_map else None,
        )
        return PreparedProduct(product.title, cutout, self._model.prepare(told, aspect_ratio))

    def _tell(self, product: Product, language: str, title: str) -> ProductFacts:
        cutout = open_packshot(product.packshot)
        told = product.text_embedding
        if language != DEFAULT_LANGUAGE:
            told = self._encoders.encode_texts([title])[0]
        return ProductFacts(cutout, title, product.image_embedding, told)


def open_control(data: bytes, cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A map of the packshot [H, W, 3], as large as its cut-out."""
    height, width = cutout.shape[:2]
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(upright.resize((width, height)))


def name(product: Product, locale: str) -> tuple[str, ...]:
    """What a prepared product depends on."""
    _, title = choose_title(product.titles, locale)
    vectors = product.image_embedding.tobytes() + product.text_embedding.tobytes()
    version = hashlib.blake2b(vectors, digest_size=16).hexdigest()
    return product.product_id, product.packshot, version, title
