"""The four artists' drawings of a product, fitted alike into a square."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from diffusion.composition import crop_to_product, resize
from features.world.packages import FLUENT_3D, SVG_SETS, BuildError, Packages

MARGIN = 1 / 32  # of the side, so that resizing never bleeds into the frame


def normalise(codepoint: str) -> str:
    """The key under which all sets agree: lower case, without variation selectors."""
    return codepoint.lower().replace("-fe0f", "")


class SvgSet:
    """One artist's drawings as iconify packs them: bodies in one file, characters in another."""

    def __init__(self, packages: Packages, package: str) -> None:
        self._icons = packages.read_json(package, "icons.json")
        chars = packages.read_json(package, "chars.json")
        self._names = {normalise(code): name for code, name in chars.items()}

    def has(self, codepoint: str) -> bool:
        return self._names.get(codepoint) in self._icons["icons"]

    def draw(self, codepoint: str, side: int) -> Image.Image:
        """The drawing, fitted into `side` x `side` RGBA pixels."""
        icon = self._icons["icons"][self._names[codepoint]]
        width = icon.get("width", self._icons.get("width", 16))
        height = icon.get("height", self._icons.get("height", 16))
        rough = render_svg(icon["body"], (0, 0, width, height), 256)
        left, top, right, bottom = alpha_box(rough)
        # The drawing is rendered again at its own size: sharper than enlarging pixels.
        unit = width / rough.width
        span = max(right - left, bottom - top) * unit / (1 - 2 * MARGIN)
        x = (left + right) / 2 * unit - span / 2
        y = (top + bottom) / 2 * unit - span / 2
        return render_svg(icon["body"], (x, y, span, span), side)


class Artworks:
    """The four sets side by side."""

    def __init__(self, packages: Packages) -> None:
        self._packages = packages
        self.svg = {name: SvgSet(packages, package) for name, package in SVG_SETS.items()}

    def has_all(self, codepoint: str) -> bool:
        return self._fluent_3d(codepoint) is not None and all(
            drawings.has(codepoint) for drawings in self.svg.values()
        )

    def draw_all(self, codepoint: str, side: int) -> Iterator[tuple[str, Image.Image]]:
        """(name of the set, its drawing) for each of the four."""
        for name, drawings in self.svg.items():
            yield name, drawings.draw(codepoint, side)
        path = self._fluent_3d(codepoint)
        if path is None:
            raise BuildError(f"{FLUENT_3D} has no drawing of {codepoint}")
        with Image.open(io.BytesIO(self._packages.read(FLUENT_3D, path))) as image:
            yield "fluent3d", fit(image, side)

    def _fluent_3d(self, codepoint: str) -> str | None:
        # Single characters may carry their variation selector in the file's name.
        paths = (f"assets/{codepoint}.webp", f"assets/{codepoint}-fe0f.webp")
        return next((path for path in paths if self._packages.has(FLUENT_3D, path)), None)


def render_svg(body: str, box: tuple[float, float, float, float], width: int) -> Image.Image:
    """Renders the part `box` (x, y, width, height in drawing units), `width` pixels wide."""
    x, y, w, h = box
    head = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'<svg {head} viewBox="{x} {y} {w} {h}">{body}</svg>'
    png = resvg_py.svg_to_bytes(svg_string=svg, width=width, skip_system_fonts=True)
    return Image.open(io.BytesIO(png)).convert("RGBA")


def alpha_box(image: Image.Image) -> tuple[int, int, int, int]:
    """left, top, right, bottom of what can be seen, in pixels."""
    seen = np.asarray(image.getchannel("A")) > 8
    if not seen.any():
        raise BuildError("a drawing is empty")
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def fit(image: Image.Image, side: int) -> Image.Image:
    """Crops to what can be seen and centres it in `side` x `side` pixels, as `SvgSet.draw` does."""
    product = crop_to_product(np.asarray(image.convert("RGBA")))
    scale = side * (1 - 2 * MARGIN) / max(product.shape[:2])
    height, width = (max(1, round(length * scale)) for length in product.shape[:2])
    canvas = np.zeros((side, side, 4), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[top : top + height, left : left + width] = resize(product, width, height)
    return Image.fromarray(canvas)


def save(image: Image.Image, path: Path) -> None:
    """As lossy WebP with alpha."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=85, alpha_quality=90, method=6)
