"""What happens to a sampled picture: it is composed, then its texts are set and a file is made."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffusion.looks import AXES
from diffusion.palettes import PALETTES, Palette
from diffusion.treatments import apply_treatment
from server.commission import Commission
from server.core import EncodedImage, Mode, Pixels
from server.creative import Box, Fidelity, Layout
from server.errors import InvalidRequest
from server.imaging.compose import Composition, compose_in
from server.imaging.encode import encode
from server.imaging.fidelity import measure
from server.imaging.frame import Frame
from server.imaging.kept import KeptByPicture
from server.imaging.layout import arrange
from server.imaging.layout_checks import check_layout
from server.imaging.painting import paint
from server.imaging.verification import LIMITS, Limits, verify
from server.safety import SafetyCheck
from server.sampling.row import RowRequest

TREATED = KeptByPicture[Pixels](64 * 1024 * 1024, lambda cutout: cutout.nbytes)


@dataclass(frozen=True, slots=True)
class Picture:
    """A composed picture, and what is wrong with it, if anything."""

    seed: int
    look: tuple[str, ...]
    composition: Composition
    fidelity: Fidelity
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delivered:
    """A file, and what could not be written on it."""

    image: EncodedImage
    warnings: tuple[str, ...] = ()


def finish(
    pixels: Pixels,
    row: RowRequest,
    commission: Commission,
    limits: Limits = LIMITS,
    safety: SafetyCheck | None = None,
) -> Picture:
    """A sampled picture [h, w, 3] as the frame wants it, and whether it is good."""
    cutout, mode = dress(commission, row.look)
    composition = compose_in(pixels, cutout, commission.frame, mode)
    fidelity = measure(composition)
    reasons = verify(composition, fidelity, limits, safety)
    if commission.request.mode is not Mode.PRESERVE:
        fidelity = replace(fidelity, max_difference=None)
    return Picture(row.seed, row.look, composition, fidelity, reasons)


def dress(commission: Commission, look: tuple[str, ...]) -> tuple[NDArray[np.uint8] | None, Mode]:
    """What is put over the surroundings of a look, and how.

    A creation of a model that draws surroundings only shows the packshot in the look's treatment.
    """
    cutout, mode = commission.product.cutout, commission.request.mode
    if mode is not Mode.CREATE or cutout is None or not commission.model.creates_by_pasting:
        return cutout, mode
    treatment = next((word for word in look if word in AXES["treatment"]), "natural")
    palette = next((PALETTES[word] for word in look if word in PALETTES), None)
    return treat(cutout, treatment, palette), Mode.PRESERVE


def treat(cutout: Pixels, treatment: str, palette: Palette | None) -> Pixels:
    """The same array whenever the same one is asked for, as long as it is kept: what is made of it,
    such as its layers, is found again."""
    if treatment == "natural":
        return cutout
    how = treatment, palette
    return TREATED.find(cutout, how, lambda: apply_treatment(cutout, treatment, palette))


def deliver(picture: Picture, commission: Commission) -> Delivered:
    """The picture with what is written on it, as a file."""
    arranged = lay_out(picture, commission)
    pixels, layout = picture.composition.pixels, None
    warnings: tuple[str, ...] = ()
    if arranged is not None:
        layout, warnings = arranged
        pixels = paint(pixels, layout, commission.agreed.kit)
    image = encode(pixels, commission.request.output, picture.seed)
    told = replace(image, fidelity=picture.fidelity, look=picture.look, layout=layout)
    return Delivered(told, warnings)


def lay_out(picture: Picture, commission: Commission) -> tuple[Layout, tuple[str, ...]] | None:
    """What is to be set over a picture: as the request brought it, or as its caption asks; None
    where that is nothing."""
    request, kit = commission.request, commission.agreed.kit
    if request.layout is not None:
        return resize(request.layout, picture.composition.frame), ()
    has_logo = kit is not None and kit.logo is not None
    if request.caption.is_empty and request.placement is None and not has_logo:
        return None
    arrangement = arrange(
        picture.composition.pixels,
        request.caption,
        commission.product.title,
        commission.agreed.occasion,
        request.placement,
        kit,
        picture.composition.product,
    )
    return arrangement.layout, arrangement.warnings


def check_layout_fits(layout: Layout, commission: Commission) -> None:
    """Raises InvalidRequest naming what of a layout can't be drawn on the picture."""
    frame = commission.frame
    size = frame.width, frame.height
    if violations := check_layout(resize(layout, frame), size, commission.agreed.kit):
        raise InvalidRequest(*violations)


def resize(layout: Layout, frame: Frame) -> Layout:
    """A layout for a picture of the same proportions and another size."""
    scale = frame.width / layout.width

    def scale_box(box: Box) -> Box:
        return Box(*(scale * side for side in (box.left, box.top, box.width, box.height)))

    elements = tuple(
        replace(
            each,
            box=scale_box(each.box),
            style=each.style and replace(each.style, size=scale * each.style.size),
        )
        for each in layout.elements
    )
    safe_area = scale_box(layout.safe_area)
    return Layout(frame.width, frame.height, safe_area, elements, layout.is_mirrored)
