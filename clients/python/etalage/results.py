"""What a call gives back: frozen, typed, without protobuf."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from etalage.creatives import Explanation, Fidelity, Layout, Try
from etalage.errors import EtalageError


@dataclass(frozen=True)
class Image:
    """One encoded image; asking again with `seed` gives it again.

    `look` is what a scene or diversity chose. Where no try was good enough, it `is_original`.
    `layout` is what was set over it, where anything was. `exposure_token` goes back with what
    shoppers did (`Client.record`). Where it `is_signed`, the file says where it comes from
    (`Client.verify`).
    """

    data: bytes = field(repr=False)
    mime_type: str
    width: int
    height: int
    seed: int
    fidelity: Fidelity | None = None
    look: tuple[str, ...] = ()
    is_original: bool = False
    layout: Layout | None = None
    exposure_token: str = field(default="", repr=False)
    is_signed: bool = False
    is_watermarked: bool = False

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the encoded file, making folders on the way as needed."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.data)
        return target


@dataclass(frozen=True)
class Personalization:
    """Whether the shopper took part, and why or why not.

    `reason` is "applied", "strength_zero", "anonymous", "no_consent", "unknown_user", "stale",
    "features_unavailable" or "invalid_features"; `feature_ages_s` is by feature view.
    """

    applied: bool
    reason: str
    feature_service: str = ""
    feature_fingerprint: str = ""
    feature_ages_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelInfo:
    """The model that sampled; `digest` tells its weights and configuration."""

    name: str
    digest: str


@dataclass(frozen=True)
class Enrolment:
    """That the image is part of an experiment. `propensity` is the probability with which this
    shopper was given this arm; an override is left out of the analysis."""

    experiment: str
    arm: str
    propensity: float
    is_override: bool


@dataclass(frozen=True)
class Result:
    """The images of one product and how they came about.

    `source` is "generated", "cache" or "original"; `model` and `sampler` are None where nothing was
    sampled. `timings_ms` is by stage, in the order of the way. `degradation` is what was given up
    for the deadline: "none", "fewer_steps", "nearest_taste" (an earlier image, for the taste most
    like this one) or "original". `num_forward_rows` were spent on these images, and
    `num_shared_steps` taken over from others that walked the same way. `warnings` say what to know
    of how the request was read; `style` is the one that took part, empty for none. `tries` are
    images that failed verification, `title_language` is that of the title that took part.
    """

    images: tuple[Image, ...]
    source: str
    personalization: Personalization
    arm: str
    model: ModelInfo | None
    sampler: str | None
    steps: int
    timings_ms: Mapping[str, float]
    request_id: str
    degradation: str = "none"
    num_forward_rows: int = 0
    num_shared_steps: int = 0
    warnings: tuple[str, ...] = ()
    style: str = ""
    tries: tuple[Try, ...] = ()
    explanation: Explanation | None = None
    title_language: str = ""
    enrolment: Enrolment | None = None

    @property
    def image(self) -> Image:
        """The first image."""
        return self.images[0]


@dataclass(frozen=True)
class Accepted:
    """The request was admitted."""

    request_id: str


@dataclass(frozen=True)
class Progress:
    """Steps done by the slowest image; `preview` as if sampling ended now, where asked for."""

    step: int
    total_steps: int
    preview: Image | None = None


@dataclass(frozen=True)
class SlateItem:
    """One product of a slate; exactly one of `result` and `error` is set. `rank` counts from 0."""

    rank: int
    product_id: str
    result: Result | None = None
    error: EtalageError | None = None

    def unwrap(self) -> Result:
        """Gives the result or raises the error."""
        if self.result is None:
            raise self.error or EtalageError(f"no result for {self.product_id!r}")
        return self.result


@dataclass(frozen=True)
class Answer:
    """What `explain` gives back: why, and whether the shopper took part in which arm."""

    explanation: Explanation
    personalization: Personalization
    arm: str
    model: ModelInfo | None


@dataclass(frozen=True)
class Cancellation:
    """What `cancel` did: how many calls it cut off, and whether the id is refused for a while."""

    num_cancelled: int
    is_remembered: bool


Event = Accepted | Progress | Result
