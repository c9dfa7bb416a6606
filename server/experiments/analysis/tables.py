"""Exported events as tables: who saw which arm when, and what they did then. DuckDB, in SQL.

images       what was rendered for the experiment, each once; `left_out` says why it does not count
shoppers     by the arm that they saw, and since when; `is_mixed` where it was more than one
refusals     how often who asked got none, of those who asked in one arm only
deeds        what they did with images that were rendered, from their first image on
shopper_days deeds and images of each shopper and day, added up
backgrounds  what each did in the days before the experiment
profiles     what was known of each at their first image
totals       all that is counted of each who saw one arm only

Ids are hashed to 64 bits here: among ten million the chance that any two meet is 3 in a million.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from server.errors import FailedPrecondition
from server.experiments.analysis.columns import BEFORE, DAILY, FINE, FLAGS, Column
from server.experiments.analysis.settings import AnalysisSettings
from server.experiments.definition import Experiment

DAY_S = 86_400
MOST = 1e12
"""More than anybody pays: what is above it is no value."""

EXPOSURES = {
    "exposure_id": "VARCHAR",
    "time_s": "DOUBLE",
    "unit": "VARCHAR",
    "experiment": "VARCHAR",
    "arm": "VARCHAR",
    "propensity": "DOUBLE",
    "is_override": "BOOLEAN",
    "is_anonymous": "BOOLEAN",
    "locale": "VARCHAR",
    "is_known": "BOOLEAN",
    "interests": "VARCHAR[]",
    "degradation": "VARCHAR",
    "latency_s": "DOUBLE",
    "context": "DOUBLE[]",
}
OUTCOMES = {
    "exposure_id": "VARCHAR",
    "experiment": "VARCHAR",
    "arm": "VARCHAR",
    "unit": "VARCHAR",
    "is_override": "BOOLEAN",
    "kind": "VARCHAR",
    "time_s": "DOUBLE",
    "value": "DOUBLE",
}
IS_VALUE = f"isfinite(value) AND value BETWEEN 0 AND {MOST}"
FINE_VALUE = f"CAST(round(value * {FINE}) AS BIGINT)"
TO_S = "time_s < $now_s"


def count(kind: str) -> str:
    return f"count(*) FILTER (WHERE kind = '{kind}')"


def add_up(kind: str) -> str:
    return f"coalesce(sum(value) FILTER (WHERE kind = '{kind}'), 0)::BIGINT"


def complete(daily: Iterable[Column]) -> str:
    """Columns to select where `daily` ones of shoppers are joined with backgrounds."""
    names = [column.name for column in daily]
    flags = (f"({of} > 0)::BIGINT AS {name}" for name, of in FLAGS.items() if of in names)
    before = (f"coalesce({column.name}, 0) AS {column.name}" for column in BEFORE)
    return ", ".join((*names, *flags, *before))


IMAGES = f"""
CREATE TEMP TABLE images AS
WITH rendered AS (
  SELECT hash(exposure_id) AS image,
    max(CASE WHEN unit <> '' THEN hash(unit) END) AS shopper,
    max(list_position($arms, arm)) AS arm,
    bool_or(is_override) AS is_override,
    min(time_s) AS time_s,
    max(CAST(round(latency_s * {FINE}) AS BIGINT)) AS latency,
    max(CAST(degradation NOT IN ('', 'none') AS BIGINT)) AS degraded
  FROM exposures WHERE experiment = $key AND {TO_S}
  GROUP BY 1
) SELECT * EXCLUDE is_override, CASE
    WHEN is_override THEN 'override'
    WHEN time_s < $start_s THEN 'early'
    WHEN shopper IS NULL THEN 'nameless'
    WHEN arm IS NULL THEN 'other arm'
    ELSE '' END AS left_out
FROM rendered
"""
SHOPPERS = """
CREATE TEMP TABLE shoppers AS
SELECT shopper, min(arm) AS arm, min(time_s) AS first_s, min(arm) <> max(arm) AS is_mixed
FROM images WHERE left_out = ''
GROUP BY 1
"""
TOLD = f"""
CREATE TEMP TABLE told AS
SELECT hash(exposure_id) AS image, kind, time_s, {FINE_VALUE} AS value
FROM outcomes WHERE experiment = $key AND kind <> 'refusal' AND {TO_S} AND {IS_VALUE}
"""
DEEDS = """
CREATE TEMP TABLE deeds AS
WITH matched AS (
  SELECT shopper, image, kind, told.time_s, value
  FROM told JOIN images USING (image) JOIN shoppers USING (shopper)
  WHERE left_out = '' AND told.time_s >= first_s
)
SELECT shopper, image, kind, min(time_s) AS time_s, 1 AS value
FROM matched WHERE kind IN ('click', 'cart', 'hide') GROUP BY ALL
UNION ALL
SELECT * FROM matched WHERE kind NOT IN ('click', 'cart', 'hide')
"""
REFUSALS = f"""
CREATE TEMP TABLE refusals AS
SELECT hash(unit) AS shopper, min(list_position($arms, arm)) AS arm, count(*) AS refused
FROM outcomes
WHERE experiment = $key AND kind = 'refusal' AND unit <> '' AND NOT is_override
  AND time_s >= $start_s AND {TO_S}
GROUP BY 1 HAVING count(DISTINCT arm) = 1 AND count(list_position($arms, arm)) > 0
"""
SHOPPER_DAYS = f"""
CREATE TEMP TABLE shopper_days AS
WITH happened AS (
  SELECT shopper, time_s, 1 AS shown, latency, degraded, 'render' AS kind, 0 AS value
  FROM images WHERE left_out = ''
  UNION ALL
  SELECT shopper, time_s, 0, 0, 0, kind, value FROM deeds
)
SELECT shopper, arm, CAST(floor(time_s / {DAY_S}) AS INTEGER) AS day,
  sum(shown)::BIGINT AS shown, sum(latency)::BIGINT AS latency, sum(degraded)::BIGINT AS degraded,
  {count("click")} AS clicks, {count("cart")} AS carts, {count("purchase")} AS purchases,
  {count("return")} AS returns, {count("hide")} AS hides,
  {add_up("purchase")} AS value, {add_up("dwell")} AS dwell
FROM happened JOIN shoppers USING (shopper) WHERE NOT is_mixed
GROUP BY ALL
"""
BACKGROUNDS = f"""
CREATE TEMP TABLE backgrounds AS
WITH earlier AS (
  SELECT hash(unit) AS shopper, 'render' AS kind, 0 AS value
  FROM exposures WHERE time_s >= $from_s AND time_s < $start_s AND NOT is_override
  UNION ALL
  SELECT hash(unit), kind, {FINE_VALUE}
  FROM outcomes
  WHERE time_s >= $from_s AND time_s < $start_s AND NOT is_override AND {IS_VALUE}
)
SELECT shopper,
  {count("render")} AS pre_shown, {count("click")} AS pre_clicks, {count("cart")} AS pre_carts,
  {count("purchase")} AS pre_purchases,
  {add_up("purchase")} AS pre_value, {add_up("dwell")} AS pre_dwell
FROM earlier SEMI JOIN shoppers USING (shopper)
GROUP BY 1
"""
PROFILES = f"""
CREATE TEMP TABLE profiles AS
SELECT shopper, min(locale) AS locale, bool_or(is_known) AS is_known,
  bool_or(is_anonymous) AS is_anonymous, min(interests) AS interests
FROM exposures JOIN shoppers ON hash(unit) = shopper AND time_s = first_s
WHERE experiment = $key AND NOT is_override AND NOT is_mixed AND {TO_S}
GROUP BY 1
"""
TOTALS = f"""
CREATE TEMP TABLE totals AS
WITH added AS (
  SELECT shopper, arm, {", ".join(f"sum({c.name})::BIGINT AS {c.name}" for c in DAILY)}
  FROM shopper_days GROUP BY ALL
) SELECT shopper, arm, 1 AS weight, {complete(DAILY)}
FROM added LEFT JOIN backgrounds USING (shopper)
"""


@contextmanager
def open_tables(
    folder: Path, experiment: Experiment, settings: AnalysisSettings, now_s: float
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables above, of what happened before `now_s`, with `exposures` and `outcomes` as they
    are in the folder. FailedPrecondition where it is no export."""
    if not folder.is_dir():
        raise FailedPrecondition(f"there is no export at {folder}", "NO_EXPORT")
    with (
        tempfile.TemporaryDirectory(prefix="etalage-report-") as spill,
        _connect(settings, spill) as connection,
    ):
        _open(connection, folder, "exposures", EXPOSURES)
        _open(connection, folder, "outcomes", OUTCOMES)
        _build(connection, experiment, settings, now_s)
        yield connection


def _connect(settings: AnalysisSettings, spill: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{round(1024 * settings.memory_gib)}MiB",
            "threads": settings.num_threads,
            "temp_directory": spill,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
        },
    )
    # It would go among what a command prints.
    connection.execute("SET enable_progress_bar = false")
    return connection


def _open(
    connection: duckdb.DuckDBPyConnection, folder: Path, name: str, columns: dict[str, str]
) -> None:
    """A view of name/*.parquet; of no file, an empty one."""
    files = sorted(str(file) for file in (folder / name).glob("*.parquet"))
    if not files:
        nulls = ", ".join(f"CAST(NULL AS {kind}) AS {column}" for column, kind in columns.items())
        connection.execute(f"CREATE TEMP VIEW {name} AS SELECT {nulls} WHERE false")
        return
    try:
        relation = connection.read_parquet(files)  # type: ignore[arg-type]
    except duckdb.Error as error:
        raise FailedPrecondition(f"{name} of {folder} can't be read", "BAD_EXPORT") from error
    if missing := sorted(columns.keys() - set(relation.columns)):
        text = f"{name} of {folder} have no {', '.join(missing)}"
        raise FailedPrecondition(text, "BAD_EXPORT")
    relation.create_view(name)


def _build(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    settings: AnalysisSettings,
    now_s: float,
) -> None:
    key = {"key": experiment.key, "now_s": now_s}
    began_s = experiment.start.timestamp() if experiment.start else 0.0
    arms = [arm.name for arm in experiment.arms]
    defined = key | {"arms": arms, "start_s": began_s}
    connection.execute(IMAGES, defined)
    connection.execute(REFUSALS, defined)
    connection.execute(SHOPPERS)
    connection.execute(TOLD, key)
    connection.execute(DEEDS)
    connection.execute(SHOPPER_DAYS)
    start_s = find_start_s(connection, experiment)
    from_s = start_s - settings.pre_period_days * DAY_S
    connection.execute(BACKGROUNDS, {"start_s": start_s, "from_s": from_s})
    connection.execute(PROFILES, key)
    connection.execute(TOTALS)


def find_start_s(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> float:
    """When it was to begin; where that is open, when somebody first saw an image of it."""
    if experiment.start is not None:
        return experiment.start.timestamp()
    (first_s,) = connection.execute("SELECT min(first_s) FROM shoppers").fetchall()[0]
    return 0.0 if first_s is None else float(first_s)
