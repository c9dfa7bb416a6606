"""What a bandit reads of the log while it is written, on both databases, and learns from it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from server.database import is_sqlite, writing
from server.experiments import bandit_log
from server.experiments.bandit import ThompsonBandit
from server.experiments.bandit_context import NUM_FACTS, SIZE
from server.experiments.bandit_learning import BanditLearning
from server.experiments.bandit_log import LogReader
from server.experiments.definition import BanditSettings, Experiment
from server.experiments.event_log.keeping import keep
from server.experiments.event_log.opening import open_events
from server.experiments.event_log.retention import expire
from server.experiments.events import Event, EventKind
from tests.server.experiments.event_log.conftest import empty
from tests.server.experiments.event_log.happenings import NOW_S, exposure
from tests.server.experiments.shoppers import make_experiment

FACES = make_experiment("faces", 0.5, 0.5, bandit=BanditSettings(refresh_s=0.02))
CONTEXT = (1.0, *[0.25] * (SIZE - 1))


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'events.db'}"
    else:
        url = request.getfixturevalue("postgresql")
        empty(url)
    engine = open_events(url)
    yield engine
    engine.dispose()


def happen(kind: EventKind, name: str, number: int = 0, **told: Any) -> Event:
    """To the image of that name; `number` tells events of one kind apart."""
    values = {"experiment": "faces", "arm": "1", "is_override": False, "context": CONTEXT}
    return Event(f"{kind.value} {number} of {name}", kind, NOW_S, exposure(name, **(values | told)))


def render(name: str, **told: Any) -> Event:
    return happen(EventKind.RENDER, name, **told)


def click(name: str, number: int = 0, **told: Any) -> Event:
    return happen(EventKind.CLICK, name, number, **told)


def write(engine, *events: Event) -> None:
    with writing(engine) as connection:
        keep(connection, events, NOW_S)


Told = list[tuple[str, tuple[float, ...]]]


def read(reader: LogReader) -> tuple[Told, Told]:
    """Arms and contexts of decisions, and of rewards."""
    told: dict[bool, Told] = {False: [], True: []}
    for rows in reader.read():
        told[rows.are_rewards] += zip(rows.arms, map(tuple, rows.contexts.tolist()), strict=True)
    return told[False], told[True]


def count(reader: LogReader) -> tuple[int, int]:
    decisions, rewards = read(reader)
    return len(decisions), len(rewards)


def test_each_decision_and_each_reward_is_told_once(engine):
    reader = LogReader(engine, FACES)
    assert read(reader) == ([], [])
    write(engine, render("a"), render("b", arm="0"), click("a"))
    one, other = ("1", CONTEXT), ("0", CONTEXT)
    assert read(reader) == ([one, other], [one])
    assert read(reader) == ([], [])
    write(engine, click("b"), render("c"))
    assert read(reader) == ([one], [other])
    assert read(LogReader(engine, FACES)) == ([one, other, one], [one, other])


def test_a_second_click_is_no_second_reward(engine):
    reader = LogReader(engine, FACES)
    write(engine, render("a"), click("a"), click("a", 1))
    assert count(reader) == (1, 1)
    write(engine, click("a", 2), render("a", number=1))
    assert count(reader) == (0, 0)


def test_a_reward_that_came_before_its_exposure_waits_for_it(engine):
    reader = LogReader(engine, FACES)
    write(engine, click("a"), click("b"), click("b", 1))
    assert count(reader) == (0, 0)
    write(engine, render("b"), click("c"))
    assert count(reader) == (1, 1)
    write(engine, render("a"), render("c"))
    assert count(reader) == (2, 2)
    write(engine, click("b", 2))
    assert count(reader) == (0, 0)


def test_what_is_not_of_the_experiment_or_no_reward_is_left_out(engine):
    others: Any = {"experiment": "other"}, {"is_override": True}, {"unit": ""}
    for number, other in enumerate(others):
        write(engine, render(f"x{number}", **other), click(f"x{number}", **other))
    write(engine, render("a"), happen(EventKind.HIDE, "a"), happen(EventKind.PURCHASE, "a"))
    assert count(LogReader(engine, FACES)) == (1, 0)
    bought = make_experiment("faces", bandit=BanditSettings(reward="purchase"))
    assert count(LogReader(engine, bought)) == (1, 1)


@pytest.mark.parametrize("context", [(), (1.0,), (1.0,) * (SIZE + 1)])
def test_a_context_of_another_size_is_not_a_number(engine, context):
    write(engine, render("a", context=context), render("b"), click("a"))
    decisions, rewards = read(LogReader(engine, FACES))
    assert np.isnan(decisions[0][1]).all() and decisions[1][1] == CONTEXT
    assert np.isnan(rewards[0][1]).all()


@pytest.mark.parametrize(
    "spoilt", ["null", "5", "{}", json.dumps(["a"] * SIZE), json.dumps([[1.0]] * SIZE)]
)
def test_a_context_that_is_no_list_of_numbers_is_not_a_number(engine, spoilt):
    check_spoilt(engine, spoilt)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("spoilt", ["", "broken", "[" * 10_000])
def test_a_context_that_is_no_json_is_not_a_number(engine, spoilt):
    """PostgreSQL keeps no such thing."""
    check_spoilt(engine, spoilt)


def check_spoilt(engine, spoilt: str) -> None:
    write(engine, render("a"), render("b"))
    value = ":context" if is_sqlite(engine) else "CAST(:context AS json)"
    with engine.begin() as connection:
        change = f"UPDATE etalage_exposures SET context = {value} WHERE exposure_id = 'a'"
        connection.execute(text(change), {"context": spoilt})
    decisions, _ = read(LogReader(engine, FACES))
    assert np.isnan(decisions[0][1]).all() and decisions[1][1] == CONTEXT


def test_a_long_log_is_read_in_pieces_and_goes_on_where_it_broke_off(engine, monkeypatch):
    monkeypatch.setattr(bandit_log, "SPAN", 10)
    monkeypatch.setattr(bandit_log, "_NUM_NAMED", 3)
    names = [f"image {number}" for number in range(45)]
    write(engine, *map(render, names), *map(click, names))
    reader, pieces = LogReader(engine, FACES), []
    for rows in reader.read():
        pieces.append((len(rows.arms), rows.are_rewards))
        if len(pieces) == 2:
            break
    assert pieces == [(10, False)] * 2
    rename(engine, "etalage_outcomes", "kind", "sort")
    decisions: list[str] = []
    with pytest.raises(DBAPIError):
        for rows in reader.read():
            decisions += rows.arms
    assert len(decisions) == 25
    rename(engine, "etalage_outcomes", "sort", "kind")
    pieces = [(len(rows.arms), rows.are_rewards) for rows in reader.read()]
    assert pieces == [(10, True)] * 4 + [(5, True)]


def rename(engine, table: str, column: str, to: str) -> None:
    """Whoever asks for it is told that there is no such column."""
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME COLUMN {column} TO {to}"))


def test_what_went_long_ago_is_not_looked_for(engine, monkeypatch):
    write(engine, *(render(f"old {number}") for number in range(100)))
    assert expire(engine, NOW_S + 1) == 100
    write(engine, render("a"))
    monkeypatch.setattr(bandit_log, "SPAN", 1)
    assert [len(rows.arms) for rows in LogReader(engine, FACES).read()] == [1]


def test_only_so_many_rewards_are_remembered(engine, monkeypatch):
    monkeypatch.setattr(bandit_log, "NUM_REMEMBERED", 2)
    monkeypatch.setattr(bandit_log, "NUM_EARLY", 2)
    reader = LogReader(engine, FACES)
    write(engine, *(click(name) for name in "abc"))
    assert count(reader) == (0, 0)
    write(engine, *(render(name) for name in "abc"))
    assert count(reader) == (3, 2)  # that of a is lost
    write(engine, click("a", 1), click("b", 1), click("c", 1))
    assert count(reader) == (0, 1)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_what_is_committed_late_is_not_passed_over(engine):
    """Keys are given there before the commit; SQLite has one writer at a time."""
    reader, told = LogReader(engine, FACES), []
    with writing(engine) as slow:
        keep(slow, [render("slow")], NOW_S)
        write(engine, render("quick"))
        thread = threading.Thread(target=lambda: told.append(count(reader)))
        thread.start()
        wait_until_it_waits(engine)
    thread.join()
    assert told == [(2, 0)]


def wait_until_it_waits(engine) -> None:
    query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    give_up_s = time.monotonic() + 20
    while True:
        with engine.connect() as connection:
            if connection.execute(query).scalar_one():
                return
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


# Learning beside the requests


def simulate(prefix: str, num: int, best: str) -> list[Event]:
    """Both arms at random; the best is clicked at 60 %, the other at 10 %."""
    rng = np.random.default_rng(num)
    events = []
    for number in range(num):
        arm, context = str(number % 2), (1.0, 0.0, 1.0, 0.0, *rng.normal(size=SIZE - NUM_FACTS) / 3)
        told: Any = {"arm": arm, "context": context}
        events.append(render(f"{prefix}{number}", **told))
        if rng.random() < (0.6 if arm == best else 0.1):
            events.append(click(f"{prefix}{number}", **told))
    return events


async def until_it_favours(bandit: ThompsonBandit, arm: str) -> None:
    async with asyncio.timeout(30):
        while weigh(bandit)[int(arm)] < 0.9:
            await asyncio.sleep(0.01)


def weigh(bandit: ThompsonBandit, key: str = "faces") -> Sequence[float]:
    context = (1.0, 0.0, 1.0, *[0.0] * (SIZE - 3))
    propensities: Sequence[float] = bandit._policies[key].weigh(context).tolist()
    return propensities


@pytest.fixture
def experiments() -> list[Experiment]:
    return [FACES, make_experiment("plain"), make_experiment("quiet", bandit=BanditSettings())]


async def test_a_bandit_follows_what_comes_in(engine, experiments):
    bandit = ThompsonBandit(experiments)
    write(engine, *simulate("early ", 400, best="1"))
    learning = BanditLearning(bandit, experiments, engine)
    learning.start()
    await until_it_favours(bandit, "1")
    write(engine, *simulate("late ", 2000, best="0"))
    await until_it_favours(bandit, "0")
    assert weigh(bandit, "quiet") == [0.5, 0.5]
    await learning.close()


async def test_whoever_starts_again_reads_the_log_again(engine, experiments):
    write(engine, *simulate("all ", 400, best="1"))
    policies = []
    for _ in range(2):
        bandit = ThompsonBandit(experiments)
        learning = BanditLearning(bandit, experiments, engine)
        learning.start()
        await until_it_favours(bandit, "1")
        await learning.close()
        policies.append(weigh(bandit))
    assert policies[0] == policies[1]


async def test_without_its_database_a_bandit_keeps_its_policy_and_learns_on_later(
    engine, experiments, monkeypatch
):
    said: Counter[str] = Counter()
    monkeypatch.setattr(
        "server.experiments.bandit_learning.log.error", lambda text, **told: said.update([text])
    )
    bandit = ThompsonBandit(experiments)
    learning = BanditLearning(bandit, experiments[:1], engine)
    write(engine, *simulate("early ", 400, best="1"))
    learning.start()
    await until_it_favours(bandit, "1")
    rename(engine, "etalage_exposures", "key", "number")
    async with asyncio.timeout(30):
        while not said:
            await asyncio.sleep(0.01)
    before = weigh(bandit)
    await asyncio.sleep(0.2)  # some more tries
    assert said == {"a bandit can't learn": 1} and weigh(bandit) == before
    rename(engine, "etalage_exposures", "number", "key")
    write(engine, *simulate("late ", 2000, best="0"))
    await until_it_favours(bandit, "0")
    await learning.close()
