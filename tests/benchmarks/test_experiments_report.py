"""Events that are made up for the measurement of reports."""

import pyarrow.parquet as pq

from benchmarks.experiments_report import KEY, LIFTS, START_S, define, write_events
from server.experiments.analysis.settings import AnalysisSettings
from server.experiments.analysis.study import analyze
from tests.server.experiments.analysis.shop import EXPOSURES, OUTCOMES


def test_they_are_as_many_and_have_all_columns(tmp_path):
    count = write_events(tmp_path, 20_000)
    shown, done = (pq.read_table(tmp_path / name) for name in ("exposures", "outcomes"))
    assert count == len(shown) + len(done) and abs(count / 20_000 - 1) < 0.1
    assert shown.schema.names == EXPOSURES.names
    assert set(done.schema.names) == set(OUTCOMES.names)
    ids = shown["event_id"].to_pylist() + done["event_id"].to_pylist()
    assert len(set(ids)) == count
    assert set(done["exposure_id"].to_pylist()) <= set(shown["exposure_id"].to_pylist())


def test_a_report_of_them_has_nothing_to_leave_out_and_finds_the_lift(tmp_path):
    write_events(tmp_path, 60_000, seed=1)
    report = analyze(tmp_path, define(), START_S + 1e8, AnalysisSettings(num_threads=1))
    assert not any(getattr(report.left_out, name) for name in ("mixed_shoppers", "unseen_outcomes"))
    found = report.contrast("ctr", "original", "personalized").estimate
    assert not found.lift_interval.excludes(LIFTS["personalized"] - 1)
    assert found.variance_removed > 0 and report.experiment == KEY
