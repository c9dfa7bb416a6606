"""What is measured of one model on one device, with no server and no features around it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import torch

from benchmarks.engine_runs import (
    ask_engine,
    count_equal,
    find_gap,
    find_psnr,
    measure_saturated,
    running_engine,
    sample,
    time_bare,
    time_forwards,
)
from benchmarks.measurement import Report
from server.sampling.engine import EngineLimits
from server.sampling.forward import SamplingModel
from server.sampling.row import RowRequest

REUSE = 0.08
"""The server's own limit; `server.rows` itself is not imported, since it knows the features."""

COMPILING_S = 100.0
"""What a large network may take to compile."""


class Crowd(Protocol):
    """A model, and rows for it: of a product for a shopper, both by number."""

    @property
    def model(self) -> SamplingModel: ...

    def ask(
        self, product: int, shopper: int, seed: int, num_steps: int, max_reuse_error: float = 0.0
    ) -> RowRequest: ...


@dataclass(frozen=True, slots=True)
class Size:
    """How much of one model is measured; images at saturation come in whole batches."""

    buckets: tuple[int, ...]
    num_steps: int
    rounds: int
    slate: int
    strict_bucket: int


class Bench:
    """All that is measured of one model; what fails or comes too late is told in the report."""

    def __init__(self, name: str, crowd: Crowd, size: Size, report: Report, end_s: float) -> None:
        self.name, self.crowd, self.size = name, crowd, size
        self._report, self._end_s = report, end_s
        self._buckets: list[int] = []
        self._best = 0
        self._warm = [self._row(0)]

    async def run(self) -> None:
        for part in (self.curve, self.efficiency, self.sharing, self.reuse, self.strict):
            await self._try(part)

    async def _try(self, part: Callable[[], Awaitable[None]], needs_s: float = 0.0) -> None:
        name, missing = f"{self.name}.{part.__name__}", self._report.environment["not_measured"]
        if time.monotonic() + needs_s > self._end_s:
            missing[name] = "no time left"
            return
        started_s = time.monotonic()
        try:
            await part()
        except Exception as error:  # one part that breaks must not cost the others on a lent device
            missing[name] = f"{type(error).__name__}: {error}"
        self._report.environment["seconds"][name] = round(time.monotonic() - started_s, 1)

    async def curve(self) -> None:
        """Forwards by bucket, as large as memory lets them be."""
        rates: dict[int, list[float]] = {}
        for bucket in self.size.buckets:
            try:
                seconds = self._time_forwards(bucket)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                break
            self._buckets.append(bucket)
            rates[bucket] = [bucket / s for s in seconds]
            self._add(f"rows_per_s_of_{bucket}", rates[bucket], "rows/s")
        self._best = max(rates, key=lambda bucket: median(rates[bucket]))
        gain = median(rates[self._best]) / median(rates[1])
        self._add("rows_per_s_over_one_at_a_time", [gain], "x")

    async def efficiency(self) -> None:
        """Saturated, in turns with the bare loop at its best batch."""
        num_images = self._best // len(self._warm[0].walk[-1].terms)
        rows = [self._row(number) for number in range(num_images)]
        bare, own = [], []
        time_bare(self.crowd.model, rows, num_images)
        with running_engine([self.crowd.model], self._warm, self._limits()) as engine:
            ask = ask_engine(engine, self._row)
            for _ in range(self.size.rounds):
                bare.append(time_bare(self.crowd.model, rows, num_images))
                amounts = 2 * num_images, num_images, num_images
                own.append(await measure_saturated(ask, *amounts))
        self._add("bare_images_per_s", bare, "images/s")
        self._add("images_per_s", own, "images/s")
        ratios = [a / b for a, b in zip(own, bare, strict=True)]
        self._add("efficiency", ratios, "of the bare loop", target=0.95)

    async def sharing(self) -> None:
        """A slate: one shopper and seed, many products."""
        await self._compare("slate", lambda number, seed: self._row(number, 0, seed), 0.0)

    async def reuse(self) -> None:
        """The same for mixed rows that let predictions stand for the next ones."""
        await self._compare("reuse", lambda number, seed: self._row(number, number, seed), REUSE)

    async def _compare(
        self, name: str, make: Callable[[int, int], RowRequest], max_reuse_error: float
    ) -> None:
        model, num_steps = self.crowd.model, self.size.num_steps
        numbers = range(self.size.slate)
        shares, speeds, gaps, psnrs = [], [], [], []
        with (
            running_engine([model], self._warm, self._limits()) as engine,
            running_engine([model], self._warm, self._limits(is_sharing=False)) as yardstick,
        ):
            spared = yardstick if max_reuse_error else engine
            for seed in range(self.size.rounds):
                chosen = [(n, n if max_reuse_error else 0, seed) for n in numbers]
                whole = await sample(yardstick, [self.crowd.ask(*c, num_steps) for c in chosen])
                asked = [self.crowd.ask(*c, num_steps, max_reuse_error) for c in chosen]
                less = await sample(spared, asked)
                shares.append(less.num_forward_rows / whole.num_forward_rows)
                speeds.append(whole.seconds / less.seconds)
                gaps.append(float(find_gap(less.pixels, whole.pixels)))
                pairs = zip(less.pixels, whole.pixels, strict=True)
                psnrs += [find_psnr(*pair) for pair in pairs]
        self._add(f"{name}_rows", shares, "x without", better="lower")
        self._add(f"{name}_images_per_s", speeds, "x without")
        if max_reuse_error:
            self._add(f"{name}_psnr", psnrs, "dB")
        else:
            self._add(f"{name}_gap", gaps, "/255", better="lower")

    async def strict(self) -> None:
        """The same rows alone and in a crowd, in strict mode: equal to the last bit."""
        limits = self._limits(buckets=(self.size.strict_bucket,), is_strict=True)
        few = [self._row(number) for number in range(3)]
        others = [self._row(number) for number in range(100, 100 + 2 * self.size.strict_bucket)]
        with running_engine([self.crowd.model], self._warm, limits) as engine:
            alone = [(await sample(engine, [row])).pixels[0] for row in few]
        with running_engine([self.crowd.model], self._warm, limits) as engine:
            crowd = await sample(engine, [*others[::2], *few, *others[1::2]])
        found = crowd.pixels[len(others[::2]) :][: len(few)]
        self._add("strict_equal", [count_equal(alone, found) / len(few)], "share", target=1.0)

    async def compare_compiled(self, compile: Callable[[], None]) -> None:
        """Last of all, since nothing undoes it."""

        async def compiled() -> None:
            bucket = self.size.strict_bucket
            before = self._time_forwards(bucket)
            compile()
            self._time_forwards(bucket)
            speeds = [median(before) / s for s in self._time_forwards(bucket)]
            self._add(f"compiled_forward_of_{bucket}", speeds, "x eager")

        await self._try(compiled, COMPILING_S)

    def _time_forwards(self, bucket: int) -> list[float]:
        return time_forwards(self.crowd.model, self._warm[0], bucket, 5)

    def _row(self, number: int, shopper: int | None = None, seed: int | None = None) -> RowRequest:
        shopper = number if shopper is None else shopper
        seed = number if seed is None else seed
        return self.crowd.ask(number % 64, shopper, seed, self.size.num_steps)

    def _limits(self, **changed: object) -> EngineLimits:
        told: dict[str, object] = {"buckets": tuple(self._buckets), "max_rows": 4096, **changed}
        return EngineLimits(**told)  # type: ignore[arg-type]

    def _add(self, name: str, values: Sequence[float], unit: str, **told: object) -> None:
        self._report.add(f"{self.name}.{name}", values, unit, **told)  # type: ignore[arg-type]
