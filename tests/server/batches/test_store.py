"""What the database promises, SQLite and PostgreSQL: transactions, leases, counters, pages."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, select

from server.batches.batch import BatchState
from server.batches.claims import LEASE_S, PAGE, Claims
from server.batches.store import MAX_FAILURES, RATE_WINDOW_S, BatchStore
from server.batches.tables import metadata, open_database, requests
from server.bulk.record import Failure, Record
from server.errors import BatchNotFound, InvalidRequest, Overloaded
from tests.server.batches.shop import Clock, database_in, submission

GONE = Failure("NOT_FOUND", "PRODUCT_NOT_FOUND", "no such product")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Of an empty database."""
    if request.param == "sqlite":
        return database_in(tmp_path / "deep")
    url = request.getfixturevalue("postgresql")
    engine = open_database(url)
    metadata.drop_all(engine)
    engine.dispose()
    return url


@pytest.fixture
def engine(url):
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine, clock) -> BatchStore:
    return BatchStore(engine, max_batches=5, clock=clock)


@pytest.fixture
def claims(engine, clock) -> Claims:
    return Claims(engine, "me", clock=clock)


def done(number: int, num_images: int = 1) -> Record:
    return Record(str(number), number, "digest", {"steps": 4}, [{"path": "x"}] * num_images)


def failed(number: int) -> Record:
    return Record(str(number), number, "digest", failure=GONE)


def contents(engine) -> list[bytes]:
    with engine.begin() as connection:
        return list(connection.execute(select(requests.c.content)).scalars())


def test_what_was_taken_in_is_there_for_another_process(store, url):
    told, was_known = store.submit(submission("a", "chair", "lamp"))
    assert not was_known
    assert (told.state, told.num_requests, told.output_folder) == (BatchState.PENDING, 2, "a")
    other = open_database(url)
    assert BatchStore(other).get("a") == told
    other.dispose()


def test_the_same_batch_twice_is_one_and_another_under_its_id_is_refused(store):
    first, _ = store.submit(submission("a", "chair"))
    again, was_known = store.submit(submission("a", "chair"))
    assert was_known and again == first
    with pytest.raises(InvalidRequest) as caught:
        store.submit(submission("a", "lamp"))
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert len(store.list_page(10)[0]) == 1


@pytest.mark.parametrize("folder", ["shop", "shop/deep", "shop/deep/er"])
def test_no_batch_writes_into_the_folder_of_another(store, folder):
    store.submit(submission("a", "chair", folder="shop/deep"))
    with pytest.raises(InvalidRequest, match="output_folder"):
        store.submit(submission("b", "chair", folder=folder))


def test_folders_with_a_common_beginning_of_their_names_are_different(store):
    for number, folder in enumerate(["shop/deep", "shop/dee", "shop/deeper", "shop/d_ep"]):
        assert not store.submit(submission(f"b{number}", "chair", folder=folder))[1]


def test_only_so_many_wait(store, claims):
    for number in range(5):
        store.submit(submission(f"b{number}", "chair"))
    with pytest.raises(Overloaded):
        store.submit(submission("one-more", "chair"))
    assert store.submit(submission("b0", "chair"))[1], "a repeat is no further batch"
    store.cancel("b3")
    store.submit(submission("one-more", "chair"))


def test_pages_stay_right_when_batches_are_added_and_forgotten(store, clock):
    for number in range(4):
        store.submit(submission(f"b{number}", "chair"))
        store.cancel(f"b{number}")
        clock.now_s += 10
    page, following = store.list_page(2)
    assert [batch.batch_id for batch in page] == ["b3", "b2"]
    store.submit(submission("young", "chair"))
    assert store.expire(keep_s=35) == 1  # b0
    page, following = store.list_page(2, following)
    assert ([batch.batch_id for batch in page], following) == (["b1"], None)


def test_batches_are_worked_on_in_the_order_in_which_they_came(store, claims):
    for name in ("z", "a", "m"):
        store.submit(submission(name, "chair"))
    order = []
    while (claim := claims.claim()) is not None:
        order.append(claim.batch_id)
        claims.record(claim, [done(1)])
        claims.finish(claim)
    assert order == ["z", "a", "m"]


def test_a_batch_belongs_to_one_process_until_its_lease_ends(store, claims, engine, clock):
    other = Claims(engine, "other", clock=clock)
    store.submit(submission("a", "chair"))
    claim = claims.claim()
    assert claim is not None and store.get("a").state is BatchState.RUNNING
    assert other.claim() is None
    clock.now_s += 0.9 * LEASE_S
    assert claims.renew(claim) is BatchState.RUNNING
    clock.now_s += 0.9 * LEASE_S
    assert other.claim() is None
    clock.now_s += 0.2 * LEASE_S
    assert other.claim() == claim
    assert claims.renew(claim) is None, "it was taken over"
    claims.finish(claim)
    assert not store.get("a").is_closed, "and is not the first one's to end"
    other.release(claim)
    assert claims.claim() == claim, "what is released is free at once"


def test_processes_that_start_at_once_share_a_new_database(url):
    with ThreadPoolExecutor(4) as processes:
        engines = list(processes.map(open_database, [url] * 4))
    BatchStore(engines[0]).submit(submission("a", "chair"))
    assert {BatchStore(engine).get("a").num_requests for engine in engines} == {1}
    for engine in engines:
        engine.dispose()


def test_processes_that_look_for_work_at_once_each_find_their_own(store, engine, clock):
    names = {f"b{number}" for number in range(5)}
    for name in names:
        store.submit(submission(name, "chair"))

    def work(owner: str) -> list[str]:
        claims, found, num_misses = Claims(engine, owner, clock=clock), [], 0
        while num_misses < 20:  # another was faster, or nothing is left
            if (claim := claims.claim()) is None:
                num_misses += 1
                continue
            found.append(claim.batch_id)
            claims.record(claim, [done(1)])
            claims.finish(claim)
        return found

    with ThreadPoolExecutor(4) as processes:
        found = [name for names in processes.map(work, "abcd") for name in names]
    assert sorted(found) == sorted(names)


def test_the_same_batch_submitted_twice_at_once_is_one(url):
    stores = [BatchStore(open_database(url)) for _ in range(4)]
    with ThreadPoolExecutor(4) as processes:
        asked = [submission("a", "chair", "lamp") for _ in stores]
        told = list(processes.map(BatchStore.submit, stores, asked))
    assert [was_known for _, was_known in told].count(False) == 1
    assert len(stores[0].list_page(10)[0]) == 1
    for each in stores:
        each.close()


def test_what_is_recorded_twice_counts_once(store, claims):
    store.submit(submission("a", "chair", "lamp", "vase"))
    claim = claims.claim()
    claims.record(claim, [done(1), failed(2), done(1)])
    claims.record(claim, [failed(1), done(2)])
    told = store.get("a")
    assert (told.num_succeeded, told.num_failed) == (1, 1)
    assert list(claims.records(claim)) == [done(1), failed(2)]
    assert [request.number for request in claims.pending(claim)] == [3]


def test_counters_and_requests_are_changed_together_or_not_at_all(store, claims, engine):
    store.submit(submission("a", "chair", "lamp"))
    claim = claims.claim()
    with pytest.raises(AttributeError):  # broken off in the middle of a transaction
        claims.record(claim, [done(1), None])
    assert store.get("a").num_succeeded == 0
    assert len(claims.pending(claim)) == 2


def test_a_batch_ends_as_its_requests_did(store, claims):
    ends = {"good": [done(1), done(2)], "bad": [done(1), failed(2)]}
    for name, records in ends.items():
        store.submit(submission(name, "chair", "lamp"))
        claim = claims.claim()
        claims.record(claim, records)
        claims.finish(claim)
    assert store.get("good").state is BatchState.SUCCEEDED
    bad = store.get("bad")
    assert (bad.state, bad.failures) == (BatchState.FAILED, (failed(2),))
    assert bad.end_s is not None and bad.is_closed


def test_only_the_first_failures_are_told(store, claims):
    many = MAX_FAILURES + 5
    for name in ("a", "b"):
        store.submit(submission(name, *["chair"] * many))
    for _ in range(2):
        claim = claims.claim()
        claims.record(claim, [failed(number) for number in range(many, 0, -1)])
        claims.finish(claim)
    for told in store.list_page(10)[0]:
        assert [each.number for each in told.failures] == list(range(1, MAX_FAILURES + 1))


def test_a_cancelled_batch_keeps_what_was_made_and_says_so_for_good(store, claims):
    store.submit(submission("a", "chair", "lamp"))
    claim = claims.claim()
    claims.record(claim, [done(1)])
    told = store.cancel("a")
    assert (told.state, told.is_closed) == (BatchState.CANCELLED, False)
    assert claims.renew(claim) is BatchState.CANCELLED
    claims.record(claim, [done(2)])  # it was written already
    claims.finish(claim)
    told = store.cancel("a")
    assert (told.state, told.num_succeeded) == (BatchState.CANCELLED, 2)
    ended_s = told.end_s
    claims.record(claim, [done(2)])
    assert store.cancel("a").end_s == ended_s


def test_a_batch_that_never_began_is_closed_by_cancelling(store, claims, engine):
    store.submit(submission("a", "chair"))
    assert store.cancel("a").is_closed
    assert claims.claim() is None
    assert contents(engine) == [b""]


def test_a_cancelled_batch_whose_process_died_is_still_closed_by_another(
    store, claims, engine, clock
):
    store.submit(submission("a", "chair"))
    claims.claim()
    store.cancel("a")
    clock.now_s += 2 * LEASE_S
    other = Claims(engine, "other", clock=clock)
    claim = other.claim()
    assert claim is not None
    other.finish(claim)
    assert store.get("a").state is BatchState.CANCELLED


def test_who_asked_is_forgotten_with_the_answer(store, claims, engine):
    store.submit(submission("a", "chair", "lamp", user_id="someone-in-particular"))
    assert all(b"someone-in-particular" in content for content in contents(engine))
    claim = claims.claim()
    claims.record(claim, [done(1)])
    assert sorted(map(bool, contents(engine))) == [False, True]
    store.cancel("a")
    claims.finish(claim)
    assert contents(engine) == [b"", b""]


def test_what_ended_long_ago_is_forgotten_and_what_runs_is_not(store, claims, engine, clock):
    for name in ("old", "running", "new"):
        store.submit(submission(name, "chair"))
    store.cancel("old")
    clock.now_s += 100
    assert claims.claim().batch_id == "running"
    store.cancel("new")
    assert store.expire(keep_s=50) == 1
    with pytest.raises(BatchNotFound, match="no batch 'old'"):
        store.get("old")
    assert {batch.batch_id for batch in store.list_page(10)[0]} == {"running", "new"}
    assert len(contents(engine)) == 2
    assert not store.submit(submission("old", "lamp"))[1], "its id and its folder are free again"


def test_any_number_of_batches_is_forgotten_at_once(url, clock):
    """A database takes only so many values in one statement: here as few as the others need."""
    engine = open_database(url)
    if engine.dialect.name == "sqlite":

        def limit(connection, record):
            connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 16)

        event.listen(engine, "connect", limit)
        engine.dispose()  # connections from now on
    store = BatchStore(engine, clock=clock)
    for number in range(20):
        store.submit(submission(f"b{number}", "chair"))
        store.cancel(f"b{number}")
    clock.now_s += 100
    assert store.expire(keep_s=50) == 20
    assert not store.list_page(10)[0] and not contents(engine)
    engine.dispose()


def test_the_rate_is_that_of_late(store, claims, clock):
    store.submit(submission("a", *["chair"] * 4))
    claim = claims.claim()
    assert store.get("a").images_per_second == 0
    clock.now_s += 2
    claims.record(claim, [done(1, num_images=6)])
    assert store.get("a").images_per_second == pytest.approx(3.0)
    clock.now_s += 2 * RATE_WINDOW_S
    assert store.get("a").images_per_second == 0
    claims.record(claim, [done(2, num_images=3)])
    assert store.get("a").images_per_second == pytest.approx(3 / RATE_WINDOW_S)


def test_large_batches_are_read_page_by_page(store, claims):
    many = 2 * PAGE + 3
    store.submit(submission("a", *["chair"] * many))
    claim = claims.claim()
    claims.record(claim, [done(number) for number in range(1, many - 1)])
    assert [record.number for record in claims.records(claim)] == list(range(1, many - 1))
    left = claims.pending(claim)
    assert [request.name for request in left] == [str(many - 1), str(many)]


def test_errors_of_the_database_tell_no_requests(store, engine):
    broken = submission("a", "chair", user_id="someone-in-particular")
    engine.dispose()
    with engine.begin() as connection:
        requests.drop(connection)
    with pytest.raises(Exception, match="etalage_batch_requests") as caught:
        store.submit(broken)
    assert "someone" not in str(caught.value)
