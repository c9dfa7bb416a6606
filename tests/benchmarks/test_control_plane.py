"""Who asks in the benchmark of the control plane: what it counts was answered, and how fast."""

import shutil

import pytest

from benchmarks import control_plane
from benchmarks.control_load import Asked, Failed, ask, ask_each, sum_up
from benchmarks.control_servers import IMAGE

TOLD = """
requests: 20 total, 20 started, 20 done, {} succeeded, 0 failed, 0 errored, 0 timeout
traffic: 1B (1) total, 1B (1) headers (space savings 1.00%), 2.00KB ({}) data
"""
NOTHING = TOLD.replace("20", "0").format(0, 0)


@pytest.mark.skipif(not shutil.which("h2load"), reason="there is no h2load")
def test_a_server_is_asked_as_fast_as_it_answers_and_at_a_rate(tmp_path):
    echoed = (Asked("/benchmarks.Echo/Echo", b"a request"),)
    with control_plane.running("echo", tmp_path) as ports:
        assert ask_each([ports.server], echoed) == [IMAGE]
        fast = ask([ports.server], echoed, seconds=1)
        paced = ask([ports.server], echoed, seconds=1, requests_per_s=80)
    assert fast.requests_per_s > 200 and 60 <= paced.requests_per_s <= 100
    assert len(IMAGE) < fast.mean_bytes < 1.1 * len(IMAGE)
    assert 0 < paced.p50_s <= paced.p99_s


@pytest.mark.parametrize("told", ["", "h2load: could not connect", TOLD.format(19, 2000), NOTHING])
def test_what_is_not_answered_is_not_counted(told, tmp_path):
    with pytest.raises(Failed):
        sum_up([told], [tmp_path / "log"], 1)


def test_callers_are_added_up(tmp_path):
    logs = [tmp_path / "one", tmp_path / "other"]
    logs[0].write_text("1\t200\t1000\n2\t200\t3000\n")
    logs[1].write_text("1\t200\t2000\n")
    told = [TOLD.format(20, 2000), TOLD.format(20, 4000)]
    found = sum_up(told, logs, 4)
    assert (found.requests_per_s, found.p50_s, found.mean_bytes) == (10.0, 0.002, 150.0)
