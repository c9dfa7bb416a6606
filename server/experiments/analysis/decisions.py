"""What a bandit decided, from the tables of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from server.experiments.analysis.off_policy import (
    Decisions,
    Floats,
    Indices,
    PolicyValue,
    Value,
    estimate_arms,
    estimate_logged,
)
from server.experiments.analysis.settings import AnalysisSettings
from server.experiments.analysis.tables import TO_S
from server.experiments.definition import BanditSettings, Experiment

MAX_DECISIONS = 2_000_000
"""More are told by a sample of shoppers."""

QUERY = f"""
WITH logged AS (
  SELECT hash(exposure_id) AS image, max(propensity) AS propensity, max(context) AS context
  FROM exposures
  WHERE experiment = $key AND {TO_S} AND unit <> ''
    AND hash(unit) % $stride = 0
  GROUP BY 1
), rewarded AS (SELECT DISTINCT image, 1.0 AS reward FROM deeds WHERE kind = $reward)
SELECT shopper, arm - 1 AS arm, propensity, coalesce(reward, 0.0) AS reward, context
FROM logged JOIN images USING (image) LEFT JOIN rewarded USING (image)
WHERE left_out = '' AND propensity > 0 AND propensity <= 1
ORDER BY shopper, image
"""


@dataclass(frozen=True, slots=True)
class OffPolicy:
    """What each arm would have brought for each image, had it been shown to everybody; `logged` is
    what the bandit brought. `sampled` is the share of shoppers that this was told from."""

    reward: str
    num_decisions: int
    num_units: int
    sampled: float
    logged: Value
    policies: tuple[PolicyValue, ...]


def evaluate_bandit(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    bandit: BanditSettings,
    settings: AnalysisSettings,
    now_s: float,
) -> OffPolicy | None:
    """None where nobody saw an image."""
    ((num_images,),) = connection.execute("SELECT count(*) FROM images").fetchall()
    stride = max(1, -(-num_images // MAX_DECISIONS))
    values = {"key": experiment.key, "now_s": now_s, "stride": stride, "reward": bandit.reward}
    decisions = _load(connection, values, len(experiment.arms))
    if not len(decisions):
        return None
    return OffPolicy(
        reward=bandit.reward,
        num_decisions=len(decisions),
        num_units=int(decisions.units.max()) + 1,
        sampled=1.0 / stride,
        logged=estimate_logged(decisions, settings.alpha),
        policies=tuple(
            estimate_arms(decisions, [arm.name for arm in experiment.arms], settings.alpha)
        ),
    )


def _load(
    connection: duckdb.DuckDBPyConnection, values: Mapping[str, object], num_arms: int
) -> Decisions:
    table: Any = connection.sql(QUERY, params=dict(values)).to_arrow_table()
    shoppers: Indices = table["shopper"].to_numpy()
    _, units = np.unique(shoppers, return_inverse=True)
    contexts = table["context"].combine_chunks()
    return Decisions(
        units=units.astype(np.int64),
        arms=table["arm"].to_numpy().astype(np.int64),
        propensities=table["propensity"].to_numpy().astype(np.float64),
        rewards=table["reward"].to_numpy().astype(np.float64),
        contexts=_pad(
            contexts.value_lengths().fill_null(0).to_numpy(zero_copy_only=False),
            contexts.flatten().to_numpy(zero_copy_only=False).astype(np.float64),
        ),
        num_arms=num_arms,
    )


def _pad(lengths: Floats, flat: Floats) -> Floats:
    """One row each, zero where a bandit knew less at that time."""
    padded = np.zeros((len(lengths), int(lengths.max(initial=0))))
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = flat
    return padded
