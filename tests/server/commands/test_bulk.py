"""`python -m server bulk` as a process: inputs, exit status, crashes, signals, full disks, shards.

What makes images is a drill of a few lines; tests/way/test_bulk.py has the real thing.
"""

import dataclasses
import hashlib
import io
import json
import os
import pty
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import termios
import time

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from server import logs
from server.__main__ import main
from server.commands.bulk import MAX_ENGINES, adapt
from server.configuration import Configuration, EngineSlice, ModelSlice
from tests.features.pictures import draw_picture, write_jsonl
from tests.server.bulk.clouds import CLOUD
from tests.server.bulk.drill import Drill, stand_in

COMMAND = (sys.executable, "-m", "tests.server.bulk.drill", "bulk")
QUIET = ("--logging.level", "warning")
TIMEOUT_S = 180


def start(*arguments, **environment):
    """A process of its own, `DRILL_S` and `DRILL_BYTES` among its environment."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments), *QUIET],
        env=os.environ | {name: str(value) for name, value in environment.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command here: (exit status, what it printed, what it complained of)."""
    monkeypatch.setitem(sys.modules, "server.commands.building", stand_in())
    monkeypatch.setattr(logs, "configure_logs", lambda *_: None)

    def run(*arguments, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        status = main(["bulk", *map(str, arguments), *QUIET])
        return status, *capsys.readouterr()

    return run


def rows_of(count, **told):
    return [
        {"request_id": f"r-{number}", "product_id": "chair", "seed": number, **told}
        for number in range(count)
    ]


@pytest.fixture
def requests(tmp_path):
    def write(*rows, name="requests.jsonl"):
        write_jsonl(tmp_path / name, *rows)
        return tmp_path / name

    return write


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def manifest(out, name="manifest.parquet"):
    return pq.read_table(out / name).to_pylist()


def failures(out, name="failures.jsonl"):
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def check_complete(out, count):
    """Every row once, its image whole, and no file that belongs to none."""
    rows = manifest(out)
    assert sorted(row["name"] for row in rows) == sorted(f"r-{number}" for number in range(count))
    for row in rows:
        assert hashlib.sha256((out / row["path"]).read_bytes()).hexdigest() == row["sha256"]
    assert len(list((out / "images").iterdir())) == count


def journal(out):
    return [
        json.loads(line)["name"]
        for file in (out / "journal").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]


def until(condition):
    give_up_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.002)


def count_images(out):
    return len(list((out / "images").glob("*.png"))) if (out / "images").exists() else 0


def test_parquet_jsonl_and_csv_say_the_same(run, tmp_path, requests):
    rows = rows_of(5, mode="restyle", strength=0.25, num_images=2)
    paths = [requests(*rows), tmp_path / "requests.parquet", tmp_path / "requests.csv"]
    pq.write_table(pa.Table.from_pylist(rows), paths[1])
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    paths[2].write_text("\n".join(lines))
    found = []
    for path in paths:
        out = tmp_path / path.suffix[1:]
        status, told, _ = run(path, out)
        assert status == 0, told
        assert told.startswith("bulk: 5 of 5 rows are done, 0 of them before; 10 images; ")
        assert told.rstrip().endswith(f"{out}/manifest.parquet")
        found.append(manifest(out))
    assert found[0] == found[1] == found[2] and len(found[0]) == 10


def test_rows_that_fail_are_told_and_tried_again_by_the_next_run(run, requests, out):
    (out.parent / "ball.png").write_bytes(b"no picture")
    bad = [
        {"request_id": "gone", "product_id": "unknown"},
        {"request_id": "broken", "product_id": "torn"},
        {"title": "Ball", "packshot": "ball.png"},
    ]
    path = requests(*rows_of(3), *bad)
    status, told, err = run(path, out)
    assert status == 1 and f"3 failed: {out}/failures.jsonl" in told
    assert [(each["name"], each["row"], each["code"]) for each in failures(out)] == [
        ("gone", 4, "NOT_FOUND"),
        ("broken", 5, "INTERNAL"),
        ("6", 6, "INVALID_ARGUMENT"),
    ]
    assert len(manifest(out)) == 3
    draw_picture().save(out.parent / "ball.png")
    status, told, _ = run(path, out)
    assert status == 1 and told.startswith("bulk: 4 of 6 rows are done, 3 of them before")
    assert [each["name"] for each in failures(out)] == ["gone", "broken"]
    assert [row["name"] for row in manifest(out)] == ["r-0", "r-1", "r-2", "6"]


BAD = [
    {"request_id": "a", "product_id": "chair", "colour": "red", "strength": 7},
    {"request_id": "b", "product_id": "chair", "colour": "red", "steps": "many"},
    {"request_id": "a", "product_id": "chair"},
    {"request_id": "c"},
]


def test_a_file_with_faults_is_refused_with_all_of_them_before_anything_is_made(run, requests, out):
    status, told, err = run(requests(*BAD), out)
    assert status == 2 and not told and count_images(out) == 0
    assert err.splitlines() == [
        "bulk: nothing was started:",
        "rows 1, 2: colour: is no column of a request",
        "row 2: steps: 'many' is no whole number",
        "row 4: product: exactly one of product_id and inline_product is required",
    ]
    status, told, err = run(requests(*rows_of(2), *rows_of(1)), out)
    assert status == 2 and "row 3: request_id: 'r-0' is that of row 1" in err


@pytest.mark.parametrize(
    ("name", "said"),
    [("gone.jsonl", "No such file"), ("r.txt", "is none of .parquet, .jsonl, .csv")],
)
def test_a_file_that_is_none_is_refused(run, tmp_path, out, name, said):
    status, _, err = run(tmp_path / name, out)
    assert status == 2 and said in err


def test_a_model_that_is_not_there_is_refused_before_anything_is_made(run, requests, out):
    status, _, err = run(requests(*rows_of(2), *rows_of(1, request_id="x", model="slow")), out)
    assert status == 2 and "row 3: model: 'slow' is not known: quality" in err
    assert count_images(out) == 0


@pytest.mark.parametrize(
    ("flag", "value"), [("--shard", "3/2"), ("--num-actors", "0"), ("--engine", "spark")]
)
def test_wrong_flags_are_refused(requests, out, capsys, flag, value):
    with pytest.raises(SystemExit) as caught:
        main(["bulk", str(requests(*rows_of(1))), str(out), flag, value])
    assert caught.value.code == 2 and flag in capsys.readouterr().err and not out.exists()


def test_what_a_picture_has_to_be_is_a_setting_of_a_run(run, requests, out):
    path, flag = requests(*rows_of(1)), "--verification.min_sharpness"
    status, _, err = run(path, out, flag, -1)
    assert status == 2 and "verification.min_sharpness = -1: allowed is" in err
    assert run(path, out, flag, 1)[0] == 0


def test_a_run_after_kill_9_goes_on_and_nothing_is_lost_or_doubled(run, requests, out, tmp_path):
    rng = random.Random(6)
    path = requests(*rows_of(300))
    for goal in (30, 120, 200):
        process = start(path, out, "--in-flight", 8, DRILL_S=0.02)
        until(lambda goal=goal: count_images(out) >= goal)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL and not (out / "manifest.parquet").exists()
    status, told, _ = run(path, out)
    assert status == 0
    check_complete(out, 300)
    assert len(journal(out)) == len(set(journal(out))), "no row was finished twice"
    num_before = int(told.partition("done, ")[2].split()[0])
    assert 200 - 16 <= num_before < 300, "only what was under way is made again"
    again = run(path, tmp_path / "whole")[0]
    assert again == 0
    first, whole = manifest(out), manifest(tmp_path / "whole")
    assert [(row["path"], row["sha256"]) for row in first] == [
        (row["path"], row["sha256"]) for row in whole
    ]


def test_when_all_is_done_a_further_run_makes_nothing(run, requests, out):
    path = requests(*rows_of(3))
    run(path, out)
    before = {file: file.stat().st_mtime_ns for file in (out / "images").iterdir()}
    status, told, _ = run(path, out)
    assert status == 0 and told.startswith("bulk: 3 of 3 rows are done, 3 of them before")
    assert {file: file.stat().st_mtime_ns for file in (out / "images").iterdir()} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_quickly_and_the_next_goes_on(run, requests, out, number):
    path = requests(*rows_of(200))
    process = start(path, out, "--in-flight", 4, DRILL_S=0.05)
    until(lambda: count_images(out) >= 12)
    process.send_signal(number)
    told, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 128 + number and "Traceback" not in err
    assert f"bulk: stopped by {number.name}; " in err and "the same command goes on" in err
    num_done = len(journal(out))
    assert 12 <= num_done < 100 and f"; {num_done} of 200 rows are done" in err
    status, told, _ = run(path, out)
    assert status == 0 and f"{num_done} of them before" in told
    check_complete(out, 200)
    assert len(journal(out)) == 200


def check_full(run, process_of, requests, out, make_room):
    """A run that finds no room says so and leaves nothing torn; with room the next one goes on."""
    path = requests(*rows_of(40))
    process = process_of(path)
    told, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1 and "Traceback" not in err, err
    assert "bulk: no space is left for " in err and "the same command goes on from there" in err
    names = journal(out)
    assert 0 < len(names) < 40 and not list((out / "images").glob(".*"))
    assert all((out / "images" / f"{name}.png").stat().st_size == 16_000 for name in names)
    make_room()
    status, told, _ = run(path, out, DRILL_BYTES=16_000)
    assert status == 0 and f"{len(names)} of them before" in told
    check_complete(out, 40)


def test_a_full_disk_stops_a_run_cleanly(run, requests, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        check_full(
            run,
            lambda path: start(path, disk / "out", "--in-flight", 4, DRILL_BYTES=16_000),
            requests,
            disk / "out",
            lambda: subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True),
        )
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_journal_that_may_not_grow_stops_a_run_cleanly(run, requests, out):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))

    def start_limited(path):
        return subprocess.Popen(
            [*COMMAND, str(path), str(out), *QUIET],
            env=os.environ | {"DRILL_BYTES": "16000"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit,
        )

    # A name of a hundred letters makes a journal of 40 lines longer than an image.
    check_full(run, start_limited, requests, out, lambda: None)


def test_the_shards_together_are_the_whole(run, requests, out, tmp_path):
    path = requests(*rows_of(40), {"request_id": "bad", "product_id": "unknown"})
    processes = [start(path, out, "--shard", f"{number}/3") for number in (1, 2, 3)]
    for process in processes:
        process.communicate(timeout=TIMEOUT_S)
    assert sorted(process.returncode for process in processes) == [0, 0, 1]
    parts = [row for n in (1, 2, 3) for row in manifest(out, f"manifest-{n}-of-3.parquet")]
    status, told, _ = run(path, out)
    assert status == 1 and "40 of them before" in told, "it writes one manifest of all"
    run(path, tmp_path / "whole")
    assert manifest(out) == manifest(tmp_path / "whole")
    assert sorted(parts, key=lambda row: row["row"]) == manifest(out)
    assert [each["name"] for each in failures(out)] == ["bad"]


def test_another_file_for_the_same_folder_is_refused_and_one_that_grew_is_not(run, requests, out):
    run(requests(*rows_of(3)), out)
    changed = rows_of(3)
    changed[1]["steps"] = 7
    status, _, err = run(requests(*changed), out)
    assert status == 2 and "row 2: was made already, but of other content" in err
    status, _, err = run(requests(*rows_of(2)), out)
    assert status == 2 and "1 of the rows made already are not in this file" in err
    assert run(requests(*rows_of(5)), out)[0] == 0
    check_complete(out, 5)


def test_two_runs_at_once_do_not_make_the_same_rows(run, requests, out):
    path = requests(*rows_of(50))
    first = start(path, out, "--in-flight", 2, DRILL_S=0.1)
    until(lambda: count_images(out) > 0)
    status, _, err = run(path, out)
    assert status == 2 and "another run writes to" in err
    status, _, err = run(path, out, "--shard", "1/2")
    assert status == 2 and "another run, of all rows, writes to" in err
    first.kill()
    first.communicate()


def test_files_of_others_beside_the_images_are_in_nobody_s_way(run, requests, out):
    out.mkdir()
    (out / "run.log").write_text("told to standard error")
    (out / "runs.json").write_text("{}")
    assert run(requests(*rows_of(2)), out)[0] == 0
    check_complete(out, 2)


@pytest.mark.parametrize("torn", ["", '{"day": "2026-1', '{"day": 3}', "[]"])
def test_a_record_of_a_run_that_is_torn_is_told_and_nothing_is_started(run, requests, out, torn):
    out.mkdir()
    (out / "run-1-of-2.json").write_text(torn)
    status, _, err = run(requests(*rows_of(2)), out)
    assert status == 2 and err.startswith("bulk: nothing was started:\n")
    assert f"{out}/run-1-of-2.json does not tell the day of a run" in err
    assert count_images(out) == 0


def test_packshots_in_place_of_creatives_are_told(run, requests, out, monkeypatch):
    make = Drill.generate

    async def show_packshots(drill, request, on_event=None):
        result = await make(drill, request, on_event)
        images = [dataclasses.replace(image, is_original=True) for image in result.images]
        return dataclasses.replace(result, images=tuple(images))

    monkeypatch.setattr(Drill, "generate", show_packshots)
    asked = {"request_id": "asked", "product_id": "chair", "arm": "original"}
    status, told, _ = run(requests(*rows_of(2), asked), out)
    assert status == 0 and "; 2 show the packshot, since no try was good enough; " in told


def test_a_store_that_refuses_with_an_error_of_its_own_is_told(run, requests):
    status, _, err = run(requests(*rows_of(2)), f"{CLOUD}/out")
    assert status == 2 and err == (
        f"bulk: nothing was started:\n{CLOUD}/out can't be made: AccessDenied: not yours\n"
    )


@pytest.mark.parametrize(
    ("told", "num_threads", "wanted"),
    [
        ({}, 1, (True, (16,))),
        ({}, 2, (True, (16,))),
        ({}, 6, (True, (18,))),
        ({}, 20, (True, (20,))),
        ({}, 22, (True, (22,))),
        ({"devices": ("cpu", "cpu")}, 12, (True, (18,))),
        ({"strict": False}, 6, (False, EngineSlice().buckets)),
        ({"strict": True}, 6, (True, (18,))),
        ({"buckets": (4, 8)}, 6, (True, (4, 8))),
    ],
)
def test_unless_told_otherwise_all_forwards_are_of_one_size(told, num_threads, wanted):
    engine = EngineSlice(threads=num_threads, **told)
    settings = adapt(Configuration(engine=engine), "local").engine
    assert (settings.strict, settings.buckets) == wanted
    assert settings.threads == num_threads


def test_an_actor_takes_one_core_unless_it_is_given_more():
    assert adapt(Configuration(), "ray").engine.threads == 1
    assert adapt(Configuration(), "ray").engine.buckets == (16,)
    assert adapt(Configuration(engine=EngineSlice(threads=3)), "ray").engine.threads == 3
    assert adapt(Configuration(), "local").engine.threads == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="it is for machines without a GPU")
def test_small_models_get_engines_side_by_side_on_a_cpu_of_which_nothing_was_said(tmp_path):
    def choose(model=None, **told):
        configuration = Configuration(engine=EngineSlice(**told), model=model or ModelSlice())
        return adapt(configuration, "local").engine.devices

    assert choose() == ("cpu",) * min(len(os.sched_getaffinity(0)), MAX_ENGINES)
    assert choose(threads=2) == choose(device="cuda") == ()
    assert choose(devices=("cpu",)) == ("cpu",)
    assert choose(ModelSlice(specifications=(tmp_path / "large.yaml",))) == ()
    assert adapt(Configuration(), "ray").engine.devices == ()


def test_any_store_takes_the_images_and_a_run_goes_on_there(run, requests):
    path = requests(*rows_of(3), {"request_id": "bad", "product_id": "unknown"})
    first = run(path, "memory://shop/out")
    second = run(path, "memory://shop/out")
    assert first[0] == second[0] == 1
    assert first[1].startswith("bulk: 3 of 4 rows are done, 0 of them before; 3 images; ")
    assert second[1].startswith("bulk: 3 of 4 rows are done, 3 of them before; 3 images; ")
    files = fsspec.filesystem("memory")
    rows = pq.read_table(io.BytesIO(files.cat_file("/shop/out/manifest.parquet"))).to_pylist()
    assert [row["name"] for row in rows] == ["r-0", "r-1", "r-2"]
    for row in rows:
        data = files.cat_file(f"/shop/out/{row['path']}")
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
    assert b"unknown" in files.cat_file("/shop/out/failures.jsonl")


def test_a_terminal_shows_how_far_it_is_how_fast_and_how_long_it_takes(requests, out):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    process = subprocess.Popen(
        [*COMMAND, str(requests(*rows_of(60))), str(out), "--in-flight", "4"],
        env=os.environ | {"DRILL_S": "0.05"},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        pass  # the other end was closed
    os.close(ours)
    assert process.wait(TIMEOUT_S) == 0
    text = shown.decode()
    assert "bulk: " in text and "60/60" in text and " rows/s" in text
    assert any(f"{percent}%" in text for percent in range(10, 90)), "it moves on the way"
    left = re.findall(r"\[\d\d:\d\d<(\d\d:\d\d), +[\d.]+ rows/s\]", text)
    assert left[-1] == "00:00" and len(left) > 3, "how long it takes yet is told all the time"
