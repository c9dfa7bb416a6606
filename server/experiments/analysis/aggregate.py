"""Tables of events, summed by arm, by day and by segment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from server.experiments.analysis.columns import DAILY, FINE, FLAGS
from server.experiments.analysis.moments import Moments, Pair
from server.experiments.analysis.tables import DAY_S, IS_VALUE, TO_S, add_up, complete, count

Samples = Mapping[str, Moments]
"""By the name of an arm, of which those that nobody saw are empty."""

DIMENSIONS = {
    "locale": "locale",
    "shopper": "CASE WHEN is_known THEN 'known' ELSE 'new' END",
    "session": "CASE WHEN is_anonymous THEN 'anonymous' ELSE 'signed in' END",
    "interest": "unnest(list_distinct(interests))",
}
MAX_DAYS = 60
"""Points of a timeline, at most."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What takes no part in an analysis, and why."""

    mixed_shoppers: int = 0
    """Saw more than one arm."""
    override_images: int = 0
    """Were forced by a request, for quality assurance."""
    early_images: int = 0
    """Before the experiment's start: of an earlier version of it."""
    nameless_images: int = 0
    """Were shown to nobody in particular: neither a shopper nor a session."""
    other_arm_images: int = 0
    """Of an arm that the experiment does not have, or has no longer."""
    unseen_outcomes: int = 0
    """Of an image that was never reported as rendered."""
    early_outcomes: int = 0
    """Before the shopper's first image, by the shop's clock."""
    impossible_values: int = 0
    """Negative, not finite, or above a trillion."""


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """What an arm's shoppers saw and did; latency is from request to answer, NaN of no image."""

    shoppers: int = 0
    images: int = 0
    clicks: int = 0
    carts: int = 0
    purchases: int = 0
    value: float = 0.0
    latency_median_s: float = math.nan
    latency_p95_s: float = math.nan


@dataclass(frozen=True, slots=True)
class Segment:
    dimension: str
    value: str
    samples: Samples


@dataclass(frozen=True, slots=True)
class Day:
    """All that had happened by the end of the day that begins at `start_s`, UTC."""

    start_s: float
    samples: Samples


class Aggregator:
    """Sums over the tables of one experiment, whose arms are `arms` in their order."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, key: str, arms: Sequence[str], now_s: float
    ) -> None:
        self._connection, self._arms = connection, list(arms)
        self._key = {"key": key, "now_s": now_s}

    def find_span(self) -> tuple[float, float] | None:
        """When the first and the last image were shown; None where nobody saw any."""
        query = "SELECT min(time_s), max(time_s) FROM images SEMI JOIN shoppers USING (shopper)"
        first_s, last_s = self._fetch(query)[0]
        return None if first_s is None else (first_s, last_s)

    def count_left_out(self) -> LeftOut:
        reasons = dict(self._fetch("SELECT left_out, count(*) FROM images GROUP BY ALL"))
        ((mixed,),) = self._fetch("SELECT count(*) FROM shoppers WHERE is_mixed")
        ((unseen,),) = self._fetch("SELECT count(*) FROM told ANTI JOIN images USING (image)")
        ((early,),) = self._fetch(
            "SELECT count(*) FROM told JOIN images USING (image) JOIN shoppers USING (shopper)"
            " WHERE left_out = '' AND told.time_s < first_s"
        )
        # Not WHERE NOT: the statistics of a parquet file know of no NaN, and would skip it.
        query = f"""
        SELECT count(*) - count(*) FILTER (WHERE {IS_VALUE})
        FROM outcomes WHERE experiment = $key AND {TO_S}"""
        ((impossible,),) = self._fetch(query, self._key)
        return LeftOut(
            mixed_shoppers=mixed,
            override_images=reasons.get("override", 0),
            early_images=reasons.get("early", 0),
            nameless_images=reasons.get("nameless", 0),
            other_arm_images=reasons.get("other arm", 0),
            unseen_outcomes=unseen,
            early_outcomes=early,
            impossible_values=impossible,
        )

    def count_arms(self, *, with_mixed: bool) -> dict[str, ArmCounts]:
        """`with_mixed` counts who saw several arms in each of them."""
        query = f"""
        WITH members AS (FROM shoppers WHERE NOT is_mixed OR $with_mixed), seen AS (
          SELECT image, shopper, images.arm, latency FROM images SEMI JOIN members USING (shopper)
          WHERE left_out = ''
        ), done AS (
          SELECT arm, {count("click")} AS clicks, {count("cart")} AS carts,
            {count("purchase")} AS purchases, {add_up("purchase")} / {FINE} AS value
          FROM deeds JOIN seen USING (image) GROUP BY arm
        ), shown AS (
          SELECT arm, count(DISTINCT shopper) AS shoppers, count(*) AS images,
            quantile_cont(latency / {FINE}, [0.5, 0.95]) AS latencies_s
          FROM seen GROUP BY arm
        ) SELECT arm, shoppers, images, coalesce(clicks, 0), coalesce(carts, 0),
          coalesce(purchases, 0), coalesce(value, 0.0), latencies_s[1], latencies_s[2]
        FROM shown LEFT JOIN done USING (arm)"""
        rows = self._fetch(query, {"with_mixed": with_mixed})
        found = {self._arms[arm - 1]: ArmCounts(*counts) for arm, *counts in rows}
        return {arm: found.get(arm, ArmCounts()) for arm in self._arms}

    def sum_all(self, pairs: Sequence[Pair]) -> Samples:
        return self._read(self._fetch(f"SELECT arm, {_sum(pairs)} FROM totals GROUP BY arm"), pairs)

    def sum_requests(self, pairs: Sequence[Pair]) -> Samples:
        """Of all who asked, also those who only ever were refused."""
        query = f"""
        WITH requests AS (
          SELECT coalesce(totals.arm, refusals.arm) AS arm, 1 AS weight,
            coalesce(refused, 0) AS refused, coalesce(shown, 0) + coalesce(refused, 0) AS asked
          FROM totals FULL JOIN refusals USING (shopper)
            LEFT JOIN (FROM shoppers WHERE is_mixed) AS mixed USING (shopper)
          WHERE mixed.arm IS NULL AND coalesce(totals.arm = refusals.arm, true)
        ) SELECT arm, {_sum(pairs)} FROM requests GROUP BY arm"""
        return self._read(self._fetch(query), pairs)

    def sum_segments(self, pairs: Sequence[Pair], num_largest: int) -> Iterator[Segment]:
        """The largest of each dimension that has more than one."""
        for dimension, expression in DIMENSIONS.items():
            query = f"""
            WITH named AS (SELECT {expression} AS name, * FROM totals JOIN profiles USING (shopper))
            SELECT name, arm, {_sum(pairs)} FROM named WHERE name <> '' GROUP BY ALL ORDER BY ALL"""
            rows: dict[str, list[Any]] = {}
            for name, *row in self._fetch(query):
                rows.setdefault(name, []).append(row)
            sizes = {name: sum(row[1] for row in members) for name, members in rows.items()}
            largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:num_largest]
            for name in largest if len(rows) > 1 else ():
                yield Segment(dimension, name, self._read(rows[name], pairs))

    def sum_days(self, pairs: Sequence[Pair]) -> Iterator[Day]:
        """What had happened by each day, of as many days as make a curve.

        A day changes the sums by what its shoppers are after it, less what they were before.
        """
        needed = {FLAGS.get(name, name) for pair in pairs for name in pair} | {"shown"}
        daily = [column for column in DAILY if column.name in needed]
        names = [column.name for column in daily]
        query = f"""
        WITH running AS (
          SELECT *, {", ".join(f"(sum({n}) OVER past)::BIGINT AS {n}_by_then" for n in names)}
          FROM shopper_days WINDOW past AS (PARTITION BY shopper ORDER BY day)
        ), states AS (
          SELECT shopper, arm, day, 1 AS weight, {", ".join(f"{n}_by_then AS {n}" for n in names)}
          FROM running
          UNION ALL
          SELECT shopper, arm, day, -1, {", ".join(f"{n}_by_then - {n}" for n in names)}
          FROM running WHERE shown_by_then > shown
        ), completed AS (
          SELECT arm, day, weight, {complete(daily)}
          FROM states LEFT JOIN backgrounds USING (shopper)
        ) SELECT day, arm, {_sum(pairs)} FROM completed GROUP BY ALL ORDER BY ALL"""
        return self._accumulate(self._fetch(query), pairs)

    def _accumulate(self, rows: Sequence[Any], pairs: Sequence[Pair]) -> Iterator[Day]:
        by_day: dict[int, list[Any]] = {}
        for day, *row in rows:
            by_day.setdefault(day, []).append(row)
        stride = -(-len(by_day) // MAX_DAYS)
        samples = self._read([], pairs)
        for number, (day, members) in enumerate(by_day.items(), 1 - len(by_day)):
            news = self._read(members, pairs)
            samples = {arm: sample + news[arm] for arm, sample in samples.items()}
            if number % stride == 0:
                yield Day(day * DAY_S, samples)

    def _read(self, rows: Sequence[Sequence[Any]], pairs: Sequence[Pair]) -> dict[str, Moments]:
        """Of rows of arm, count, sums and products."""
        names = _list_names(pairs)
        found = {arm: numbers for arm, *numbers in rows}
        nothing = [0] * (1 + len(names) + len(pairs))
        samples = {}
        for number, arm in enumerate(self._arms, 1):
            size, *rest = (int(value) for value in found.get(number, nothing))
            sums = dict(zip(names, rest[: len(names)], strict=True))
            products = dict(zip(pairs, rest[len(names) :], strict=True))
            samples[arm] = Moments(size, sums, products)
        return samples

    def _fetch(self, query: str, values: Mapping[str, object] | None = None) -> list[Any]:
        return self._connection.execute(query, values).fetchall()


def _list_names(pairs: Sequence[Pair]) -> list[str]:
    return sorted({name for pair in pairs for name in pair})


def _sum(pairs: Sequence[Pair]) -> str:
    """Count, sums and products; a row counts `weight` times."""
    sums = [f"sum(weight * {name})" for name in _list_names(pairs)]
    products = [f"sum(weight * {one}::HUGEINT * {other})" for one, other in pairs]
    return ", ".join(("sum(weight)", *sums, *products))
