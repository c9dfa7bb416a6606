"""Exported events, joined by Feast as of any moment."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa

from features.exposures import EXPOSURES, OUTCOMES, define_exposures
from features.offline import write_part
from features.offline_jobs import offline_job
from features.schema import TIMESTAMP
from server.experiments.event_log.export import TABLES
from server.experiments.event_log.parquet import Layout
from tests.features.stores import make_store

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def write_events(folder, view, part, rows):
    """As an export writes them: columns that no view names are there as well."""
    schema = Layout(TABLES[view.name]).schema
    empty = {field.name: [None] * len(rows) for field in schema}
    columns = empty | {name: [row[name] for row in rows] for name in rows[0]}
    write_part(folder / view.name, part, pa.table(columns, schema=schema))


def shown(unit, hours_ago, product_id, **told):
    values = {"experiment": "surroundings", "arm": "warm", "propensity": 0.5, "look": ["warm"]}
    return {"unit": unit, TIMESTAMP: NOW - hours_ago * HOUR, "product_id": product_id, **values} | (
        told
    )


def ask(store, rows, features):
    asked = pd.DataFrame(rows, columns=["unit", TIMESTAMP, "row"])
    with offline_job():
        found = store.feast.get_historical_features(asked, features).to_df()
    return found.set_index("row").reindex(range(len(rows)))  # Feast drops some that have nothing


def test_the_columns_are_those_of_an_export():
    for view in (EXPOSURES, OUTCOMES):
        schema = Layout(TABLES[view.name]).schema
        assert schema.field(TIMESTAMP) == view.arrow.field(TIMESTAMP)
        for name, kind in view.columns:
            assert schema.field(name).type == kind


def test_each_moment_knows_what_was_shown_and_done_before_it_and_nothing_later(tmp_path):
    folder = tmp_path / "events"
    others = [shown(f"other-{number}", 8, "chair") for number in range(20)]
    first = [shown("anna", 5, "handbag"), shown("bert", 4, "lamp"), *others]
    write_events(folder, EXPOSURES, "part-1", first)
    write_events(
        folder, EXPOSURES, "part-2", [shown("anna", 2, "vase", arm="cold", look=["cold", "soft"])]
    )
    clicked = shown("anna", 3, "handbag", kind="click", value=1.0)
    del clicked["look"]
    write_events(folder, OUTCOMES, "part-1", [clicked])
    store = make_store(tmp_path / "home")
    store.feast.apply(define_exposures(str(folder)))
    rows = [
        ("anna", NOW - 4 * HOUR, 0),
        ("anna", NOW - HOUR, 1),
        ("bert", NOW - HOUR, 2),
        ("bert", NOW - 9 * HOUR, 3),
        ("nobody", NOW, 4),
        *((f"other-{number}", NOW, 5 + number) for number in range(20)),
    ]
    names = [f"exposures:{name}" for name in ("product_id", "arm", "propensity", "look")]
    found = ask(store, rows, names)
    assert list(found["product_id"].fillna("")) == [
        *("handbag", "vase", "lamp", "", ""),
        *(["chair"] * 20),
    ]
    assert list(found["arm"][:3]) == ["warm", "cold", "warm"]
    assert list(found["propensity"][:3]) == [0.5] * 3
    assert [list(look) for look in found["look"][:3]] == [["warm"], ["cold", "soft"], ["warm"]]
    done = ask(store, rows, ["outcomes:kind", "outcomes:product_id"])
    assert list(done["kind"].fillna("")) == ["", "click", *([""] * 23)]


def test_what_is_older_than_a_lifetime_is_left_out(tmp_path):
    folder = tmp_path / "events"
    write_events(
        folder, EXPOSURES, "part-1", [shown("anna", 5, "handbag"), shown("bert", 1, "lamp")]
    )
    store = make_store(tmp_path / "home")
    store.feast.apply(define_exposures(str(folder), lifetime_s=2 * 3600))
    found = ask(store, [("anna", NOW, 0), ("bert", NOW, 1)], ["exposures:product_id"])
    assert "handbag" not in list(found["product_id"])
    assert "lamp" in list(found["product_id"])
