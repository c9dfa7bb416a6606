"""`bulk --engine ray` as a process: it stops cleanly, goes on, and says why it can't begin."""

import importlib.util
import os
import signal
import subprocess
import sys

import pytest

from tests.features.pictures import write_jsonl
from tests.server.commands.test_bulk import (
    TIMEOUT_S,
    check_complete,
    count_images,
    journal,
    rows_of,
    until,
)

COMMAND = (sys.executable, "-m", "tests.server.bulk.drill", "bulk")
RAY = ("--engine", "ray", "--num-actors", "2", "--in-flight", "4")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)


def start(path, out, *flags, **environment):
    return subprocess.Popen(
        [*COMMAND, str(path), str(out), *flags],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def path(tmp_path):
    write_jsonl(tmp_path / "requests.jsonl", *rows_of(100))
    return tmp_path / "requests.jsonl"


def test_a_signal_ends_actors_too_and_a_run_without_them_goes_on(path, tmp_path):
    out, builds = tmp_path / "out", tmp_path / "builds"
    builds.touch()
    process = start(path, out, *RAY, DRILL_S="1.0", DRILL_BUILDS=str(builds))
    until(lambda: count_images(out) >= 20 and len(builds.read_text().splitlines()) >= 2)
    until(lambda: len(journal(out)) > 0)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 128 + signal.SIGTERM and "bulk: stopped by SIGTERM; " in err
    assert len(builds.read_text().splitlines()) == 2, "models are loaded once an actor"
    num_done = len(journal(out))
    assert 0 < num_done < 100 and f"; {num_done} of 100 rows are done" in err
    told, err = start(path, out).communicate(timeout=TIMEOUT_S)
    assert f"{num_done} of them before" in told, err
    check_complete(out, 100)


def test_actors_that_can_not_be_built_end_the_run_with_the_reason(path, tmp_path):
    process = start(path, tmp_path / "out", *RAY, DRILL="fail")
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2
    assert "bulk: nothing was started:\nno model in /nowhere" in err
