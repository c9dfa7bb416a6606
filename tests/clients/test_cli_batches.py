"""`etalage batches` as a person runs it: a process of its own against real jobs."""

from __future__ import annotations

import asyncio

import pytest

from etalage.batches import AsyncBatches
from tests.clients.test_cli import run
from tests.features.pictures import write_jsonl
from tests.server.doors.office import opened_office

LINES = [{"product_id": "chair", "user_id": "u1", "seed": 5, "request_id": "hero"},
         {"product_id": "unknown"}]  # fmt: skip


@pytest.fixture
async def office(tmp_path):
    async with opened_office(tmp_path / "office") as opened:
        yield opened


@pytest.fixture
def ask(office):
    """Runs a verb of batches; the server is in this loop, hence the thread."""

    async def ask(*arguments):
        server = f"127.0.0.1:{office.port}"
        return await asyncio.to_thread(run, "batches", *arguments, "--server", server)

    return ask


async def test_a_file_is_submitted_watched_and_read(ask, office, tmp_path):
    write_jsonl(tmp_path / "requests.jsonl", *LINES)
    sent = await ask("submit", tmp_path / "requests.jsonl", "--request-id", "spring",
                     "--output-folder", "2026/spring")  # fmt: skip
    assert (sent.returncode, sent.stderr) == (0, "")
    assert sent.stdout.startswith("spring: ") and sent.stdout.endswith("/2026/spring\n")
    told = await ask("watch", "spring")
    assert told.returncode == 1, "one of them failed"
    last = told.stdout.splitlines()[-1]
    assert last.startswith("spring: failed, 2 of 2 done, 1 failed, ")
    assert "etalage: 2: " in told.stderr and "[PRODUCT_NOT_FOUND]" in told.stderr
    shown = await ask("get", "spring")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, f"{last}\n", told.stderr)
    hero, _ = office.sketcher.requests
    assert (hero.product, hero.user_id, hero.seed) == ("chair", "u1", 5)


async def test_what_went_well_ends_with_zero(ask, tmp_path):
    (tmp_path / "one.jsonl").write_text('\n{"product_id": "chair"}\n\n')
    await ask("submit", tmp_path / "one.jsonl", "--request-id", "a")
    told = await ask("watch", "a")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines()[-1].startswith("a: succeeded, 1 of 1 done, ")


async def test_all_batches_are_listed_the_youngest_first(ask, office):
    for name in ("a", "b"):
        await AsyncBatches(office.channel).submit(["chair"], request_id=name)
    told = await ask("list")
    assert [line.partition(":")[0] for line in told.stdout.splitlines()] == ["b", "a"]


async def test_a_cancelled_batch_ends_for_whoever_watches(ask, office):
    await AsyncBatches(office.channel).submit(["patient"], request_id="a")
    watching = asyncio.create_task(ask("watch", "a"))
    await asyncio.wait_for(office.sketcher.was_started.wait(), 10)
    told = await ask("cancel", "a")
    assert told.returncode == 0 and told.stdout.startswith("a: cancelled, 0 of 1 done, ")
    assert (await watching).returncode == 7


async def test_errors_are_one_line_and_a_code(ask, tmp_path):
    missing = await ask("get", "nowhere")
    assert missing.returncode == 3 and "[BATCH_NOT_FOUND]" in missing.stderr
    write_jsonl(tmp_path / "wrong.jsonl", {"product_id": "chair"}, {"product": "chair"})
    wrong = await ask("submit", tmp_path / "wrong.jsonl")
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1
    assert "wrong.jsonl: line 2: " in wrong.stderr and '"product"' in wrong.stderr
    absent = await ask("submit", tmp_path / "absent.jsonl")
    assert absent.returncode == 2 and "absent.jsonl" in absent.stderr
