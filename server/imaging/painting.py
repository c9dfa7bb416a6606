"""Draws what a layout says, and nothing else: the same pixels for the same layout."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from server.brand_kits import BrandKit
from server.core import Pixels
from server.creative import Box, Element, Kind, Layout, TextStyle
from server.imaging.captions import SHIPPED_FONTS
from server.imaging.colours import find_luminance, read_colour
from server.imaging.dressing import cut_out
from server.imaging.text.shaping import Line, draw_outline
from server.imaging.text.typesetting import Block, Voice, set_lines
from server.imaging.zones import PADDING_X, PADDING_Y

CORNER = 0.32  # radius of a plate, in em; a badge of one line is round
STRIKE_Y, STRIKE = 0.3, 0.07  # middle and thickness of a line through figures, in em


def paint(pixels: Pixels, layout: Layout, kit: BrandKit | None = None) -> Pixels:
    """A picture [height, width, 3] with a layout's words and logo on it; a font that is not known
    here gives way to one that is.

    Raises MissingGlyphs where no font has a letter; `check_layout` says so before.
    """
    painted = pixels
    for element in layout.elements:
        if element.kind is Kind.LOGO and kit is not None and kit.logo is not None:
            painted = _put_logo(painted, element.box, kit)
        elif element.style is not None and element.text:
            painted = _put_words(painted, element, element.style, kit)
    return painted


def _put_words(pixels: Pixels, element: Element, style: TextStyle, kit: BrandKit | None) -> Pixels:
    """Only the part of the picture is drawn that the words are in: most of it has none."""
    block = set_element(element, kit)
    lines = find_ink(element, block)
    height, width = pixels.shape[:2]
    boxes = [element.box, *(find_extent(line, x, y, block.size) for line, x, y in lines)]
    columns = slice(
        max(0, int(min(box.left for box in boxes)) - 2),
        min(width, int(max(box.right for box in boxes)) + 3),
    )
    rows = slice(
        max(0, int(min(box.top for box in boxes)) - 2),
        min(height, int(max(box.bottom for box in boxes)) + 3),
    )
    if columns.start >= columns.stop or rows.start >= rows.stop:
        return pixels
    painted = pixels.copy()
    overlay = _render("".join(_draw_words(element, style, block, lines)), columns, rows)
    painted[rows, columns] = put_over(painted[rows, columns], overlay)
    return painted


def put_over(pixels: Pixels, overlay: NDArray[np.uint8]) -> Pixels:
    """RGBA [H, W, 4] over rgb, mixed in sRGB as browsers do."""
    share = overlay[..., 3:] / np.float32(255)
    return np.rint(pixels * (1 - share) + overlay[..., :3] * share).astype(np.uint8)


def set_element(element: Element, kit: BrandKit | None = None) -> Block:
    """An element's lines, as they are drawn. Raises MissingGlyphs."""
    assert element.style is not None
    fonts = kit.typefaces if kit else SHIPPED_FONTS
    voice = Voice(fonts, element.style.font, element.style.language)
    return set_lines(element.text.split("\n"), element.style.size, voice)


def find_ink(element: Element, block: Block) -> list[tuple[Line, float, float]]:
    """The block's lines with the origins of their first letters."""
    assert element.style is not None
    box, size = element.box, block.size
    has_plate = bool(element.style.background)
    padding = (PADDING_X * size, PADDING_Y * size) if has_plate else (0.0, 0.0)
    y = box.top + padding[1] + block.ascent
    found = []
    for line in block.lines:
        x = box.left + padding[0] - line.left * size
        if element.style.is_right_to_left:
            x = box.right - padding[0] - line.right * size
        found.append((line, x, y))
        y += block.pitch
    return found


def find_extent(line: Line, x: float, y: float, size: float) -> Box:
    """What a line's ink takes up."""
    left, top = x + line.left * size, y - line.top * size
    return Box(left, top, (line.right - line.left) * size, (line.top - line.bottom) * size)


def _draw_words(
    element: Element, style: TextStyle, block: Block, lines: list[tuple[Line, float, float]]
) -> Iterator[str]:
    """SVG of an element: its plate, its letters, its strike."""
    if style.background:
        yield _draw_plate(element, style, len(lines))
    fill = _fill(style.colour)
    for line, x, y in lines:
        for glyph in line.glyphs:
            scale = block.size / glyph.font.units_per_em
            place = f"{x + glyph.x * block.size:.3f} {y - glyph.y * block.size:.3f}"
            outline = draw_outline(glyph.font, glyph.id)
            move = f"translate({place}) scale({scale:.6f} {-scale:.6f})"
            yield f'<path {fill} transform="{move}" d="{outline}"/>'
        if element.kind is Kind.FORMER_PRICE:
            left, right = x + line.left * block.size, x + line.right * block.size
            top = y - (STRIKE_Y + STRIKE / 2) * block.size
            box = Box(left, top, right - left, STRIKE * block.size)
            yield _draw_box(box, 0.0, fill)


def _draw_plate(element: Element, style: TextStyle, num_lines: int) -> str:
    radius = CORNER * style.size
    if element.kind is Kind.BADGE and num_lines == 1:
        radius = element.box.height / 2
    return _draw_box(element.box, radius, _fill(style.background))


def _draw_box(box: Box, radius: float, fill: str) -> str:
    return (
        f'<rect x="{box.left:.3f}" y="{box.top:.3f}" width="{box.width:.3f}" '
        f'height="{box.height:.3f}" rx="{radius:.3f}" {fill}/>'
    )


def _fill(colour: str) -> str:
    red, green, blue, opacity = read_colour(colour)
    return f'fill="#{red:02x}{green:02x}{blue:02x}" fill-opacity="{opacity / 255:.4f}"'


def _render(body: str, columns: slice, rows: slice) -> NDArray[np.uint8]:
    """RGBA of a part of the picture."""
    width, height = columns.stop - columns.start, rows.stop - rows.start
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="{columns.start} {rows.start} {width} {height}">{body}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True)
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGBA"))


def _put_logo(pixels: Pixels, box: Box, kit: BrandKit) -> Pixels:
    assert kit.logo is not None
    logo = _choose_logo(cut_out(pixels, box), kit)
    tall, wide = logo.shape[:2]
    clear = 2 * kit.logo.clear_space
    height = min(box.height / (1 + clear), box.width / (wide / tall + clear))
    size = max(1, round(height * wide / tall)), max(1, round(height))
    image = Image.fromarray(logo).convert("RGBa").resize(size, Image.Resampling.LANCZOS)
    image = image.convert("RGBA")  # resampled without the colour of what is transparent
    left = round(box.left + (box.width - size[0]) / 2)
    top = round(box.top + (box.height - size[1]) / 2)
    painted = Image.fromarray(pixels)
    painted.paste(image.convert("RGB"), (left, top), mask=image.getchannel("A"))
    return np.asarray(painted)


def _choose_logo(behind: Pixels, kit: BrandKit) -> NDArray[np.uint8]:
    """The version that stands out more from these pixels."""
    first, second = kit.logo_pixels, kit.logo_on_dark
    assert first is not None and second is not None
    return max(first, second, key=lambda logo: _stand_out(logo, behind))


def _stand_out(logo: NDArray[np.uint8], behind: Pixels) -> float:
    """The contrast of median luminances."""
    own = float(np.median(find_luminance(logo[logo[..., 3] > 127][:, :3]))) + 0.05
    other = (float(np.median(find_luminance(behind))) if behind.size else 1.0) + 0.05
    return max(own, other) / min(own, other)
