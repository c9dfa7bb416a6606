"""Feast's values → records. Presence is judged by the value alone, freshness by the event's time.

Statuses can't be trusted: Redis answers for an entity it never saw with a row of unset values from
1970, a stored null counts as present everywhere, and no store enforces a view's lifetime.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from diffusion.taste import NUM_RECENT
from features.quiet_feast import Value
from features.records import LastClicks, Product, Shopper, Status
from features.schema import PRODUCT_FEATURES, USER_PROFILE, USER_RECENT
from features.vector import Vector

RawRow = tuple[datetime | None, Mapping[str, Any] | None]

CORRUPT: RawRow = (None, {})
"""Stands for a row whose bytes are no Feast values."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What makes a row usable: encoders of `width`, age up to `lifetime_s` (0: any)."""

    width: int
    lifetime_s: float


class Profile(NamedTuple):  # a tuple, since one is made for every row read
    """A shopper's long-term row; `age_s` is None where there was none."""

    status: Status
    embedding: Vector | None = None
    consent: bool = False
    locale: str = ""
    age_band: str = ""
    gender: str = ""
    interests: tuple[str, ...] = ()
    age_s: float | None = None


class Recent(NamedTuple):
    """A shopper's last clicks."""

    status: Status
    clicks: LastClicks | None = None
    age_s: float | None = None


FLOAT32 = np.dtype(np.float32)
UNSET = Value()
NO_PROFILE = Profile(Status.UNAVAILABLE)
NO_RECENT = Recent(Status.UNAVAILABLE)


def decode_profile(entity_id: str, row: RawRow, limits: Limits, now_s: float) -> Profile:
    if row is CORRUPT:
        return Profile(Status.INVALID)
    time, values = row
    if time is None or values is None:
        return Profile(Status.MISSING)
    age_s = max(now_s - time.timestamp(), 0.0)
    status, embedding = _judge(values.get("embedding"), age_s, limits, limits.width)
    if status is Status.MISSING and not is_any_set(values):
        return Profile(Status.MISSING)
    # A value that is not set reads as "", False or an empty list: just what is meant here.
    return Profile(
        status=status,
        embedding=embedding,
        consent=values.get("consent", UNSET).bool_val,
        locale=values.get("locale", UNSET).string_val,
        age_band=values.get("age_band", UNSET).string_val,
        gender=values.get("gender", UNSET).string_val,
        interests=tuple(values.get("interests", UNSET).string_list_val.val),
        age_s=age_s,
    )


def decode_recent(entity_id: str, row: RawRow, limits: Limits, now_s: float) -> Recent:
    if row is CORRUPT:
        return Recent(Status.INVALID)
    time, values = row
    if time is None or values is None:
        return Recent(Status.MISSING)
    age_s = max(now_s - time.timestamp(), 0.0)
    length = NUM_RECENT * limits.width
    status, embeddings = _judge(values.get("recent_embeddings"), age_s, limits, length)
    if embeddings is None:
        is_known = status is not Status.MISSING or is_any_set(values)
        return Recent(status, age_s=age_s if is_known else None)
    _, weights = _judge(values.get("recent_weights"), age_s, limits, NUM_RECENT)
    if weights is None or weights.min() < 0:
        return Recent(Status.INVALID, age_s=age_s)
    return Recent(status, LastClicks(embeddings.reshape(NUM_RECENT, -1), weights), age_s)


def decode_product(entity_id: str, row: RawRow, limits: Limits, now_s: float) -> Product | Status:
    """The product, or why there is none: MISSING, STALE or INVALID."""
    if row is CORRUPT:
        return Status.INVALID
    time, values = row
    if time is None or values is None:
        return Status.MISSING
    age_s = max(now_s - time.timestamp(), 0.0)
    width = limits.width
    image_status, image = _judge(values.get("image_embedding"), age_s, limits, width)
    text_status, text = _judge(values.get("text_embedding"), age_s, limits, width)
    if image is None or text is None:
        status = image_status if image is None else text_status
        # A product without an embedding is no product that can be shown, but it is known.
        is_known = status is not Status.MISSING or is_any_set(values)
        return (Status.INVALID if status is Status.MISSING else status) if is_known else status
    try:
        titles = _parse_titles(values.get("titles", UNSET).string_val)
    except ValueError:
        return Status.INVALID
    return Product(
        product_id=entity_id,
        titles=titles,
        category=values.get("category", UNSET).string_val,
        packshot=values.get("packshot", UNSET).string_val,
        image_embedding=image,
        text_embedding=text,
        ages_s={PRODUCT_FEATURES.name: age_s},
    )


def join_shopper(profile: Profile, recent: Recent) -> Shopper:
    """One shopper of both rows. The profile decides; the last clicks come along where they can.

    Someone known without a history yet is judged by their last clicks alone. Of whoever did not
    consent there is the status and nothing else: what comes after can neither use it nor tell by
    its time that there was more.
    """
    status, embedding = profile.status, profile.embedding
    if status is Status.MISSING and recent.clicks is not None:
        # The population's taste is zero: embeddings are centred.
        status, embedding = Status.FOUND, np.zeros_like(recent.clicks.embeddings[0])
    if not profile.consent:
        return Shopper(status)
    ages = {USER_PROFILE.name: profile.age_s, USER_RECENT.name: recent.age_s}
    return Shopper(
        status=status,
        profile=embedding,
        last_clicks=None if embedding is None else recent.clicks,
        consent=True,
        locale=profile.locale,
        age_band=profile.age_band,
        gender=profile.gender,
        interests=profile.interests,
        ages_s={name: age_s for name, age_s in ages.items() if age_s is not None},
    )


def is_any_set(values: Mapping[str, Any]) -> bool:
    return any(value.WhichOneof("val") not in (None, "null_val") for value in values.values())


def _judge(
    value: Any | None, age_s: float, limits: Limits, length: int
) -> tuple[Status, Vector | None]:
    """The vector with FOUND, or why there is none."""
    numbers = None if value is None else value.float_list_val.val or value.double_list_val.val
    if not numbers:
        return Status.MISSING, None
    if 0 < limits.lifetime_s < age_s:
        return Status.STALE, None
    vector = np.array(numbers, FLOAT32)
    # A zero byte is a number that is not finite: half the time of `.all()`, for every row read.
    if len(vector) != length or b"\0" in np.isfinite(vector).tobytes():
        return Status.INVALID, None
    vector.setflags(write=False)  # shared by all requests of a turn
    return Status.FOUND, vector


@lru_cache(maxsize=4096)
def _parse_titles(told: str) -> Mapping[str, str]:
    titles = json.loads(told) if told else {}
    if not isinstance(titles, dict):
        raise ValueError("titles must be a JSON object")
    return MappingProxyType({str(locale): str(title) for locale, title in titles.items()})
