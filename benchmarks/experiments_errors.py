"""How often an experiment's report is wrong, on experiments whose truth is known.

Experiments are simulated at the level of sums over shoppers and put through the very code that
makes a report. Shoppers differ: who comes often clicks more readily (so that images are not
independent), few buy, and what they pay has a heavy tail. What they did before the experiment comes
from the same shopper.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Report
from server.experiments.analysis.columns import BEFORE, FINE
from server.experiments.analysis.metrics import METRICS, Estimate, Interval, compare
from server.experiments.analysis.moments import Moments, pair_up
from server.experiments.analysis.off_policy import Decisions, estimate_arms
from server.experiments.analysis.sample_ratio import check_sample_ratio
from server.experiments.analysis.settings import AnalysisSettings

SETTINGS = AnalysisSettings()
CHECKED = ("conversion", "ctr", "value")
NUM_UNITS = 4000
"""Shoppers of each arm."""
NUM_LOOKS = 20
LIFT = 1.15
CLICK, BUY, PRICE, TAIL = 0.06, 0.08, 30.0, 1.2
CHUNK = 50
"""Experiments that are simulated at once."""

OFF_ERROR, OFF_COVERAGE = 0.01, 0.015
FALSE_ALARM, DETECTED = 0.002, 0.95

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Counts = dict[str, Floats]
"""Of each column [experiments, shoppers] or [experiments, shoppers, looks]."""


@dataclass(frozen=True, slots=True)
class Size:
    """Experiments of each kind."""

    once: int
    peeking: int
    splits: int
    bandits: int


FULL, QUICK = Size(5000, 1500, 20_000, 1000), Size(200, 50, 2000, 100)


def measure_errors(report: Report, *, quick: bool) -> None:
    """Adds the claims."""
    size = QUICK if quick else FULL
    report.add("simulated_experiments", [size.once], "experiments")
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:

        def simulate(work: Callable[[int], Floats], count: int) -> Floats:
            return np.concatenate(list(pool.map(work, range(-(-count // CHUNK)))))

        for is_adjusted in (False, True):
            name = "cuped" if is_adjusted else "plain"
            work = partial(simulate_once, lift=1.0, is_adjusted=is_adjusted)
            add_errors(report, name, simulate(work, size.once))
            work = partial(simulate_once, lift=LIFT, is_adjusted=is_adjusted)
            add_coverage(report, name, simulate(work, size.once))
        add_peeking(report, simulate(simulate_peeking, size.peeking))
        add_splits(report, size.splits)
        add_bandits(report, simulate(simulate_bandit, size.bandits))


def add_off(report: Report, claim: str, off: float, most: float) -> None:
    """How far a rate is from what it should be. A quick run is too small to tell."""
    target = None if report.options.quick else most
    report.add(claim, [abs(off)], "share", target=target, better="lower")


def add_errors(report: Report, name: str, found: Floats) -> None:
    """Of experiments without an effect."""
    for column, metric in enumerate(CHECKED):
        rate = float(np.mean(found[:, column, 0] <= SETTINGS.alpha))
        report.add(f"aa_errors_{metric}_{name}", [rate], "share", better="lower")
        off = abs(rate - SETTINGS.alpha)
        report.add(
            f"aa_errors_off_{metric}_{name}", [off], "share", target=OFF_ERROR, better="lower"
        )


def add_coverage(report: Report, name: str, found: Floats) -> None:
    for column, metric in enumerate(CHECKED):
        for kind, inside in (("effect", 1), ("lift", 2)):
            rate = float(found[:, column, inside].mean())
            report.add(f"coverage_{kind}_{metric}_{name}", [rate], "share")
            off = rate - (1 - SETTINGS.alpha)
            add_off(report, f"coverage_off_{kind}_{metric}_{name}", off, OFF_COVERAGE)
        removed = float(found[:, column, 3].mean())
        if removed:
            report.add(f"variance_removed_{metric}", [removed], "share")


def add_peeking(report: Report, found: Floats) -> None:
    """Of experiments without an effect that somebody looks at again and again."""
    for column, metric in enumerate(CHECKED):
        once, always = (float(found[:, column, kind].mean()) for kind in (0, 1))
        report.add(f"peeking_errors_fixed_{metric}", [once], "share", better="lower")
        claim = f"peeking_errors_sequential_{metric}"
        report.add(claim, [always], "share", target=SETTINGS.alpha, better="lower")


def add_splits(report: Report, count: int) -> None:
    rng, weights = np.random.default_rng(5), {"a": 0.5, "b": 0.5}
    for name, share, target in (("false_alarms", 0.5, FALSE_ALARM), ("detected", 0.52, DETECTED)):
        firsts = rng.binomial(20_000, share, count)
        flags = [
            check_sample_ratio({"a": int(n), "b": 20_000 - int(n)}, weights).is_mismatch
            for n in firsts
        ]
        rate, claim = float(np.mean(flags)), f"sample_ratio_{name}"
        if name == "detected":
            report.add(claim, [rate], "share", target=target)
        else:
            report.add(claim, [rate], "share", target=target, better="lower")


def add_bandits(report: Report, found: Floats) -> None:
    for column, estimator in enumerate(("ips", "snips", "dr")):
        rate = float(found[:, column].mean())
        report.add(f"off_policy_coverage_{estimator}", [rate], "share")
        off = rate - (1 - SETTINGS.alpha)
        add_off(report, f"off_policy_coverage_off_{estimator}", off, OFF_COVERAGE)


def simulate_once(seed: int, *, lift: float, is_adjusted: bool) -> Floats:
    """[experiments, metrics, (p-value, effect is in its interval, lift is in its, variance
    removed)]."""
    rng = np.random.default_rng((1, seed, round(100 * lift), is_adjusted))
    sides = [draw(rng, CHUNK, arm, is_adjusted=is_adjusted) for arm in (1.0, lift)]
    both = [list(sum_up(side)) for side in sides]
    truths = {"conversion": BUY, "ctr": find_ctr(), "value": BUY * PRICE * np.exp(TAIL**2 / 2)}
    rows = []
    for baseline, arm in zip(*both, strict=True):
        found = [estimate(metric, baseline, arm) for metric in CHECKED]
        rows.append(
            [
                (
                    each.p_value,
                    covers(each.effect_interval, truths[metric] * (lift - 1)),
                    covers(each.lift_interval, lift - 1),
                    each.variance_removed,
                )
                for metric, each in zip(CHECKED, found, strict=True)
            ]
        )
    return np.array(rows, np.float64)


def simulate_peeking(seed: int) -> Floats:
    """[experiments, metrics, (ever different for one look, ever for the sequential interval)].
    Shoppers come one after another and come back, and somebody looks `NUM_LOOKS` times."""
    rng = np.random.default_rng((2, seed))
    looks = [list(draw_looks(rng, CHUNK)) for _ in range(2)]
    found = np.zeros((CHUNK, len(CHECKED), 2))
    for baselines, arms in zip(*looks, strict=True):
        for row, (baseline, arm) in enumerate(zip(baselines, arms, strict=True)):
            for column, metric in enumerate(CHECKED):
                if each := compare(METRICS[metric], baseline, arm, SETTINGS):
                    is_told = (
                        each.p_value <= SETTINGS.alpha,
                        each.effect_sequential.excludes(0.0),
                    )
                    found[row, column] = np.maximum(found[row, column], is_told)
    return found


def draw(
    rng: np.random.Generator, num_experiments: int, lift: float, *, is_adjusted: bool
) -> Counts:
    """What each shopper of one arm did, in and before the experiment."""
    eager = rng.gamma(2.0, 0.5, (num_experiments, NUM_UNITS))
    shown, shown_before = 1 + rng.poisson(6 * eager), rng.poisson(12 * eager)
    ready = 0.5 + 0.5 * eager
    bought, bought_before = (rng.random(eager.shape) < BUY * ready * x for x in (lift, 1.0))
    counts = {
        "shown": shown,
        "clicks": rng.binomial(shown, CLICK * ready * lift),
        "bought": bought,
        "value": spend(rng, bought),
        "pre_shown": shown_before,
        "pre_clicks": rng.binomial(shown_before, CLICK * ready),
        "pre_purchases": bought_before,
        "pre_value": spend(rng, bought_before),
    }
    if not is_adjusted:
        counts |= {name: np.zeros(eager.shape) for name in counts if name.startswith("pre_")}
    return {name: count.astype(np.float64) for name, count in counts.items()}


def spend(rng: np.random.Generator, buys: NDArray[np.bool_]) -> Floats:
    """What those who buy pay, as an analysis counts money."""
    prices: Floats = rng.lognormal(np.log(FINE * PRICE), TAIL, buys.shape)
    return prices.round() * buys


def find_ctr() -> float:
    """Of shoppers of `draw`: those who see more images click more readily."""
    eager, squared = 1.0, 1.5
    return float(CLICK * (0.5 + 3.5 * eager + 3.0 * squared) / (1 + 6 * eager))


def draw_looks(rng: np.random.Generator, num_experiments: int) -> Iterator[list[Moments]]:
    """Of one arm, what had happened by each look."""
    shape = num_experiments, NUM_UNITS
    eager, arrival = rng.gamma(2.0, 0.5, shape), rng.integers(0, NUM_LOOKS, shape)
    ready = 0.5 + 0.5 * eager
    sums = {name: np.zeros(shape) for name in ("shown", "clicks", "purchases", "value")}
    nothing = {column.name: np.zeros(shape) for column in BEFORE}
    for look in range(NUM_LOOKS):
        is_here = arrival <= look
        shown = is_here * rng.poisson(eager) + (arrival == look)
        buys = is_here & (rng.random(shape) < BUY * ready / 4)
        sums["shown"] += shown
        sums["clicks"] += rng.binomial(shown, CLICK * ready)
        sums["purchases"] += buys
        sums["value"] += spend(rng, buys)
        bought = {"bought": (sums["purchases"] > 0).astype(np.float64)}
        yield list(sum_up(sums | bought | nothing, is_here))


def sum_up(counts: Counts, is_here: NDArray[np.bool_] | None = None) -> Iterator[Moments]:
    """Of each experiment; who is not here has zeros everywhere."""
    needed = sorted({name for metric in CHECKED for name in METRICS[metric].names})
    table = np.stack([counts[name] for name in needed], axis=1)
    products = table @ table.transpose(0, 2, 1)
    sizes = np.full(len(table), NUM_UNITS) if is_here is None else is_here.sum(axis=1)
    places = {name: place for place, name in enumerate(needed)}
    for size, sums, squares in zip(sizes, table.sum(axis=2), products, strict=True):
        yield Moments(
            int(size),
            {name: int(sums[place]) for name, place in places.items()},
            {(a, b): int(squares[places[a], places[b]]) for a, b in pair_up(needed)},
        )


def estimate(metric: str, baseline: Moments, arm: Moments) -> Estimate:
    found = compare(METRICS[metric], baseline, arm, SETTINGS)
    assert found is not None
    return found


def covers(interval: Interval, truth: float) -> bool:
    return not interval.excludes(truth)


NUM_DECISIONS, NUM_SHOPPERS, NUM_ARMS = 4000, 1500, 3
TASTES = np.array([[-1.5, 0.0, 0.0], [-1.3, 0.8, -0.4], [-1.4, -0.5, 0.9]])
"""Log odds of a click of each arm: constant, and for each of two features of a context."""


def simulate_bandit(seed: int) -> Floats:
    """[experiments, estimators]: whether what an arm would have brought is in the interval, as a
    share of the arms."""
    rng = np.random.default_rng((3, seed))
    truths = find_arm_values()
    found = []
    for _ in range(CHUNK):
        policies = estimate_arms(draw_decisions(rng), ("a", "b", "c"), SETTINGS.alpha)
        values = [(each.ips, each.snips, each.dr) for each in policies]
        inside = [
            [covers(value.interval, truth) for value in row]
            for row, truth in zip(values, truths, strict=True)
        ]
        found.append(np.mean(inside, axis=0))
    return np.array(found)


def draw_decisions(rng: np.random.Generator) -> Decisions:
    """Of a bandit that believes in something near the truth, and tries a tenth at random."""
    features = rng.normal(size=(NUM_SHOPPERS, 2))
    shoppers = rng.integers(0, NUM_SHOPPERS, NUM_DECISIONS)
    contexts = features[shoppers]
    inputs = np.column_stack([np.ones(NUM_DECISIONS), contexts])
    believed = np.exp(inputs @ (0.8 * TASTES).T)
    chances = 0.9 * believed / believed.sum(axis=1, keepdims=True) + 0.1 / NUM_ARMS
    arms = (chances.cumsum(axis=1) < rng.random((NUM_DECISIONS, 1))).sum(axis=1)
    rows = np.arange(NUM_DECISIONS)
    clicked = rng.random(NUM_DECISIONS) < squash(inputs @ TASTES.T)[rows, arms]
    propensities = chances[rows, arms]
    return Decisions(shoppers, arms, propensities, clicked.astype(float), contexts, NUM_ARMS)


def find_arm_values() -> Sequence[float]:
    """By Gauss and Hermite's quadrature over the two normal features."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    one, other = np.meshgrid(nodes, nodes)
    both = np.outer(weights, weights)
    return [float((both * squash(c + a * one + b * other)).sum()) for c, a, b in TASTES]


def squash(odds: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))
