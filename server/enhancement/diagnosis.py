"""Every defect of a picture with a score, and whether it is bad enough to act on.

How often each is found where it is, and where it is not: benchmarks/diagnosis.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from server.enhancement.detail import (
    measure_blur,
    measure_noise,
    measure_resolution,
    show_middle,
    to_luma,
)
from server.enhancement.framing import (
    judge_background,
    judge_centre,
    judge_cut,
    look_at_framing,
)
from server.enhancement.jpeg import measure_jpeg
from server.enhancement.light import judge_cast, judge_exposure, measure_light
from server.enhancement.nouns import Defect, Diagnosis, Measure, Picture, Plane
from server.enhancement.overlay import find_overlay, judge_overlay


def diagnose(picture: Picture, alpha: Plane | None = None) -> Diagnosis:
    """`alpha` [H, W] is where a matting model sees the product, where one was asked."""
    diagnosis: dict[Defect, Measure] = {}
    for part in diagnose_in_parts(picture, alpha):
        diagnosis |= part
    return diagnosis


def diagnose_in_parts(picture: Picture, alpha: Plane | None = None) -> Iterator[Diagnosis]:
    """The same a part at a time, in the order of the defects: whoever asked may be gone before the
    last. However large a picture is, what is measured is bounded."""
    shown = show_middle(picture)
    luma = to_luma(shown)
    yield {Defect.BLUR: measure_blur(luma)}
    yield {Defect.NOISE: measure_noise(shown)}
    yield {Defect.JPEG_BLOCKS: measure_jpeg(luma)}
    yield {Defect.LOW_RESOLUTION: measure_resolution(luma, picture.size)}
    light = measure_light(picture)
    yield {Defect.EXPOSURE: judge_exposure(light), Defect.COLOUR_CAST: judge_cast(light)}
    framing = look_at_framing(picture, alpha)
    yield {
        Defect.CLUTTERED_BACKGROUND: judge_background(framing),
        Defect.OFF_CENTRE: judge_centre(framing),
        Defect.CUT_OFF: judge_cut(framing),
    }
    yield {Defect.OVERLAY: judge_overlay(find_overlay(picture))}
