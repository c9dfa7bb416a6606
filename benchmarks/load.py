"""Open-loop load: calls at random moments that wait for nobody, and what became of them.

The next call is due at its moment whether or not the last one was answered, and its latency counts
from that moment: a slow system can't slow its own load down, nor hide what it made callers wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product as pairs
from typing import Any

import numpy as np

NUM_STEPS = (4, 8, 20, 50)
SCALES = {1: (1.0, 1.0), 2: (1.0, 1.5), 3: (1.5, 2.0)}
"""Scales of product and shopper that take so many forward rows a step; all are personalized."""


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """How much work an image is: sampling steps, and forward rows in each."""

    num_steps: int
    num_terms: int

    @property
    def product_scale(self) -> float:
        return SCALES[self.num_terms][0]

    @property
    def shopper_scale(self) -> float:
        return SCALES[self.num_terms][1]


KINDS = tuple(Kind(*pair) for pair in pairs(NUM_STEPS, sorted(SCALES)))


@dataclass(frozen=True, slots=True)
class Call:
    """One image, asked for `at_s` after the start and of use for `deadline_s` from then on."""

    at_s: float
    kind: Kind
    product: str
    shopper: str
    seed: int
    deadline_s: float


class Ending(Enum):
    DONE = "done"
    REFUSED = "refused"
    """Turned away for load."""
    EXPIRED = "expired"
    """Let in, and given up by the system or by the caller."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """`latency_s` counts from the moment at which the call was due."""

    call: Call
    ending: Ending
    latency_s: float

    @property
    def is_in_time(self) -> bool:
        return self.ending is Ending.DONE and self.latency_s <= self.call.deadline_s

    @property
    def share(self) -> float:
        """Of the time that it had."""
        return self.latency_s / self.call.deadline_s


Send = Callable[[Call], Coroutine[Any, Any, Ending]]
"""Asks a system for one image; cancelling it hangs up."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who asks for what, and for how long the answer to each kind is of use."""

    products: Sequence[str]
    shoppers: Sequence[str]
    deadlines_s: Mapping[Kind, float]

    def draw(self, calls_per_s: float, duration_s: float, seed: int) -> list[Call]:
        """Poisson arrivals; every call has a seed of its own, so that none repeats another."""
        rng = np.random.default_rng(seed)
        calls: list[Call] = []
        at_s = rng.exponential(1 / calls_per_s)
        while at_s < duration_s:
            kind = KINDS[int(rng.integers(len(KINDS)))]
            product = self.products[int(rng.integers(len(self.products)))]
            shopper = self.shoppers[int(rng.integers(len(self.shoppers)))]
            own_seed = int(rng.integers(2**32))
            deadline_s = self.deadlines_s[kind]
            calls.append(Call(at_s, kind, product, shopper, own_seed, deadline_s))
            at_s += rng.exponential(1 / calls_per_s)
        return calls


async def drive(send: Send, calls: Sequence[Call], patience: float = 1.0) -> list[Answer]:
    """Makes all calls at their moments; callers hang up after `patience` times their deadline."""
    started_s = time.perf_counter()

    async def follow(call: Call) -> Answer:
        await asyncio.sleep(started_s + call.at_s - time.perf_counter())
        due_s = started_s + call.at_s
        left_s = due_s + patience * call.deadline_s - time.perf_counter()
        try:
            ending = await asyncio.wait_for(send(call), left_s)
        except TimeoutError:
            ending = Ending.EXPIRED
        return Answer(call, ending, time.perf_counter() - due_s)

    return list(await asyncio.gather(*(follow(call) for call in calls)))


@dataclass(frozen=True, slots=True)
class Summary:
    """What a stretch of load came to; a quantile of nothing is NaN.

    `p99_s` is of every image that came, in time or not; `p99_share` the same in deadlines.
    `goodput` and `offered` are images per second.
    """

    offered: float
    goodput: float
    p50_s: float
    p99_s: float
    p99_share: float
    refusal_p99_s: float
    admitted_in_time: float
    num_calls: int
    num_late: int
    num_refused: int
    num_expired: int
    num_failed: int


def sum_up(answers: Sequence[Answer], from_s: float, to_s: float) -> Summary:
    """Of the calls due from `from_s` up to `to_s`."""
    seen = [answer for answer in answers if from_s <= answer.call.at_s < to_s]
    by_ending = {e: [answer for answer in seen if answer.ending is e] for e in Ending}
    done, refused = by_ending[Ending.DONE], by_ending[Ending.REFUSED]
    num_good = sum(answer.is_in_time for answer in done)
    num_admitted = len(seen) - len(refused)
    span_s = to_s - from_s
    return Summary(
        offered=len(seen) / span_s,
        goodput=num_good / span_s,
        p50_s=quantile([answer.latency_s for answer in done], 0.5),
        p99_s=quantile([answer.latency_s for answer in done], 0.99),
        p99_share=quantile([answer.share for answer in done], 0.99),
        refusal_p99_s=quantile([answer.latency_s for answer in refused], 0.99),
        admitted_in_time=num_good / num_admitted if num_admitted else math.nan,
        num_calls=len(seen),
        num_late=len(done) - num_good,
        num_refused=len(refused),
        num_expired=len(by_ending[Ending.EXPIRED]),
        num_failed=len(by_ending[Ending.FAILED]),
    )


def quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share)) if values else math.nan
