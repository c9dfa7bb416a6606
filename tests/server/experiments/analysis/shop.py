"""A small shop whose events are written down one by one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from server.core import Arm
from server.experiments.definition import BanditSettings, Changes, Experiment, ExperimentArm

START_S = 1_800_000_000.0
DAY_S = 86_400.0
NOW_S = START_S + 30 * DAY_S
ARMS = ("original", "generic", "personalized")

EXPOSURES = pa.schema(
    {
        "event_id": pa.string(),
        "exposure_id": pa.string(),
        "time_s": pa.float64(),
        "received_s": pa.float64(),
        "unit": pa.string(),
        "experiment": pa.string(),
        "arm": pa.string(),
        "shows": pa.string(),
        "propensity": pa.float64(),
        "is_override": pa.bool_(),
        "is_anonymous": pa.bool_(),
        "product_id": pa.string(),
        "seed": pa.int64(),
        "rank": pa.int64(),
        "locale": pa.string(),
        "is_known": pa.bool_(),
        "interests": pa.list_(pa.string()),
        "look": pa.list_(pa.string()),
        "reason": pa.string(),
        "source": pa.string(),
        "degradation": pa.string(),
        "model": pa.string(),
        "model_digest": pa.string(),
        "mode": pa.string(),
        "strength": pa.float64(),
        "steps": pa.int64(),
        "feature_fingerprint": pa.string(),
        "image_key": pa.string(),
        "latency_s": pa.float64(),
        "minted_s": pa.float64(),
        "context": pa.list_(pa.float64()),
    }
)
OUTCOMES = pa.schema(
    {
        "event_id": pa.string(),
        "exposure_id": pa.string(),
        "experiment": pa.string(),
        "arm": pa.string(),
        "unit": pa.string(),
        "kind": pa.string(),
        "time_s": pa.float64(),
        "value": pa.float64(),
        "is_override": pa.bool_(),
        "received_s": pa.float64(),
    }
)
FACTS = {
    "propensity": 1 / 3,
    "is_override": False,
    "is_anonymous": False,
    "product_id": "shoe",
    "seed": 7,
    "rank": 0,
    "locale": "en",
    "is_known": True,
    "interests": [],
    "look": [],
    "reason": "applied",
    "source": "generated",
    "degradation": "",
    "model": "quality",
    "model_digest": "00",
    "mode": "preserve",
    "strength": 0.5,
    "steps": 8,
    "feature_fingerprint": "00",
    "image_key": "",
    "latency_s": 0.2,
    "context": [],
}


def define(
    arms: Sequence[str] = ARMS,
    weights: Sequence[float] | None = None,
    start_s: float | None = START_S,
    end_s: float | None = None,
    bandit: BanditSettings | None = None,
) -> Experiment:
    """An experiment "window"; an arm shows what it is named after, or is personalized."""
    weights = weights or [1 / len(arms)] * len(arms)
    kinds = {kind.value: kind for kind in Arm}
    members = (
        ExperimentArm(name, weight, Changes(kinds.get(name, Arm.PERSONALIZED)))
        for name, weight in zip(arms, weights, strict=True)
    )
    start, end = (
        None if time_s is None else datetime.fromtimestamp(time_s, UTC)
        for time_s in (start_s, end_s)
    )
    return Experiment("window", tuple(members), start=start, end=end, bandit=bandit)


class Shop:
    def __init__(self) -> None:
        self._numbers = itertools.count()
        self.exposures: list[dict[str, object]] = []
        self.outcomes: list[dict[str, object]] = []

    def show(
        self,
        unit: str,
        arm: str,
        time_s: float = START_S,
        *,
        experiment: str = "window",
        exposure: str | None = None,
        **facts: object,
    ) -> str:
        """An image that was rendered; returns its exposure."""
        number = next(self._numbers)
        exposure = exposure or f"exposure-{number}"
        row = FACTS | {
            "event_id": f"event-{number}",
            "exposure_id": exposure,
            "time_s": time_s,
            "received_s": time_s,
            "unit": unit,
            "experiment": experiment,
            "arm": arm,
            "shows": arm,
            "minted_s": time_s,
        }
        self.exposures.append(row | facts)
        return exposure

    def tell(
        self,
        exposure: str,
        kind: str,
        time_s: float = START_S + 60,
        value: float = 1.0,
        *,
        unit: str = "",
        arm: str = "",
        experiment: str = "window",
        is_override: bool = False,
    ) -> None:
        """What was done with an image."""
        shown = next((e for e in self.exposures if e["exposure_id"] == exposure), {})
        self.outcomes.append(
            {
                "event_id": f"event-{next(self._numbers)}",
                "exposure_id": exposure,
                "experiment": experiment,
                "arm": arm or shown.get("arm", ""),
                "unit": unit or shown.get("unit", ""),
                "kind": kind,
                "time_s": time_s,
                "value": value,
                "is_override": is_override or shown.get("is_override", False),
                "received_s": time_s,
            }
        )

    def write(self, folder: Path, num_files: int = 1) -> Path:
        for name, rows, schema in (
            ("exposures", self.exposures, EXPOSURES),
            ("outcomes", self.outcomes, OUTCOMES),
        ):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for number in range(num_files):
                part = rows[number::num_files]
                table = pa.Table.from_pylist(part, schema=schema)
                pq.write_table(table, folder / name / f"{number}.parquet")
        return folder


def is_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
