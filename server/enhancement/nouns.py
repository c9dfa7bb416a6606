"""What is asked, found and answered, as frozen nouns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from diffusion.cutout import MaskSource
from server.core import EncodedImage, ModelCard, OutputSpec, Pixels

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Defect(Enum):
    """In the order in which they are told."""

    BLUR = "blur"
    NOISE = "noise"
    JPEG_BLOCKS = "jpeg_blocks"
    LOW_RESOLUTION = "low_resolution"
    EXPOSURE = "exposure"
    COLOUR_CAST = "colour_cast"
    CLUTTERED_BACKGROUND = "cluttered_background"
    OFF_CENTRE = "off_centre"
    CUT_OFF = "cut_off"
    OVERLAY = "overlay"


class Repair(Enum):
    RESTORE = "restore"
    EXPOSURE = "exposure"
    COLOUR = "colour"
    INPAINT = "inpaint"
    WHITE_BACKGROUND = "white_background"
    RECENTRE = "recentre"
    UPSCALE = "upscale"


@dataclass(frozen=True, slots=True)
class EnhanceRequest:
    """`source` is the id of a product, or an encoded picture. No `repairs` stands for what the
    diagnosis asks for; `deadline_s` is a point on the monotonic clock."""

    source: str | bytes
    repairs: frozenset[Repair] = frozenset()
    is_diagnosed_only: bool = False
    defect_mask: bytes = b""
    steps: int | None = None
    upscale_factor: int = 2
    output: OutputSpec = field(default_factory=OutputSpec)
    deadline_s: float | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """How bad a defect is: `score` from 0 (none) to 1 (unusable); `words` say what was measured."""

    score: float
    is_found: bool
    words: str


Diagnosis = Mapping[Defect, Measure]


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of defect before and, where something was done, after."""

    defect: Defect
    score_before: float
    score_after: float | None
    is_found: bool
    measured: str


@dataclass(frozen=True, slots=True)
class EnhanceResult:
    """`image` is None where only a diagnosis was asked for, `difference` where the size changed or
    nothing was done, `model` where no model restored, `mask_uncertainty` where the picture's own
    alpha told the product, `mask_source` where nobody asked for it."""

    image: EncodedImage | None
    findings: tuple[Finding, ...]
    repairs: tuple[Repair, ...] = ()
    difference: EncodedImage | None = None
    model: ModelCard | None = None
    mask_uncertainty: float | None = None
    timings_s: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    request_id: str = ""
    mask_source: MaskSource | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """Colour [H, W, 3] and, where the file has transparency, alpha [H, W], both uint8."""

    rgb: Pixels
    alpha: Pixels | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rgb.shape[0], self.rgb.shape[1]

    @property
    def is_cut_out(self) -> bool:
        """Whether alpha tells the product from its surroundings."""
        return self.alpha is not None and bool(self.alpha.min() < 250)

    def shown(self) -> Pixels:
        """On white, as a shop shows it."""
        if self.alpha is None:
            return self.rgb
        share = self.alpha[..., None].astype(np.float32) / 255
        return np.rint(self.rgb * share + 255 * (1 - share)).astype(np.uint8)

    def pixels(self) -> Pixels:
        """[H, W, 3 or 4] as they are encoded."""
        return self.rgb if self.alpha is None else np.dstack((self.rgb, self.alpha))
