"""Peers: jobs arrive whole, the queue is fair, and claims are made against the best of them."""

import asyncio
import dataclasses
import json

import numpy as np
import pytest

from benchmarks.load import Call, Ending, Kind, sum_up
from benchmarks.measurement import Options, Report
from benchmarks.peers.crowd import World
from benchmarks.peers.findings import Runs, add_claims, draw
from benchmarks.peers.processes import _ask_by_http
from benchmarks.peers.servers.queue_server import QueueServer
from benchmarks.peers.servers.sampling import EXPIRED, Job
from benchmarks.peers.systems import ONE_AT_A_TIME, PEERS

EMPTY = sum_up([], 0.0, 1.0)
CALL = Call(0.0, Kind(20, 3), "bag", "ann", 7, 5.0)


@pytest.fixture
def world(tmp_path):
    vector = np.arange(8, dtype=np.float32)
    return World(
        tmp_path / "home", tmp_path / "crowd.npz", {("ann", "bag"): vector}, {"ann": -vector}
    )


def test_a_job_is_read_as_it_was_told(world):
    job = Job.read(world.tell_job(CALL, expires_s=12.5))
    assert (job.product, job.num_steps, job.seed, job.expires_s) == ("bag", 20, 7, 12.5)
    assert (job.product_scale, job.shopper_scale) == (1.5, 2.0)
    np.testing.assert_array_equal(job.shopper, np.arange(8, dtype=np.float32))
    np.testing.assert_array_equal(job.taste, -job.shopper)


def test_every_peer_gets_the_whole_job_in_its_own_wrapping(world):
    told = world.tell_job(CALL, expires_s=12.5)
    lit, ray, bento, triton = (json.loads(peer.wrap(told, 5.0)) for peer in PEERS)
    assert lit == ray == bento["jobs"][0] == json.loads(told)
    (tensor,) = triton["inputs"]
    assert json.loads(tensor["data"][0]) == json.loads(told)
    assert triton["parameters"]["timeout"] == 5_000_000


def test_an_empty_answer_is_no_image():
    by_name = {peer.name: peer for peer in PEERS}
    assert not by_name["BentoML"].is_image(b'[""]')
    assert by_name["BentoML"].is_image(b'["iVBORw0KGgo="]')
    assert not by_name["PyTriton"].is_image(b'{"outputs": []}\0\0\0\0')


class SlowSampler:
    """Remembers its batches; answers the seed, or nothing to who is late."""

    def __init__(self):
        self.batches = []

    def sample_batch(self, jobs):
        self.batches.append([job.seed for job in jobs])
        return [EXPIRED if job.expires_s < 0 else b"%d" % job.seed for job in jobs]


async def serve(sampler, max_batch):
    server = QueueServer(sampler, max_batch)
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    return server, listening, listening.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("max_batch", "batches"), [(1, [[0], [1], [2], [3]]), (3, [[0, 1, 2], [3]])]
)
async def test_the_queue_serves_in_order_and_batches_up_to_its_limit(world, max_batch, batches):
    sampler = SlowSampler()
    server, listening, port = await serve(sampler, max_batch)
    send = _ask_by_http(ONE_AT_A_TIME, world, port)
    calls = [dataclasses.replace(CALL, seed=seed) for seed in range(4)]
    waiting: list[asyncio.Task[Ending]] = []
    for number, call in enumerate(calls):  # all are in the queue, in order, before it is served
        waiting.append(asyncio.create_task(send(call)))
        while server._queue.qsize() <= number:
            await asyncio.sleep(0.001)
    sampling = asyncio.create_task(server.sample())
    assert await asyncio.gather(*waiting) == [Ending.DONE] * 4
    assert sampler.batches == batches
    sampling.cancel()
    listening.close()


async def test_the_queue_skips_who_hung_up_and_says_who_was_late(world):
    sampler = SlowSampler()
    server, listening, port = await serve(sampler, 1)
    send = _ask_by_http(ONE_AT_A_TIME, world, port)
    gone = asyncio.create_task(send(CALL))
    while not server._queue.qsize():
        await asyncio.sleep(0.001)
    gone.cancel()
    (waiting,) = server._queue._queue
    while not waiting.answer.cancelled():
        await asyncio.sleep(0.001)
    sampling = asyncio.create_task(server.sample())
    late = dataclasses.replace(CALL, seed=8, deadline_s=-1e12)
    assert await send(late) is Ending.EXPIRED
    assert [8] in sampler.batches and [7] not in sampler.batches
    sampling.cancel()
    listening.close()


async def test_nobody_at_the_port_is_a_failure(world):
    server, listening, port = await serve(SlowSampler(), 1)
    listening.close()
    await listening.wait_closed()
    assert await _ask_by_http(ONE_AT_A_TIME, world, port)(CALL) is Ending.FAILED


def summary(goodput, p99_s=1.0, **rest):
    return dataclasses.replace(
        EMPTY, offered=4.0, num_calls=40, goodput=goodput, p99_s=p99_s, p99_share=0.5, **rest
    )


@pytest.fixture
def runs():
    found = Runs()
    for load, ours, poor, good in ((0.9, 4.0, 0.5, 1.0), (1.5, 6.0, 0.0, 2.0)):
        for factor in (0.9, 1.0, 1.1):
            own = summary(ours * factor, 0.4, admitted_in_time=1.0, refusal_p99_s=0.002)
            found.add("etalage", load, own)
            found.add("poor", load, summary(poor, 0.1))
            found.add("good", load, summary(good))
    found.add("etalage", 3.0, summary(5.7))
    return found


def test_claims_are_made_against_the_best_in_the_same_round(runs, tmp_path, capsys):
    report = Report("peers", Options(quick=True, strict=False, out=tmp_path))
    add_claims(report, runs)
    claims = {claim.name.removeprefix("peers."): claim for claim in report.claims}
    assert claims["goodput_ratio_0.9x"].value == pytest.approx(4.0)
    assert claims["goodput_ratio_0.9x"].unit == "x good"
    assert claims["goodput_ratio_1.5x"].spread == pytest.approx((2.7, 3.3))
    assert claims["p99_ratio_1.5x"].value == pytest.approx(0.4)
    assert claims["goodput_at_3x_of_peak"].value == pytest.approx(0.95)
    assert claims["admitted_in_time_1.5x"].holds and claims["refusal_p99_ms_1.5x"].holds
    assert claims["goodput_over_poor_1.5x"].value == pytest.approx(60.0)  # as if one had come
    assert claims["in_time_good_1.5x"].value == pytest.approx(0.5)


def test_the_curves_are_drawn(runs, tmp_path):
    assert [path.name for path in draw(runs, tmp_path)] == ["peers_goodput.png", "peers_p99.png"]
