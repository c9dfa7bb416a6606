"""Products ready for fusion: packshots cut out, products encoded and kept, those used last."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from PIL import Image

from diffusion.cutout import Cutout
from diffusion.encoders import Encoders
from diffusion.finding import FindMatte, cut_out
from diffusion.image_model import ImageModel, PackshotNeeded, ProductFacts
from diffusion.pictures import PictureUnusable, as_alpha, open_mask, open_picture
from features.packshots import cut_packshot, show_product
from features.records import Product
from server.core import InlineProduct
from server.localization.titles import DEFAULT_LANGUAGE, Title, choose_title

SEEN = 8  # of alpha: what is less can not be seen


@dataclass(frozen=True, slots=True)
class PreparedProduct:
    """`packshot` is cut out, at its own size, None where the product is known by its title alone;
    `condition` is the product as one model is shown it. `digest` is of both."""

    name: str
    packshot: Cutout | None
    condition: Any
    title: Title
    digest: bytes

    @classmethod
    def of(
        cls, name: str, packshot: Cutout | None, condition: Any, title: Title
    ) -> PreparedProduct:
        seen = hashlib.blake2b(condition.digest, digest_size=16)
        if packshot is not None:
            seen.update(packshot.source.value.encode())
            seen.update(packshot.pixels.tobytes())
        return cls(name, packshot, condition, title, seen.digest())

    @property
    def cutout(self) -> NDArray[np.uint8] | None:
        """RGBA [H, W, 4]."""
        return None if self.packshot is None else self.packshot.pixels

    @property
    def num_bytes(self) -> int:
        own = 0 if self.packshot is None else self.packshot.num_bytes
        return own + int(self.condition.num_bytes)


class InlineUnusable(ValueError):
    """What a request brought of a product can't be used: which field of it, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class CutoutShelf:
    """Cuts packshots out; callable from several threads.

    One of the catalogue is cut once for all models, languages and proportions, for as long as any
    of them keeps it. Without `find_matte` a packshot whose ground is not plain is taken whole.
    """

    def __init__(self, find_matte: FindMatte | None = None) -> None:
        self._find_matte = find_matte
        self._kept: WeakValueDictionary[Hashable, Cutout] = WeakValueDictionary()
        self._lock = Lock()

    def open(self, product: Product) -> Cutout:
        """Raises features.packshots.PackshotUnusable."""
        key = product.packshot, name_version(product)
        with self._lock:
            found = self._kept.get(key)
        if found is None:
            cut = cut_packshot(product.packshot, find_matte=self._find_matte)
            with self._lock:
                found = self._kept.setdefault(key, cut)
        return found

    def open_inline(self, product: InlineProduct) -> Cutout:
        """Raises InlineUnusable."""
        cut = cut_out(open_inline(product), self._find_matte, is_masked=bool(product.mask))
        if (cut.pixels[..., 3] > SEEN).any():
            return cut
        if product.mask and not is_clear(product.packshot):
            raise InlineUnusable("mask", "marks nothing of the packshot that can be seen")
        raise InlineUnusable("packshot", "is empty: every pixel is transparent")


class ProductShelf:
    """Prepares products for one model and keeps those used last, `max_bytes` of them; callable from
    several threads.

    `encoders` made the features of products. Raises features.packshots.PackshotUnusable where a
    packshot can't be read.
    """

    def __init__(
        self,
        model: ImageModel,
        encoders: Encoders,
        cutouts: CutoutShelf,
        max_bytes: int = 512 * 1024 * 1024,
    ) -> None:
        self._model, self._encoders, self._cutouts = model, encoders, cutouts
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
        packshot = self._cutouts.open(product)
        facts = self._tell(product, packshot, title)
        condition = self._model.prepare(facts, aspect_ratio)
        made = PreparedProduct.of(product.product_id, packshot, condition, title)
        key = name(product, locale), aspect_ratio
        with self._lock, suppress(ValueError):  # too large to be kept
            self._kept[key] = made
        return made

    def prepare_inline(
        self, product: InlineProduct, locale: str, aspect_ratio: float = 1.0
    ) -> PreparedProduct:
        """A product that the request brought along; it is not kept. Raises InlineUnusable."""
        packshot, control = None, None
        seen = np.zeros(self._encoders.width, np.float32)
        if product.packshot:
            packshot = self._cutouts.open_inline(product)
            seen = self._encoders.encode_images(show_product(packshot.pixels)[None])[0]
            if product.control_map:
                control = open_control(product.control_map, packshot.pixels)
        facts = [product.title, *(f"{k} {v}" for k, v in sorted(product.attributes.items()))]
        told = ProductFacts(
            None if packshot is None else packshot.pixels,
            product.title,
            seen,
            self._encoders.encode_texts([", ".join(facts)])[0],
            control,
            attributes=", ".join(facts[1:]),
        )
        with blaming("packshot", PackshotNeeded):
            condition = self._model.prepare(told, aspect_ratio)
        title = Title(product.title, locale)
        return PreparedProduct.of(product.title, packshot, condition, title)

    def _tell(self, product: Product, packshot: Cutout, title: Title) -> ProductFacts:
        told = product.text_embedding
        if title.language != DEFAULT_LANGUAGE:
            told = self._encoders.encode_texts([title.text])[0]
        return ProductFacts(packshot.pixels, title.text, product.image_embedding, told)


@contextmanager
def blaming(field: str, fault: type[ValueError] = PictureUnusable) -> Iterator[None]:
    """Such a fault is that field's of an inline product. Raises InlineUnusable."""
    try:
        yield
    except fault as error:
        raise InlineUnusable(field, str(error)) from error


def open_inline(product: InlineProduct) -> Image.Image:
    """The packshot, with the mask as its alpha where one came along. Raises InlineUnusable."""
    with blaming("packshot"):
        packshot = open_picture(product.packshot)
    if not product.mask:
        return packshot
    with blaming("mask"):
        return as_alpha(packshot, open_mask(product.mask, packshot.size))


def is_clear(packshot: bytes) -> bool:
    """Whether nothing can be seen on a packshot, whatever its mask. Raises PictureUnusable."""
    image = open_picture(packshot)
    return image.mode == "RGBA" and not (np.asarray(image.getchannel("A")) > SEEN).any()


def open_control(data: bytes, cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A map of the packshot [H, W, 3], as large as its cut-out. Raises InlineUnusable."""
    height, width = cutout.shape[:2]
    with blaming("control_map"):
        return np.asarray(open_picture(data).convert("RGB").resize((width, height)))


def name(product: Product, locale: str) -> tuple[str, ...]:
    """What a prepared product depends on."""
    title = choose_title(product.titles, locale).text
    return product.product_id, product.packshot, name_version(product), title


def name_version(product: Product) -> str:
    """Another one after every ingest that changed anything to be seen or read."""
    vectors = product.image_embedding.tobytes() + product.text_embedding.tobytes()
    return hashlib.blake2b(vectors, digest_size=16).hexdigest()
