"""One generation for all who ask, and what becomes of its image."""

import asyncio
import time
from dataclasses import replace

import pytest

from server.core import Accepted, CachePolicy, Degradation, Event, Progress, Reason, Source
from server.errors import DeadlineExceeded, Overloaded, SamplingFailed
from server.image_cache.cache import ImageCache
from server.image_cache.folder import Folder
from server.image_cache.remote import RemoteShelf
from tests.server.image_cache.results import NAME, OTHER, Clock, Ledger, result

USE, REFRESH, BYPASS = CachePolicy.USE, CachePolicy.REFRESH, CachePolicy.BYPASS


class Kiln:
    """Makes images one after the other; opens when the test says so."""

    def __init__(self, is_open=True):
        self.deadlines = []
        self.num_cancelled = self.num_watched = 0
        self.door = asyncio.Event()
        if is_open:
            self.door.set()

    @property
    def num_made(self):
        return len(self.deadlines)

    async def make(self, deadline_s, listener):
        """Gives up at its deadline, as the engine does; tells of two steps, one before the door."""
        self.deadlines.append(deadline_s)
        self.num_watched += listener is not None
        tell = listener or (lambda event: None)
        tell(Accepted())
        tell(Progress(1, 2))
        number = self.num_made
        left_s = None if deadline_s is None else deadline_s - time.monotonic()
        try:
            await asyncio.wait_for(self.door.wait(), left_s)
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise
        except TimeoutError:
            raise DeadlineExceeded("its rows were dropped") from None
        tell(Progress(2, 2))
        return result(f"image {number}".encode())


def soon(seconds):
    return time.monotonic() + seconds


def data(answer):
    return answer.images[0].data.decode()


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def cache(workers, ledger):
    return ImageCache(1_000_000, 60.0, workers, observer=ledger)


async def test_the_first_is_made_and_the_next_comes_from_memory(cache, ledger):
    kiln = Kiln()
    first = await cache.answer(NAME, USE, kiln.make)
    again = await cache.answer(NAME, USE, kiln.make)
    other = await cache.answer(OTHER, USE, kiln.make)
    assert [data(first), data(again), data(other)] == ["image 1", "image 1", "image 2"]
    assert first.source is Source.GENERATED and again.source is Source.CACHE
    assert ledger.counts == {"missed": 2, "hit memory": 1}


async def test_nothing_of_the_first_asker_reaches_the_next(cache):
    kiln = Kiln()
    own = await cache.answer(NAME, USE, kiln.make)
    assert own.request_id == "of somebody" and own.explanation is not None
    joined = asyncio.gather(*(cache.answer(OTHER, USE, kiln.make) for _ in range(2)))
    for answer in (await cache.answer(NAME, USE, kiln.make), (await joined)[1]):
        assert answer.request_id == "" and answer.explanation is None
        assert not answer.timings_s and not answer.personalization.feature_ages_s
        assert answer.personalization.reason is Reason.APPLIED


async def test_a_hundred_askers_of_one_image_have_it_made_once(cache, ledger):
    kiln = Kiln(is_open=False)
    waiting = [asyncio.create_task(cache.answer(NAME, USE, kiln.make)) for _ in range(100)]
    await asyncio.sleep(0)
    kiln.door.set()
    answers = await asyncio.gather(*waiting)
    assert kiln.num_made == 1 and {data(answer) for answer in answers} == {"image 1"}
    sources = [answer.source for answer in answers]
    assert sources.count(Source.GENERATED) == 1 and sources.count(Source.CACHE) == 99
    assert ledger.counts == {"missed": 1, "joined": 99}


async def test_a_failure_reaches_all_who_wait_and_is_not_kept(cache):
    kiln = Kiln()

    async def crack(deadline_s, listener):
        raise SamplingFailed("cracked")

    outcomes = await asyncio.gather(
        *(cache.answer(NAME, USE, crack) for _ in range(3)), return_exceptions=True
    )
    assert [str(outcome) for outcome in outcomes] == ["cracked"] * 3
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 1"


async def test_it_is_cancelled_only_when_nobody_waits_any_more(cache):
    kiln = Kiln(is_open=False)
    waiting = [asyncio.create_task(cache.answer(NAME, USE, kiln.make)) for _ in range(3)]
    await asyncio.sleep(0.01)
    for task in waiting[:2]:
        task.cancel()
    await asyncio.sleep(0.01)
    assert kiln.num_cancelled == 0
    waiting[2].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert kiln.num_cancelled == 1
    kiln.door.set()
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 2"


async def test_an_asker_in_a_hurry_leaves_the_others_to_wait(cache):
    kiln = Kiln(is_open=False)
    patient = asyncio.create_task(cache.answer(NAME, USE, kiln.make))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded):
        await cache.answer(NAME, USE, kiln.make, soon(0.03))
    kiln.door.set()
    assert data(await patient) == "image 1" and kiln.num_cancelled == 0


async def test_what_the_first_had_no_time_for_is_made_again_with_the_latest_deadline(cache):
    kiln = Kiln(is_open=False)
    latest = soon(20)
    asked = [soon(0.05), soon(10), latest, soon(15)]
    waiting = [asyncio.create_task(cache.answer(NAME, USE, kiln.make, by)) for by in asked]
    with pytest.raises(DeadlineExceeded):
        await waiting[0]
    await asyncio.sleep(0.02)
    kiln.door.set()
    answers = await asyncio.gather(*waiting[1:])
    assert {data(answer) for answer in answers} == {"image 2"}
    assert kiln.deadlines == [asked[0], latest]


async def test_what_is_refused_for_its_haste_is_tried_for_who_has_time(cache):
    kiln, refused = Kiln(), []

    async def refuse(deadline_s, listener):
        refused.append(deadline_s)
        await asyncio.sleep(0)
        raise Overloaded(1.0)

    hasty = asyncio.create_task(cache.answer(NAME, USE, refuse, soon(5)))
    await asyncio.sleep(0)
    patient = asyncio.create_task(cache.answer(NAME, USE, kiln.make, soon(50)))
    with pytest.raises(Overloaded):
        await hasty
    assert data(await patient) == "image 1" and len(refused) == 1


async def test_a_full_server_refuses_all_of_one_deadline_at_once(cache):
    num_asked = 0

    async def refuse(deadline_s, listener):
        nonlocal num_asked
        num_asked += 1
        raise Overloaded(1.0)

    by = soon(5)
    outcomes = await asyncio.gather(
        *(cache.answer(NAME, USE, refuse, by) for _ in range(20)), return_exceptions=True
    )
    assert all(isinstance(outcome, Overloaded) for outcome in outcomes) and num_asked == 1


async def test_a_hundred_who_watch_one_image_have_it_made_once_and_are_all_told_of_each_step(cache):
    kiln = Kiln(is_open=False)
    told: list[list[Event]] = [[] for _ in range(100)]

    def watch(listeners):
        return [
            asyncio.create_task(cache.answer(NAME, USE, kiln.make, listener=each.append))
            for each in listeners
        ]

    waiting = watch(told[:60])
    await asyncio.sleep(0.01)
    assert told[0] == [Accepted(), Progress(1, 2)] and not told[60]
    waiting += watch(told[60:])
    await asyncio.sleep(0.01)
    assert told[99] == [Accepted(), Progress(1, 2)], "who comes late is told how far it is"
    waiting[0].cancel()
    await asyncio.sleep(0.01)
    kiln.door.set()
    answers = await asyncio.gather(*waiting[1:])
    assert kiln.num_made == 1 and {data(answer) for answer in answers} == {"image 1"}
    assert {answer.source for answer in answers} == {Source.CACHE}
    assert told[0] == [Accepted(), Progress(1, 2)], "who has left is told nothing more"
    assert all(each == [Accepted(), Progress(1, 2), Progress(2, 2)] for each in told[1:])


async def test_who_watches_is_told_of_each_step_once_also_where_it_is_made_again(cache):
    kiln = Kiln(is_open=False)
    told: list[Event] = []
    lost: list[Event] = []
    hasty = cache.answer(NAME, USE, kiln.make, soon(0.05), listener=lost.append)
    patient = cache.answer(NAME, USE, kiln.make, soon(20), listener=told.append)
    hasty, patient = asyncio.create_task(hasty), asyncio.create_task(patient)
    with pytest.raises(DeadlineExceeded):
        await hasty
    await asyncio.sleep(0.02)
    kiln.door.set()
    assert data(await patient) == "image 2"
    assert told == [Accepted(), Progress(1, 2), Progress(2, 2)]
    assert lost == [Accepted(), Progress(1, 2)]


async def test_only_those_who_see_the_same_previews_share_a_generation(cache):
    kiln = Kiln()
    told: list[Event] = []
    sides = (None, None, 0, 0, 64, 64, 128)
    await asyncio.gather(
        *(
            cache.answer(NAME, USE, kiln.make)
            if side is None
            else cache.answer(NAME, USE, kiln.make, listener=told.append, preview_side=side)
            for side in sides
        )
    )
    assert (kiln.num_made, kiln.num_watched) == (4, 3) and told.count(Progress(2, 2)) == 5
    assert data(await cache.answer(NAME, BYPASS, kiln.make, listener=told.append)) == "image 5"
    assert told.count(Progress(2, 2)) == 6


async def test_who_waits_joins_nothing_that_goes_after_everybody_else(cache):
    kiln = Kiln()
    patient, waiting = await asyncio.gather(
        cache.answer(NAME, USE, kiln.make, is_background=True),
        cache.answer(NAME, USE, kiln.make),
    )
    assert (patient.source, waiting.source) == (Source.GENERATED, Source.GENERATED)
    again = await cache.answer(NAME, USE, kiln.make, is_background=True)
    assert again.source is Source.CACHE and kiln.num_made == 2


async def test_a_strict_asker_never_gets_what_another_let_be_degraded(cache):
    kiln = Kiln()

    async def hurry(deadline_s, listener):
        await asyncio.sleep(0.01)
        return result(b"hasty", degradation=Degradation.FEWER_STEPS)

    lax, strict = await asyncio.gather(
        cache.answer(NAME, USE, hurry, may_degrade=True), cache.answer(NAME, USE, kiln.make)
    )
    assert data(lax) == "hasty" and data(strict) == "image 1"


async def test_who_had_more_time_gets_no_degraded_image_of_who_had_less(cache):
    async def hurry(deadline_s, listener):
        await asyncio.sleep(0.01)
        if deadline_s < soon(10):
            return result(b"hasty", degradation=Degradation.FEWER_STEPS)
        return result(b"whole")

    hasty, as_hasty, patient = await asyncio.gather(
        cache.answer(NAME, USE, hurry, soon(5), may_degrade=True),
        cache.answer(NAME, USE, hurry, soon(4), may_degrade=True),
        cache.answer(NAME, USE, hurry, soon(50), may_degrade=True),
    )
    assert [data(each) for each in (hasty, as_hasty, patient)] == ["hasty", "hasty", "whole"]


@pytest.mark.parametrize(
    "changes", [{"source": Source.ORIGINAL}, {"degradation": Degradation.FEWER_STEPS}]
)
async def test_what_is_not_whole_is_not_kept(cache, changes):
    async def make(deadline_s, listener):
        return result(**changes)

    kiln = Kiln()
    await cache.answer(NAME, USE, make)
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 1"


async def test_a_refresh_makes_a_new_image_and_keeps_it(cache):
    kiln = Kiln()
    await cache.answer(NAME, USE, kiln.make)
    assert data(await cache.answer(NAME, REFRESH, kiln.make)) == "image 2"
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 2"


async def test_a_bypass_neither_looks_nor_keeps_nor_joins(cache, ledger):
    kiln = Kiln()
    await cache.answer(NAME, USE, kiln.make)
    assert data(await cache.answer(NAME, BYPASS, kiln.make)) == "image 2"
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 1"
    assert data(await cache.answer(OTHER, BYPASS, kiln.make, soon(9))) == "image 3"
    assert data(await cache.answer(OTHER, USE, kiln.make)) == "image 4"


async def test_an_image_lives_for_its_time_and_no_longer(workers):
    clock, kiln = Clock(), Kiln()
    cache = ImageCache(1_000_000, 60.0, workers, clock=clock)
    await cache.answer(NAME, USE, kiln.make)
    clock.now += 59.9
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 1"
    clock.now += 0.1
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 2"


async def test_memory_is_bounded_and_what_was_used_longest_ago_goes(workers, ledger):
    kiln = Kiln()
    cache = ImageCache(10_000, 60.0, workers, observer=ledger)  # four of about 2 kB
    names = [f"{number:02x}" * 20 for number in range(5)]
    for name in names[:4]:
        await cache.answer(name, USE, kiln.make)
    await cache.answer(names[0], USE, kiln.make)
    await cache.answer(names[4], USE, kiln.make)
    assert ledger.counts["evicted memory"] == 1 and ledger.num_bytes["memory"] <= 10_000
    assert data(await cache.answer(names[0], USE, kiln.make)) == "image 1"
    assert data(await cache.answer(names[1], USE, kiln.make)) == "image 6"


async def test_without_memory_all_is_made_anew_but_once_for_all_at_a_time(workers):
    kiln = Kiln()
    cache = ImageCache(0, 60.0, workers)
    both = await asyncio.gather(*(cache.answer(NAME, USE, kiln.make) for _ in range(2)))
    assert [data(each) for each in both] == ["image 1", "image 1"]
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 2"


@pytest.fixture(params=["disk", "redis"])
def open_shelf(request, tmp_path, workers):
    """Opens the same place again, as another process or a later one would."""
    if request.param == "disk":
        return lambda: Folder(tmp_path / "images", 10_000_000, 60.0, workers)
    server = request.getfixturevalue("redis_server")
    return lambda: RemoteShelf(server.url, 60.0, timeout_s=2.0)


async def test_a_restarted_server_finds_what_was_made_before(workers, open_shelf):
    kiln, ledger = Kiln(), Ledger()
    first = ImageCache(1_000_000, 60.0, workers, open_shelf())
    made = await first.answer(NAME, USE, kiln.make)
    await first.close()
    later = ImageCache(1_000_000, 60.0, workers, open_shelf(), ledger)
    answers = await asyncio.gather(*(later.answer(NAME, USE, kiln.make) for _ in range(10)))
    answers.append(await later.answer(NAME, USE, kiln.make))
    assert kiln.num_made == 1 and {answer.source for answer in answers} == {Source.CACHE}
    assert {answer.images for answer in answers} == {made.images}
    assert answers[0].tries == made.tries and answers[0].model == made.model
    shelf_hits = {name: count for name, count in ledger.counts.items() if name != "hit memory"}
    assert sum(shelf_hits.values()) == 1 + 9 and ledger.counts["joined"] == 9
    await later.close()


async def test_what_is_found_below_lives_no_longer_in_memory(workers, open_shelf):
    clock, kiln = Clock(), Kiln()
    clock.now = time.time()
    first = ImageCache(1_000_000, 50.0, workers, open_shelf(), clock=clock)
    await first.answer(NAME, USE, kiln.make)
    await first.close()
    clock.now += 40
    later = ImageCache(1_000_000, 50.0, workers, open_shelf(), clock=clock)
    assert data(await later.answer(NAME, USE, kiln.make)) == "image 1"
    clock.now += 10
    assert data(await later.answer(NAME, USE, kiln.make)) == "image 2"
    await later.close()


async def test_a_purge_forgets_memory_and_what_is_below(workers, open_shelf):
    kiln = Kiln()
    cache = ImageCache(1_000_000, 60.0, workers, open_shelf())
    await cache.answer(NAME, USE, kiln.make)
    await cache.purge()
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 2"
    await cache.close()


async def test_what_is_being_made_during_a_purge_is_answered_and_not_kept(cache):
    kiln = Kiln(is_open=False)
    waiting = asyncio.create_task(cache.answer(NAME, USE, kiln.make))
    await asyncio.sleep(0)
    await cache.purge()
    after = asyncio.create_task(cache.answer(NAME, USE, kiln.make))
    await asyncio.sleep(0)
    kiln.door.set()
    assert [data(await waiting), data(await after)] == ["image 1", "image 2"]
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 2"


async def test_a_broken_file_is_a_miss_and_goes(workers, tmp_path):
    kiln, ledger = Kiln(), Ledger()
    folder = Folder(tmp_path, 1_000_000, 60.0, workers)
    await folder.keep(NAME, b"no image at all")
    cache = ImageCache(0, 60.0, workers, folder, ledger)
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 1"
    assert ledger.counts == {"failed disk": 1, "missed": 1}
    await cache.close()
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 1"


async def test_a_shelf_that_fails_costs_nothing_but_a_generation(workers, redis_server):
    kiln, ledger = Kiln(), Ledger()
    cache = ImageCache(0, 60.0, workers, RemoteShelf(redis_server.url, 60.0, 2.0), ledger)
    redis_server.stop()
    assert data(await cache.answer(NAME, USE, kiln.make)) == "image 1"
    await cache.close()
    assert ledger.counts == {"failed redis": 2, "missed": 1}


async def test_joiners_of_a_failure_that_is_no_deadline_do_not_try_again(cache):
    num_asked = 0

    async def crack(deadline_s, listener):
        nonlocal num_asked
        num_asked += 1
        await asyncio.sleep(0)
        raise SamplingFailed("cracked")

    outcomes = await asyncio.gather(
        *(cache.answer(NAME, USE, crack, soon(5 + more)) for more in range(5)),
        return_exceptions=True,
    )
    assert num_asked == 1 and all(isinstance(each, SamplingFailed) for each in outcomes)


async def test_a_deadline_that_has_passed_still_gets_what_is_in_memory(cache):
    kiln = Kiln()
    await cache.answer(NAME, USE, kiln.make)
    assert data(await cache.answer(NAME, USE, kiln.make, soon(-1))) == "image 1"
    with pytest.raises(DeadlineExceeded):
        await cache.answer(OTHER, USE, Kiln(is_open=False).make, soon(-1))


async def test_an_answer_of_an_old_result_can_not_be_changed_by_its_reader(cache):
    kiln = Kiln()
    await cache.answer(NAME, USE, kiln.make)
    mine = replace(await cache.answer(NAME, USE, kiln.make), request_id="mine")
    assert mine.request_id == "mine"
    assert (await cache.answer(NAME, USE, kiln.make)).request_id == ""


async def test_what_was_made_of_one_shoppers_embedding_is_forgotten_on_the_shelf_as_well(
    workers, open_shelf
):
    names = ["a" * 40, "b" * 40, "c" * 40]
    makers = ["1" * 32, "1" * 32, "2" * 32]

    def ask(cache, number):
        async def make(deadline_s, listener):
            return result(f"image {number}".encode(), maker=makers[number])

        return cache.answer(names[number], USE, make)

    cache = ImageCache(10_000, 60.0, workers, open_shelf())
    for number in range(3):
        await ask(cache, number)
    await cache._finish_writes()
    assert await cache.forget(makers[0], is_shared=False) == 2  # as another server's memory
    assert (await ask(cache, 0)).source is Source.CACHE, "the shelf has it"
    assert await cache.forget(makers[0]) == 2
    assert await cache.forget(makers[0]) == 0
    sources = [(await ask(cache, number)).source for number in range(3)]
    assert sources == [Source.GENERATED, Source.GENERATED, Source.CACHE]
    await cache.close()
