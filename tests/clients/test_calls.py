"""Retries, cancellation, life-cycle."""

import asyncio
import threading
import time

import grpc
import pytest

import etalage
from etalage.v1 import images_pb2 as pb
from tests.clients.scripted import (
    PIXEL,
    cancel_one,
    fail,
    result_of,
    serve,
    sleep_until_cancelled,
    succeed,
)

UNAVAILABLE = fail(grpc.StatusCode.UNAVAILABLE)
FULL = fail(grpc.StatusCode.RESOURCE_EXHAUSTED, pushback_ms=300)
SWIFT = etalage.Retries(initial_backoff_s=0.01, max_backoff_s=0.02)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"])
def test_what_a_repeat_may_cure_is_tried_again_under_the_same_id(face, code):
    trouble = fail(grpc.StatusCode[code])
    with serve(trouble, trouble, succeed) as (server, service):
        result = face.generate(server, "wrench", retries=SWIFT)
    assert len(service.requests) == 3
    assert {request.request_id for request in service.requests} == {result.request_id}


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL", "UNKNOWN"])
def test_what_no_repeat_can_cure_is_tried_once(face, code):
    with serve(fail(grpc.StatusCode[code])) as (server, service):
        with pytest.raises(etalage.EtalageError):
            face.generate(server, "wrench", retries=SWIFT)
    assert len(service.requests) == 1


def test_attempts_are_counted_and_end(face):
    for max_attempts in (1, 2, 5):
        with serve(UNAVAILABLE) as (server, service), pytest.raises(etalage.Unavailable):
            retries = etalage.Retries(max_attempts, initial_backoff_s=0.01, max_backoff_s=0.01)
            face.generate(server, "wrench", retries=retries)
        assert len(service.requests) == max_attempts


def test_the_server_says_how_long_to_wait(face):
    arrivals = []

    def note(answer):
        def noted(request, context):
            arrivals.append(time.monotonic())
            return answer(request, context)

        return noted

    with serve(note(FULL), note(succeed)) as (server, _):
        face.generate(server, "wrench", retries=SWIFT)
    assert arrivals[1] - arrivals[0] >= 0.29  # without pushback: 10 ms


def test_the_server_may_forbid_a_repeat(face):
    never = fail(grpc.StatusCode.UNAVAILABLE, pushback_ms=-1)
    with serve(never, succeed) as (server, service), pytest.raises(etalage.Unavailable):
        face.generate(server, "wrench", retries=SWIFT)
    assert len(service.requests) == 1


def test_a_failing_server_is_not_drowned_in_repeats():
    retries = etalage.Retries(3, initial_backoff_s=0.01, max_backoff_s=0.01, max_tokens=6)
    with serve(UNAVAILABLE) as (server, service), etalage.Client(server, retries=retries) as client:
        for _ in range(6):
            with pytest.raises(etalage.Unavailable):
                client.generate("wrench")
    assert len(service.requests) == 3 + 5  # at half of the tokens repeats end


def test_a_large_packshot_is_tried_again_as_well(face):
    product = etalage.Product("poster", bytes(2_000_000))
    with serve(UNAVAILABLE, succeed) as (server, service):
        face.generate(server, product, retries=SWIFT)
    assert [len(r.inline_product.packshot) for r in service.requests] == [2_000_000] * 2


def test_what_was_cancelled_by_its_id_is_not_tried_again(face):
    gone = fail(grpc.StatusCode.CANCELLED, pushback_ms=-1)
    with serve(gone, succeed) as (server, service), pytest.raises(etalage.Cancelled):
        face.generate(server, "wrench", retries=SWIFT)
    assert len(service.requests) == 1


def test_a_cancel_is_tried_again_since_twice_is_as_good_as_once(face):
    with serve(UNAVAILABLE, cancel_one) as (server, service):
        assert face.cancel(server, "r-1", retries=SWIFT).num_cancelled == 1
    assert [request.request_id for request in service.requests] == ["r-1", "r-1"]


@pytest.mark.parametrize("verb", ["stream", "slate"])
def test_a_stream_that_has_not_begun_is_tried_again(face, verb):
    with serve(UNAVAILABLE, lambda request, context: []) as (server, service):
        subject = ["wrench"] if verb == "slate" else "wrench"
        assert getattr(face, verb)(server, subject, retries=SWIFT) == []
    assert len(service.requests) == 2


def _endless(request, context):
    for step in range(10_000):
        yield pb.StreamImageResponse(progress=pb.Progress(step=step, total_steps=10_000))
        time.sleep(0.005)


def test_closing_a_stream_ends_the_sampling():
    with serve(_endless) as (server, service), etalage.Client(server) as client:
        events = client.stream("wrench")
        next(events)
        events.close()  # type: ignore[attr-defined]
        assert service.freed.wait(5)


async def test_closing_an_async_stream_ends_the_sampling():
    with serve(_endless) as (server, service):
        async with etalage.AsyncClient(server) as client:
            events = client.stream("wrench")
            await anext(events)
            await events.aclose()
            assert await asyncio.to_thread(service.freed.wait, 5)


def _short(ends):
    def answer(request, context):
        context.add_callback(lambda: ends.append("over"))
        yield pb.StreamImageResponse(accepted=pb.Accepted())
        yield pb.StreamImageResponse(result=result_of())
        time.sleep(0.1)
        ends.append("whole")

    return answer


def test_leaving_a_stream_at_its_result_cuts_nothing_short():
    ends: list[object] = []
    with serve(_short(ends)) as (server, _), etalage.Client(server) as client:
        for event in client.stream("wrench"):
            if isinstance(event, etalage.Result):
                break
    assert ends[0] == "whole"


async def test_leaving_an_async_stream_at_its_result_cuts_nothing_short():
    ends: list[object] = []
    with serve(_short(ends)) as (server, _):
        async with etalage.AsyncClient(server) as client:
            async for event in client.stream("wrench"):
                if isinstance(event, etalage.Result):
                    break
    assert ends[0] == "whole"


async def test_cancelling_a_task_ends_its_call_once():
    entered, left = threading.Event(), threading.Event()

    def answer(request, context):
        context.add_callback(left.set)
        entered.set()
        return sleep_until_cancelled(request, context)

    with serve(answer) as (server, service):
        async with etalage.AsyncClient(server, retries=SWIFT) as client:
            task = asyncio.create_task(client.generate("wrench"))
            assert await asyncio.to_thread(entered.wait, 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(left.wait, 5)
    assert len(service.requests) == 1


async def test_many_calls_share_one_async_client():
    def echo(request, context):
        return result_of(images=[pb.Image(data=PIXEL, seed=request.seed)])

    with serve(echo) as (server, _):
        async with etalage.AsyncClient(server) as client:
            results = await asyncio.gather(*(client.generate("w", seed=i) for i in range(32)))
    assert [result.image.seed for result in results] == list(range(32))


def test_a_client_may_be_closed_unused_and_twice():
    client = etalage.Client()
    client.close()
    client.close()

    async def unused() -> None:
        async with etalage.AsyncClient() as client:
            await client.close()

    asyncio.run(unused())


@pytest.mark.parametrize("max_attempts", [0, 6])
def test_attempts_beyond_what_grpc_does_are_refused(max_attempts):
    with pytest.raises(ValueError, match="max_attempts"):
        etalage.Retries(max_attempts)
