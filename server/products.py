"""Products ready for fusion: packshot cut out, encoded and kept, most recently used first."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from PIL import Image

from diffusion.cutout import cut_out
from diffusion.encoders import Encoders
from diffusion.image_model import ImageModel, ProductFacts
from diffusion.pictures import as_alpha, open_mask, open_picture
from features.packshots import open_packshot, show_product
from features.records import Product
from server.core import InlineProduct
from server.localization.titles import DEFAULT_LANGUAGE, Title, choose_title


@dataclass(frozen=True, slots=True)
class PreparedProduct:
    """`cutout` is uint8 RGBA [H, W, 4] at the packshot's own size, None where the product is known
    by its title alone; `condition` is the product as one model is shown it. `digest` is of both."""

    name: str
    cutout: NDArray[np.uint8] | None
    condition: Any
    title: Title
    digest: bytes

    @classmethod
    def of(cls, name: str, facts: ProductFacts, condition: Any, title: Title) -> PreparedProduct:
        seen = b"" if facts.cutout is None else facts.cutout.tobytes()
        digest = hashlib.blake2b(seen + condition.digest, digest_size=16).digest()
        return cls(name, facts.cutout, condition, title, digest)

    @property
    def num_bytes(self) -> int:
        own = 0 if self.cutout is None else self.cutout.nbytes
        return own + int(self.condition.num_bytes)


class ProductShelf:
    """Prepares products for one model and keeps those used last, `max_bytes` of them; callable from
    several threads.

    `encoders` made the features of products. Raises features.packshots.PackshotUnusable where a
    packshot can't be read.
    """

    def __init__(
        self, model: ImageModel, encoders: Encoders, max_bytes: int = 512 * 1024 * 1024
    ) -> None:
        self._model, self._encoders = model, encoders
        self._kept: LRUCache[Hashable, PreparedProduct] = LRUCache(
            max_bytes, lambda product: product.num_bytes
        )
        self._lock = Lock()

    def find(
        self, product: Product, locale: str, aspect_ratio: float = 1.0
    ) -> PreparedProduct | None:
        """What is kept of a product: takes microseconds, and no thread."""
        key = name(product, locale), aspect_ratio
        with self._lock:
            return self._kept.get(key)

    def prepare(self, product: Product, locale: str, aspect_ratio: float = 1.0) -> PreparedProduct:
        """A product of the feature store, told in the language of `locale`."""
        if (found := self.find(product, locale, aspect_ratio)) is not None:
            return found
        title = choose_title(product.titles, locale)
        facts = self._tell(product, title)
        condition = self._model.prepare(facts, aspect_ratio)
        made = PreparedProduct.of(product.product_id, facts, condition, title)
        key = name(product, locale), aspect_ratio
        with self._lock, suppress(ValueError):  # too large to be kept
            self._kept[key] = made
        return made

    def prepare_inline(
        self, product: InlineProduct, locale: str, aspect_ratio: float = 1.0
    ) -> PreparedProduct:
        """A product that the request brought along; it is not kept."""
        cutout, seen = None, np.zeros(self._encoders.width, np.float32)
        if product.packshot:
            cutout = cut_out(open_inline(product))
            seen = self._encoders.encode_images(show_product(cutout)[None])[0]
        facts = [product.title, *(f"{k} {v}" for k, v in sorted(product.attributes.items()))]
        control = None
        if cutout is not None and product.control_map:
            control = open_control(product.control_map, cutout)
        told = ProductFacts(
            cutout,
            product.title,
            seen,
            self._encoders.encode_texts([", ".join(facts)])[0],
            control,
        )
        condition = self._model.prepare(told, aspect_ratio)
        return PreparedProduct.of(product.title, told, condition, Title(product.title, locale))

    def _tell(self, product: Product, title: Title) -> ProductFacts:
        cutout = open_packshot(product.packshot)
        told = product.text_embedding
        if title.language != DEFAULT_LANGUAGE:
            told = self._encoders.encode_texts([title.text])[0]
        return ProductFacts(cutout, title.text, product.image_embedding, told)


def open_inline(product: InlineProduct) -> Image.Image:
    """The packshot, with the mask as its alpha where one came along. Raises PictureUnusable."""
    packshot = open_picture(product.packshot)
    if not product.mask:
        return packshot
    return as_alpha(packshot, open_mask(product.mask, packshot.size))


def open_control(data: bytes, cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A map of the packshot [H, W, 3], as large as its cut-out. Raises PictureUnusable."""
    height, width = cutout.shape[:2]
    return np.asarray(open_picture(data).convert("RGB").resize((width, height)))


def name(product: Product, locale: str) -> tuple[str, ...]:
    """What a prepared product depends on."""
    title = choose_title(product.titles, locale).text
    vectors = product.image_embedding.tobytes() + product.text_embedding.tobytes()
    version = hashlib.blake2b(vectors, digest_size=16).hexdigest()
    return product.product_id, product.packshot, version, title
