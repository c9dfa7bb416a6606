"""What is not walked twice, or not evaluated: rows and images a second of slates and of a popular
product, of reused predictions, and what the definition costs in taste and identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from tqdm import tqdm

from benchmarks.engine_crowd import PLAIN, REUSE, Crowd, Pair, Verdict
from benchmarks.engine_runs import Run, find_gap, find_psnr, sample
from benchmarks.evaluated_study import SEED
from benchmarks.measurement import Better, Claim, Report
from diffusion.evaluation.metrics import Figure, estimate_difference, estimate_rate
from diffusion.evaluation.study import Mask
from server.core import Pixels
from server.sampling.engine import Engine

MAX_GAP = 1.0
"""Of two pictures of the same definition, in 255ths."""

NUM_CHUNKS = 5
ENOUGH = 192
"""Pictures that points are claimed from; of fewer they are told for information."""

POPULAR = 500
"""Shoppers of whom the target of a popular product speaks."""

LIMITS = {"palette": 2.0, "setting": 2.0, "shown": 1.0}
"""Points that the definition may cost, by what the judge reads. What it reads before the product is
pasted back is told for information: nobody is shown that."""


async def measure_slates(
    report: Report, crowd: Crowd, shared: Engine, unshared: Engine, slates: Sequence[list[Pair]]
) -> None:
    """One shopper, one seed, many products: as it is, shared, and with all that spares work."""
    pairs = [pair for slate in slates for pair in slate]
    runs: dict[str, list[Run]] = {"plain": [], "alone": [], "shared": [], "all": []}
    for slate in tqdm(slates, "slates", leave=False):
        plain = [crowd.ask(pair, rules=PLAIN) for pair in slate]
        runs["plain"].append(await sample(unshared, plain))
        runs["alone"].append(await sample(unshared, [crowd.ask(pair) for pair in slate]))
        runs["shared"].append(await sample(shared, [crowd.ask(pair) for pair in slate]))
        # Nothing is found that the run before left: what reuses has a walk of its own.
        spared = [crowd.ask(pair, max_reuse_error=REUSE) for pair in slate]
        runs["all"].append(await sample(shared, spared))
    _add_saving(report, "slate", runs["shared"], runs["alone"], 0.75)
    _add_saving(report, "slate_reuse", runs["all"], runs["plain"], 0.50)
    verdicts = {name: crowd.judge(pairs, _pictures(runs[name])) for name in ("plain", "all")}
    limits = dict.fromkeys(LIMITS, 2.0) if len(pairs) >= ENOUGH else {}
    add_losses(report, "slate_reuse", verdicts["plain"], verdicts["all"], limits)


async def measure_popular(
    report: Report, crowd: Crowd, shared: Engine, unshared: Engine, num_shoppers: int
) -> None:
    """One product and seed, shoppers of the simulated population: whoever comes next.

    In turns of a fifth each, so that what slows the machine meets both sides; what is kept of one
    turn serves the next ones.
    """
    pairs = [Pair(0, shopper, SEED) for shopper in crowd.shoppers[:num_shoppers]]
    size = -(-num_shoppers // NUM_CHUNKS)
    chunks = [pairs[first : first + size] for first in range(0, num_shoppers, size)]
    alone, together = [], []
    for chunk in tqdm(chunks, "popular", leave=False):
        alone.append(await sample(unshared, [crowd.ask(pair) for pair in chunk]))
        together.append(await sample(shared, [crowd.ask(pair) for pair in chunk]))
    limit = 0.80 if num_shoppers >= POPULAR else None
    _add_saving(report, "popular", [_join(together)], [_join(alone)], limit)
    speeds = [a.seconds / b.seconds for a, b in zip(alone, together, strict=True)]
    report.add("popular_images_per_s_by_fifths", speeds, "x unshared")


async def measure_definition(
    report: Report, crowd: Crowd, engine: Engine, pairs: Sequence[Pair]
) -> None:
    """Mixed products and shoppers: what intervals cost, and what reuse spares and changes."""
    arms = {
        "plain": [crowd.ask(pair, rules=PLAIN) for pair in pairs],
        "own": [crowd.ask(pair) for pair in pairs],
        "reused": [crowd.ask(pair, max_reuse_error=REUSE) for pair in pairs],
    }
    runs = {name: await sample(engine, arm) for name, arm in tqdm(arms.items(), leave=False)}
    verdicts = {name: crowd.judge(pairs, run.pixels) for name, run in runs.items()}
    for name, arm in (("without_intervals", "plain"), ("with_intervals", "own")):
        for field in fields(Verdict):
            figure = estimate_rate(getattr(verdicts[arm], field.name))
            add_figure(report, f"{name}_{field.name}", figure, 100, "%")
    limits = LIMITS if len(pairs) >= ENOUGH else {}
    add_losses(report, "intervals", verdicts["plain"], verdicts["own"], limits)
    _add_rows(report, "reuse", [runs["reused"]], [runs["own"]], 0.70)
    pictures = zip(runs["own"].pixels, runs["reused"].pixels, strict=True)
    psnrs = [find_psnr(*pair) for pair in pictures]
    report.add("reuse_psnr", psnrs, "dB", target=30.0)
    report.add("reuse_psnr_worst", [min(psnrs)], "dB")
    add_losses(report, "reuse", verdicts["own"], verdicts["reused"], {})


def add_losses(
    report: Report, name: str, before: Verdict, after: Verdict, limits: Mapping[str, float]
) -> None:
    """Points by which each rate fell, of the same pairs, with its 95 % interval."""
    for field in fields(Verdict):
        masks: tuple[Mask, Mask] = getattr(before, field.name), getattr(after, field.name)
        figure, limit = estimate_difference(*masks), limits.get(field.name)
        kind = "taste_lost" if field.name in ("palette", "setting") else "identity_lost"
        full_name = f"{name}_{kind}_{field.name}"
        add_figure(report, full_name, figure, 100, "points", target=limit, better="lower")


def add_figure(
    report: Report,
    name: str,
    figure: Figure,
    scale: float,
    unit: str,
    *,
    target: float | None = None,
    better: Better = "higher",
) -> None:
    """A claim whose spread is the 95 % interval."""
    value, low, high = (scale * number for number in (figure.value, figure.low, figure.high))
    holds = None
    if target is not None:
        holds = value >= target if better == "higher" else value <= target
    spread = (low, high)
    full_name = f"{report.name}.{name}"
    report.claims.append(Claim(full_name, value, unit, target, better, holds, figure.n, spread))


def _add_saving(
    report: Report, name: str, runs: Sequence[Run], yardsticks: Sequence[Run], limit: float | None
) -> None:
    _add_rows(report, name, runs, yardsticks, limit)
    speeds = [b.seconds / a.seconds for a, b in zip(runs, yardsticks, strict=True)]
    report.add(f"{name}_images_per_s", speeds, "x without")
    if "reuse" not in name:
        pairs = zip(runs, yardsticks, strict=True)
        gaps = [float(find_gap(a.pixels, b.pixels)) for a, b in pairs]
        report.add(f"{name}_gap", [max(gaps)], "/255", target=MAX_GAP, better="lower")


def _add_rows(
    report: Report, name: str, runs: Sequence[Run], yardsticks: Sequence[Run], limit: float | None
) -> None:
    pairs = zip(runs, yardsticks, strict=True)
    shares = [a.num_forward_rows / b.num_forward_rows for a, b in pairs]
    report.add(f"{name}_rows", shares, "x without", target=limit, better="lower")


def _join(runs: Sequence[Run]) -> Run:
    num_rows = sum(run.num_forward_rows for run in runs)
    return Run(_pictures(runs), num_rows, sum(run.seconds for run in runs))


def _pictures(runs: Sequence[Run]) -> list[Pixels]:
    return [picture for run in runs for picture in run.pixels]
