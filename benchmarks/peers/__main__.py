"""A mixed crowd before this server, and before others that serve the same checkpoint.

`python -m benchmarks.peers [--quick]`. Calls come at random moments, their sampling takes 4 to 50
steps of 1 to 3 forward rows, and each is of use for three times what it takes alone. All systems
get the same calls in turn. `make bench-peers` makes the environment of the peers, which --quick
leaves out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop
from tqdm import tqdm

from benchmarks.load import Crowd, Summary, drive, sum_up
from benchmarks.measurement import ROOT, Options, Report, parse_options
from benchmarks.peers.crowd import Bare, World, gather_crowd, measure_bare, prepare_crowd
from benchmarks.peers.findings import COMPARED, HIGHEST, Runs, add_claims, draw
from benchmarks.peers.processes import NotRunning, has_environment, running
from benchmarks.peers.systems import ONE_AT_A_TIME, OURS, PEERS, REQUEST_BATCHING, System

FOLDER = ROOT / "out" / "peers" / "crowd"
LOWEST = 0.5
PATIENCE = 2.0
"""Deadlines for which a caller listens on, to see how late a late image is. That costs a peer
nothing: it begins no image after its deadline."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. The first `ramp_s` of a window fill the system and do not count.

    Before it, a system is warmed with bursts of `warming` calls.
    """

    rounds: int
    repeats: int
    """Windows of each load that is compared, in one round."""
    warming: Sequence[int]
    ramp_s: float
    window_s: float
    patience: float
    systems: Sequence[System]

    def loads(self, system: System, number: int) -> Sequence[float]:
        """In capacities: all once, those that are compared each time; ours at the highest too."""
        compared = COMPARED * self.repeats
        if number == 0 and self.repeats > 1:
            return (LOWEST, *compared, HIGHEST)
        return (*compared, HIGHEST) if system is OURS else compared


SYSTEMS = (OURS, ONE_AT_A_TIME, REQUEST_BATCHING, *PEERS)
FULL = Size(
    rounds=1,
    repeats=5,
    warming=(1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 8, 8),
    ramp_s=6.0,
    window_s=12.0,
    patience=PATIENCE,
    systems=SYSTEMS,
)
QUICK = Size(
    rounds=1,
    repeats=1,
    warming=(1, 4),
    ramp_s=0.0,
    window_s=2.0,
    patience=1.0,
    systems=(OURS, REQUEST_BATCHING),
)


class Bench:
    def __init__(self, world: World, bare: Bare, size: Size, folder: Path) -> None:
        self._world, self._bare, self._size, self._folder = world, bare, size, folder
        self._crowd: Crowd = gather_crowd(world, bare)
        self.runs = Runs()
        self.missing: dict[str, str] = {}
        """Systems that could not be measured, and why."""
        self.start_s: dict[str, float] = {}

    async def measure(self) -> None:
        """Every system in turn, again and again: what the machine does meanwhile meets them all."""
        for number in range(self._size.rounds):
            for system in tqdm(self._size.systems, f"round {number + 1}", leave=False):
                if not has_environment(system):
                    self.missing[system.name] = f"no environment at {system.python}"
                if system.name not in self.missing:
                    await self._visit(system, number)

    async def _visit(self, system: System, number: int) -> None:
        log = self._folder / f"{system.name.replace(' ', '_')}.log"
        started_s = time.monotonic()
        try:
            async with running(system, self._world, self._crowd, self._size.warming, log) as send:
                self.start_s[system.name] = time.monotonic() - started_s
                for place, load in enumerate(self._size.loads(system, number)):
                    rate = load * self._bare.images_per_s
                    end_s = self._size.ramp_s + self._size.window_s
                    calls = self._crowd.draw(rate, end_s, seed=1000 * number + place)
                    answers = await drive(send, calls, self._size.patience)
                    summary = sum_up(answers, self._size.ramp_s, end_s)
                    self._tell(system, load, summary)
        except NotRunning as error:
            self.missing[system.name] = str(error)

    def _tell(self, system: System, load: float, summary: Summary) -> None:
        self.runs.add(system.name, load, summary)
        told = {k: round(v, 3) for k, v in asdict(summary).items()}
        tqdm.write(f"{system.name} at {load}x: {told}")


def describe(bench: Bench, bare: Bare, size: Size) -> dict[str, object]:
    """What the numbers can't be read without, for the report."""
    kinds = {f"{k.num_steps} steps, {k.num_terms} rows": s for k, s in bare.unloaded_s.items()}
    return {
        "capacity_images_per_s": bare.images_per_s,
        "capacity_batch_rows": bare.batch_rows,
        "unloaded_s": kinds,
        "window_s": size.window_s,
        "patience_deadlines": size.patience,
        "start_s": bench.start_s,
        "systems": {system.name: dict(system.settings) for system in SYSTEMS},
        "not_measured": {
            **{s.name: "left out by --quick" for s in SYSTEMS if s not in size.systems},
            **bench.missing,
        },
    }


def main(options: Options) -> int:
    report = Report("peers", options)
    size = QUICK if options.quick else FULL
    world = prepare_crowd(FOLDER)
    bare = measure_bare(world, rounds=1 if options.quick else 3)
    bench = Bench(world, bare, size, options.out / "peers")
    uvloop.run(bench.measure())
    report.environment |= describe(bench, bare, size)
    add_claims(report, bench.runs)
    status = report.finish()
    for path in draw(bench.runs, options.out):
        print(path)
    return status


if __name__ == "__main__":
    raise SystemExit(main(parse_options(__doc__ or "")))
