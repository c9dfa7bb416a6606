"""What happened to an image that was answered, as frozen nouns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class EventKind(Enum):
    """RENDER is the exposure: the shopper saw it. REFUSAL is the server's own: no image was made
    for a shopper of an experiment."""

    RENDER = "render"
    CLICK = "click"
    CART = "cart"
    PURCHASE = "purchase"
    DWELL = "dwell"
    RETURN = "return"
    HIDE = "hide"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one answered image was: the content of its token, and what an analysis may ask.

    `unit` is the shopper's (or the session's) pseudonym, empty where there was neither.
    `experiment` and `arm` are empty outside of experiments; `shows` is "original", "generic" or
    "personalized". `look` is palette, setting and treatment, as far as the image has them.
    `minted_s` is Unix time; `latency_s` from the request to the answer.
    """

    exposure_id: str
    minted_s: float
    unit: str
    shows: str
    product_id: str
    seed: int
    experiment: str = ""
    arm: str = ""
    propensity: float = 1.0
    is_override: bool = False
    is_anonymous: bool = False
    rank: int = 0
    locale: str = ""
    is_known: bool = False
    interests: tuple[str, ...] = ()
    look: tuple[str, ...] = ()
    reason: str = ""
    source: str = ""
    degradation: str = ""
    model: str = ""
    model_digest: str = ""
    mode: str = ""
    strength: float = 0.0
    steps: int = 0
    feature_fingerprint: str = ""
    feature_ages_s: tuple[tuple[str, float], ...] = ()
    image_key: str = ""
    latency_s: float = 0.0
    context: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """`event_id` makes a repeat harmless. `time_s` is Unix time, as the shop's clock had it.
    `value` is money for PURCHASE and RETURN, seconds for DWELL, else 1."""

    event_id: str
    kind: EventKind
    time_s: float
    exposure: Exposure
    value: float = 1.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of events that were handed to the log: all of them are kept."""

    num_new: int
    num_known: int
