"""Events that differ where a test wants them to, and what a database holds of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Table, select

from server.experiments.event_log.tables import event_ids, exposures, outcomes
from server.experiments.events import Event, EventKind, Exposure

NOW_S = 1_700_000_000.25


class Clock:
    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def exposure(exposure_id: str = "x", **told: Any) -> Exposure:
    """One of which every field is set."""
    values: dict[str, Any] = {
        "minted_s": NOW_S - 1.125,
        "unit": "unit-a",
        "shows": "personalized",
        "product_id": "handbag",
        "seed": 2**64 - 1,
        "experiment": "surroundings",
        "arm": "warm",
        "propensity": 1 / 3,
        "is_override": True,
        "is_anonymous": True,
        "rank": 3,
        "locale": "pt-BR",
        "is_known": True,
        "interests": ("café", 'tea, "green"'),
        "look": ("warm", "kitchen", "soft"),
        "reason": "applied",
        "source": "sampled",
        "degradation": "fewer_steps",
        "model": "quality",
        "model_digest": "fedcba9876543210",
        "mode": "preserve",
        "strength": 0.1 + 0.2,
        "steps": 20,
        "feature_fingerprint": "0123456789abcdef",
        "feature_ages_s": (("user_profile", 3600.5), ("user_recent", 1e-7)),
        "image_key": "k\n\t'\\",
        "latency_s": 0.7,
        "context": (1.0, -2.5, 1e300),
    }
    return Exposure(exposure_id=exposure_id, **(values | told))


def bare(exposure_id: str, **told: Any) -> Exposure:
    """One of which only what has no default is set."""
    return Exposure(exposure_id, NOW_S, "", "generic", "handbag", 0, **told)


def render(event_id: str, of: Exposure | None = None, time_s: float = NOW_S) -> Event:
    return Event(event_id, EventKind.RENDER, time_s, of or exposure(f"of {event_id}"))


def click(event_id: str, of: Exposure | None = None, time_s: float = NOW_S) -> Event:
    return Event(event_id, EventKind.CLICK, time_s, of or exposure(f"of {event_id}"))


def buy(event_id: str, value: float, of: Exposure | None = None) -> Event:
    return Event(event_id, EventKind.PURCHASE, NOW_S, of or exposure(f"of {event_id}"), value)


def read_rows(engine: Engine, table: Table) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        rows = connection.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row._mapping) for row in rows]


def read_ids(engine: Engine) -> Counter[str]:
    """Of all events that are kept, as often as they are."""
    return Counter(
        row["event_id"] for table in (exposures, outcomes) for row in read_rows(engine, table)
    )


def read_claims(engine: Engine) -> set[str]:
    return {bytes(row["event_id"]).decode() for row in read_rows(engine, event_ids)}


def clear(engine: Engine, tables: Sequence[Table] = (exposures, outcomes, event_ids)) -> None:
    with engine.begin() as connection:
        for table in tables:
            connection.execute(table.delete())
