"""The nouns that travel through the server: frozen, typed, without torch, gRPC or Feast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from diffusion.looks import ANYWHERE, SceneWish
from server.creative import (
    Caption,
    Explanation,
    Fidelity,
    Layout,
    Localization,
    Placement,
    Try,
)

Pixels = NDArray[np.uint8]
"""uint8 [height, width, 3], sRGB."""

QUALITY, FAST = "quality", "fast"
"""Names of models; the first is the default where there is nothing else."""


MAX_SLATE = 100
"""Products of one slate, at most."""

MAX_STEPS = 100
"""Of one image, at most."""


class Mode(Enum):
    PRESERVE = "preserve"
    RESTYLE = "restyle"
    CREATE = "create"


class SamplerName(Enum):
    EULER = "euler"
    HEUN = "heun"
    DPMPP_2M = "dpmpp_2m"
    EULER_ANCESTRAL = "euler_ancestral"
    LCM = "lcm"


class Sigmas(Enum):
    """At which noise levels a sampler stops."""

    UNIFORM = "uniform"
    KARRAS = "karras"


class ImageFormat(Enum):
    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"


class DeadlinePolicy(Enum):
    STRICT = "strict"
    DEGRADE = "degrade"


class CachePolicy(Enum):
    """Whether an earlier image may be the answer."""

    USE = "use"
    REFRESH = "refresh"
    BYPASS = "bypass"


class Arm(Enum):
    ORIGINAL = "original"
    GENERIC = "generic"
    PERSONALIZED = "personalized"


class Source(Enum):
    GENERATED = "generated"
    CACHE = "cache"
    ORIGINAL = "original"


class Degradation(Enum):
    """What was given up for a deadline, where the request allowed it."""

    NONE = "none"
    FEWER_STEPS = "fewer_steps"
    NEAREST_TASTE = "nearest_taste"
    ORIGINAL = "original"


class Reason(Enum):
    """Why the shopper did or did not take part in an image."""

    APPLIED = "applied"
    STRENGTH_ZERO = "strength_zero"
    ANONYMOUS = "anonymous"
    NO_CONSENT = "no_consent"
    UNKNOWN_USER = "unknown_user"
    STALE = "stale"
    FEATURES_UNAVAILABLE = "features_unavailable"
    INVALID_FEATURES = "invalid_features"


@dataclass(frozen=True, slots=True)
class InlineProduct:
    """A product that the feature store does not know; `packshot` is an encoded image, and so is
    `control_map`, if any: of the same picture, for a ControlNet. A `mask` of the packshot's size
    says where the product is."""

    title: str
    packshot: bytes
    attributes: Mapping[str, str]
    control_map: bytes = b""
    mask: bytes = b""


@dataclass(frozen=True, slots=True)
class OutputSpec:
    format: ImageFormat = ImageFormat.PNG
    quality: int = 90
    longest_side: int = 512
    aspect_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One question: how should this product look to this shopper?

    `None` stands for the server's default wherever zero is a value. `deadline_s` is a point on the
    monotonic clock; `strength` runs from 0 to 1 and is mapped onto the capped shopper scale.
    `sigmas` and `sampler` of None are the model's own. Those of a slate have a rank in it, and
    share one seed. `arm` forces an arm outside of experiments, `experiment` and `arm_name` one of
    an experiment. `session_id` tells who asks, for experiments alone, where `user_id` does not.
    """

    product: str | InlineProduct
    user_id: str = ""
    request_id: str = ""
    mode: Mode = Mode.PRESERVE
    locale: str = "en"
    num_images: int = 1
    seed: int | None = None
    steps: int | None = None
    sampler: SamplerName | None = None
    product_scale: float | None = None
    strength: float | None = None
    output: OutputSpec = field(default_factory=OutputSpec)
    deadline_policy: DeadlinePolicy = DeadlinePolicy.STRICT
    arm: Arm | None = None
    preview_side: int = 0
    deadline_s: float | None = None
    model: str = ""
    sigmas: Sigmas | None = None
    reuse_predictions: bool = False
    slate_rank: int | None = None
    slate_size: int = 0
    style: str = ""
    scene: SceneWish = ANYWHERE
    diversity: float | None = None
    localization: Localization = Localization()
    caption: Caption = Caption()
    placement: Placement | None = None
    layout: Layout | None = None
    brand_kit: str = ""
    max_tries: int | None = None
    is_explained: bool = False
    cache_policy: CachePolicy = CachePolicy.USE
    is_background: bool = False
    """Nobody waits for it: it goes after everybody else."""
    session_id: str = ""
    experiment: str = ""
    arm_name: str = ""


@dataclass(frozen=True, slots=True)
class Personalization:
    reason: Reason
    feature_service: str = ""
    feature_fingerprint: str = ""
    feature_ages_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def applied(self) -> bool:
        return self.reason is Reason.APPLIED


@dataclass(frozen=True, slots=True)
class EncodedImage:
    data: bytes
    mime_type: str
    width: int
    height: int
    seed: int
    fidelity: Fidelity | None = None
    look: tuple[str, ...] = ()
    is_original: bool = False
    layout: Layout | None = None
    exposure_token: str = ""
    is_signed: bool = False
    is_watermarked: bool = False


@dataclass(frozen=True, slots=True)
class ModelCard:
    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """That a request is part of an experiment: what the log and the response say of it.

    `propensity` is the probability with which this arm was chosen for this shopper. What is
    overridden for quality assurance stays out of the analysis. `context` is what a bandit knew.
    """

    experiment: str
    arm: str
    propensity: float
    is_override: bool = False
    context: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageResult:
    """The images of one request and how they came about; `timings_s` is in the order of the way.

    `num_forward_rows` were spent on these images; `num_shared_steps` were taken over from others.
    `num_missing` images are left out: no try was good, and there is no packshot to show instead.
    """

    images: tuple[EncodedImage, ...]
    source: Source
    personalization: Personalization
    arm: Arm
    model: ModelCard | None
    sampler: SamplerName | None
    steps: int
    timings_s: Mapping[str, float]
    request_id: str = ""
    degradation: Degradation = Degradation.NONE
    num_forward_rows: int = 0
    num_shared_steps: int = 0
    warnings: tuple[str, ...] = ()
    style: str = ""
    tries: tuple[Try, ...] = ()
    explanation: Explanation | None = None
    title_language: str = ""
    num_missing: int = 0
    enrolment: Enrolment | None = None
    maker: str = ""
    """Whose embedding is in the pixels, as features.tombstones names them, to forget it by; never
    told to anybody."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Why an image looks as it does, and whether the shopper took part in which arm; `model` is
    None where that shows the packshot."""

    explanation: Explanation
    personalization: Personalization
    arm: Arm
    model: ModelCard | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request was admitted."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done by the slowest image; `preview` shows the first one as if sampling ended now."""

    step: int
    total_steps: int
    preview: EncodedImage | None = None


Event = Accepted | Progress
