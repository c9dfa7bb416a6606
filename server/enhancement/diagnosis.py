"""Every defect of a picture with a score, and whether it is bad enough to act on.

How often each is found where it is, and where it is not: benchmarks/diagnosis.py.
"""

from __future__ import annotations

from server.enhancement.detail import measure_blur, measure_noise, measure_resolution, to_luma
from server.enhancement.framing import (
    judge_background,
    judge_centre,
    judge_cut,
    look_at_framing,
)
from server.enhancement.jpeg import measure_jpeg
from server.enhancement.light import judge_cast, judge_exposure, measure_light
from server.enhancement.nouns import Defect, Diagnosis, Picture, Plane
from server.enhancement.overlay import find_overlay, judge_overlay


def diagnose(picture: Picture, alpha: Plane | None = None) -> Diagnosis:
    """`alpha` [H, W] is where a matting model sees the product, where one was asked."""
    shown = picture.shown()
    luma = to_luma(shown)
    light = measure_light(picture)
    framing = look_at_framing(picture, alpha)
    return {
        Defect.BLUR: measure_blur(luma),
        Defect.NOISE: measure_noise(shown),
        Defect.JPEG_BLOCKS: measure_jpeg(luma),
        Defect.LOW_RESOLUTION: measure_resolution(luma, picture.size),
        Defect.EXPOSURE: judge_exposure(light),
        Defect.COLOUR_CAST: judge_cast(light),
        Defect.CLUTTERED_BACKGROUND: judge_background(framing),
        Defect.OFF_CENTRE: judge_centre(framing),
        Defect.CUT_OFF: judge_cut(framing),
        Defect.OVERLAY: judge_overlay(find_overlay(picture)),
    }
