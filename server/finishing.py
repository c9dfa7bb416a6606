"""What happens to a picture: it is composed, then its texts are set and a file is made."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffusion.looks import choose_treatment
from diffusion.looks import dress as dress_packshot
from server.commission import Commission
from server.core import Arm, EncodedImage, Mode, Pixels
from server.creative import Box, Fidelity, Kind, Layout
from server.errors import FailedPrecondition, InvalidRequest
from server.imaging.compose import Composition, compose_in, compose_on_white
from server.imaging.encode import encode, show_packshot
from server.imaging.fidelity import find_difference, measure
from server.imaging.kept import KeptByPicture
from server.imaging.labelling import add_label
from server.imaging.layout import Arrangement, arrange
from server.imaging.layout_checks import check_layout
from server.imaging.painting import paint
from server.imaging.verification import LIMITS, Limits, verify
from server.provenance.origin import Making, SourceType, write_xmp
from server.provenance.sealing import UNSEALED, OwnPixels, Sealer
from server.safety import SafetyCheck
from server.sampling.row import RowRequest

TREATED = KeptByPicture[Pixels](64 * 1024 * 1024, lambda cutout: cutout.nbytes)

COVERED = "the layout covers part of the product"


@dataclass(frozen=True, slots=True)
class Picture:
    """A composed picture, and what is wrong with it, if anything."""

    seed: int
    look: tuple[str, ...]
    composition: Composition
    fidelity: Fidelity
    reasons: tuple[str, ...]
    verify_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """A file, and what could not be written on it."""

    image: EncodedImage
    warnings: tuple[str, ...] = ()
    source: SourceType = SourceType.GENERATED

    def of(self, seed: int) -> Delivered:
        """The same in the place of the image of that seed."""
        return replace(self, image=replace(self.image, seed=seed))


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
    composed_s = time.perf_counter()
    fidelity = measure(composition, commission.product.packshot)
    reasons = verify(composition, fidelity, limits, safety)
    verify_s = time.perf_counter() - composed_s
    if commission.request.mode is not Mode.PRESERVE:
        fidelity = replace(fidelity, max_difference=None)
    return Picture(row.seed, row.look, composition, fidelity, reasons, verify_s)


def dress(commission: Commission, look: tuple[str, ...]) -> tuple[NDArray[np.uint8] | None, Mode]:
    """What is put over the surroundings of a look, and how.

    A creation of a model that draws surroundings only shows the packshot in the look's treatment.
    """
    cutout, mode = commission.product.cutout, commission.request.mode
    if mode is not Mode.CREATE or cutout is None or not commission.model.creates_by_pasting:
        return cutout, mode
    if (how := choose_treatment(look))[0] == "natural":
        return cutout, Mode.PRESERVE
    # The same array whenever the same one is asked for: its layers are found again.
    return TREATED.find(cutout, how, lambda: dress_packshot(cutout, look)), Mode.PRESERVE


def deliver(picture: Picture, commission: Commission, sealer: Sealer = UNSEALED) -> Delivered:
    """The picture with what is written on it and its mark, as a file. What covers the product is
    told."""
    fidelity, composition = picture.fidelity, picture.composition
    written, layout, warnings = write(composition, commission)
    pixels = sealer.mark(written, find_own(composition))
    if (
        pixels is not composition.pixels
        and composition.layers is not None
        and fidelity.max_difference is not None
    ):
        placed = composition.layers.placed.put_in(composition.frame)
        if (difference := find_difference(pixels, placed)) != fidelity.max_difference:
            fidelity = replace(fidelity, max_difference=difference)
            warnings = (*warnings, COVERED)
    output, source = commission.request.output, find_source(composition)
    image = encode(pixels, output, picture.seed, write_xmp(source))
    image = replace(image, fidelity=fidelity, look=picture.look, layout=layout)
    image = replace(image, is_watermarked=pixels is not written)
    return Delivered(image, warnings, source)


def seal(
    delivered: Delivered, commission: Commission, num_steps: int, sealer: Sealer = UNSEALED
) -> Delivered:
    """The file with what is true of it whoever asked, signed; the merchant's own picture as it is.
    Raises Unavailable where it has to be signed and can't be."""
    image = delivered.image
    if image.is_original:
        return delivered
    request, card = commission.request, commission.card
    # What it shows: a personalized arm without a shopper gives the generic image, to the byte.
    shows = Arm.GENERIC if commission.taste.shopper is None else Arm.PERSONALIZED
    made = Making(
        delivered.source,
        card.name,
        card.digest,
        shows.value,
        request.mode.value,
        image.seed,
        num_steps,
    )
    signed, warnings = sealer.sign(image, made)
    return replace(delivered, image=signed, warnings=(*delivered.warnings, *warnings))


def find_own(composition: Composition) -> OwnPixels | None:
    """Where a picture shows the product's own pixels, if it does."""
    if composition.layers is None or composition.surroundings is None:
        return None
    placed = composition.layers.placed.put_in(composition.frame)
    return OwnPixels(placed.box, placed.alpha > 0)


def find_source(composition: Composition) -> SourceType:
    """What the picture is, as IPTC calls it: of pixels that were photographed or drawn by people,
    too, where the product's own are in it."""
    is_composite = composition.surroundings is not None
    return SourceType.COMPOSITE if is_composite else SourceType.GENERATED


def show_original(commission: Commission) -> Delivered:
    """The merchant's own picture: as it is, unless proportions or things to be written are asked
    for; then on white, where a creative has its product. Raises FailedPrecondition."""
    commission = commission.unlabelled()
    packshot, output = commission.product.packshot, commission.request.output
    if packshot is None:
        text = "no picture was good enough, and the product has no packshot to show instead"
        raise FailedPrecondition(text, "NO_PACKSHOT")
    if output.aspect_ratio == 1 and not commission.is_written_on:
        pixels = show_packshot(packshot.original, output.longest_side)
        return Delivered(replace(encode(pixels, output), is_original=True))
    frame = commission.find_frame(packshot.original)
    pixels, layout, warnings = write(compose_on_white(packshot.original, frame), commission)
    return Delivered(replace(encode(pixels, output), is_original=True, layout=layout), warnings)


def write(
    composition: Composition, commission: Commission
) -> tuple[Pixels, Layout | None, tuple[str, ...]]:
    """The picture with what is asked for set over it, what that is, if anything, and warnings of
    what could not be written."""
    if not commission.is_written_on:
        return composition.pixels, None, ()
    layout, warnings = lay_out(composition, commission)
    return paint(composition.pixels, layout, commission.agreed.kit), layout, warnings


def lay_out(composition: Composition, commission: Commission) -> tuple[Layout, tuple[str, ...]]:
    """What is to be set over a picture: as the request brought it, or as its caption asks."""
    request, own = commission.request, composition.product
    if request.layout is not None:
        layout = resize(request.layout, commission.size)
        elements = (
            replace(each, box=own) if each.kind is Kind.PRODUCT else each
            for each in layout.elements
        )
        arrangement = Arrangement(replace(layout, elements=tuple(elements)))
    else:
        arrangement = _arrange(composition, commission)
    if (label := commission.agreed.label) is None:
        return arrangement.layout, arrangement.warnings
    kit, warnings = commission.agreed.kit, arrangement.warnings
    arrangement = add_label(arrangement.layout, label, composition.pixels, own, kit)
    return arrangement.layout, (*warnings, *arrangement.warnings)


def _arrange(composition: Composition, commission: Commission) -> Arrangement:
    request = commission.request
    return arrange(
        composition.pixels,
        request.caption,
        commission.product.title,
        commission.agreed.occasion,
        request.placement,
        commission.agreed.kit,
        composition.product,
    )


def check_layout_fits(layout: Layout, commission: Commission) -> None:
    """Raises InvalidRequest naming what of a layout can't be drawn on the picture."""
    size, kit = commission.size, commission.agreed.kit
    if violations := check_layout(resize(layout, size), size, kit):
        raise InvalidRequest(*violations)


def resize(layout: Layout, size: tuple[int, int]) -> Layout:
    """A layout for a picture of the same proportions and this width and height."""
    scale = size[0] / layout.width

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
    return Layout(*size, safe_area, elements, layout.is_mirrored)
