"""Who asks a server as fast as it answers, or at a rate of its own: bytes out, bytes in.

Nothing is parsed here but one answer of a hundred, so that who asks takes little of the machine.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import uvloop

NUM_CHANNELS = 8
NUM_OPEN = 64
DEADLINE_S = 30.0
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it goes over the wire."""

    method: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Latencies:
    """From the moment at which a request was due, to its answer."""

    p50_s: float
    p99_s: float


class Caller:
    """Goes round among channels and requests."""

    def __init__(self, addresses: Sequence[str], asked: Sequence[Asked]) -> None:
        self._channels: list[Any] = [  # the stubs know nothing of aio's defaults
            grpc.aio.insecure_channel(address, OPTIONS)
            for _ in range(NUM_CHANNELS // len(addresses))
            for address in addresses
        ]
        self._calls = itertools.cycle(
            (channel.unary_unary(each.method), each.data)
            for each in asked
            for channel in self._channels
        )

    async def ask(self) -> bytes:
        call, data = next(self._calls)
        answer: bytes = await call(data, timeout=DEADLINE_S)
        return answer

    async def close(self) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels))


def ask_each(addresses: Sequence[str], asked: Sequence[Asked]) -> list[bytes]:
    """The answers of every server to every request, for which it may have to make an image."""
    return uvloop.run(_ask_each(addresses, asked))


def measure_rate(addresses: Sequence[str], asked: Sequence[Asked], seconds: float) -> float:
    """Answers a second, with so many requests open all the while."""
    return uvloop.run(_measure_rate(addresses, asked, seconds))


def measure_latency(
    addresses: Sequence[str], asked: Sequence[Asked], rate: float, seconds: float
) -> Latencies:
    """Requests come at random, `rate` a second, whether or not others are answered."""
    return uvloop.run(_measure_latency(addresses, asked, rate, seconds))


async def _ask_each(addresses: Sequence[str], asked: Sequence[Asked]) -> list[bytes]:
    answers: list[bytes] = []
    for address in addresses:
        async with grpc.aio.insecure_channel(address, OPTIONS) as channel:
            open_call: Any = channel.unary_unary
            for each in asked:
                answers.append(await open_call(each.method)(each.data))
    return answers


async def _measure_rate(addresses: Sequence[str], asked: Sequence[Asked], seconds: float) -> float:
    caller, count = Caller(addresses, asked), 0
    begun_s = time.perf_counter()
    warm_s, end_s = begun_s + seconds / 6, begun_s + seconds

    async def be_client() -> None:
        nonlocal count
        while time.perf_counter() < end_s:
            await caller.ask()
            count += time.perf_counter() >= warm_s

    await asyncio.gather(*(be_client() for _ in range(NUM_OPEN)))
    took_s = time.perf_counter() - warm_s
    await caller.close()
    return count / took_s


async def _measure_latency(
    addresses: Sequence[str], asked: Sequence[Asked], rate: float, seconds: float
) -> Latencies:
    caller, rng = Caller(addresses, asked), np.random.default_rng(0)
    moments_s = np.cumsum(rng.exponential(1 / rate, int(rate * seconds))).tolist()
    taken_s: list[float] = []
    await asyncio.gather(*(caller.ask() for _ in range(NUM_CHANNELS)))
    begun_s = time.perf_counter()

    async def ask(due_s: float) -> None:
        await caller.ask()
        if due_s >= begun_s + seconds / 6:  # what came before is for warming
            taken_s.append(time.perf_counter() - due_s)

    async with asyncio.TaskGroup() as group:
        for moment_s in moments_s:
            if (wait_s := begun_s + moment_s - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            group.create_task(ask(begun_s + moment_s))
    await caller.close()
    p50_s, p99_s = np.quantile(taken_s, [0.5, 0.99]).tolist()
    return Latencies(p50_s, p99_s)
