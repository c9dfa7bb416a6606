"""What a forward takes: measured by a server, by a benchmark, or by nobody here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE
CPU_BATCH = 16
"""Forward rows in the batches of `engine.bare_images_per_s`."""
BENCHMARK_STEPS = 20
"""Of its images, one forward row each."""


class FiguresMissing(ValueError):
    """Nobody has measured it, and nobody says."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A model as it is asked for where nothing is said: steps, forward rows in each, and its size.

    `key` begins the name under which a server keeps its pace, `claims` those of benchmarks.gpu;
    `state_bytes` are of one walk.
    """

    name: str
    num_steps: int
    num_terms: int
    weights_bytes: int
    state_bytes: int
    key: str
    claims: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind("quality", 20, 1, 64 * MEBIBYTE, 4 * 4 * 8 * 16 * 16, "etalage-default", "default"),
        Kind("fast", 4, 1, 64 * MEBIBYTE, 4 * 4 * 8 * 16 * 16, "etalage-fast", "default"),
        Kind("sdxl", 30, 2, int(6.5 * GIBIBYTE), 4 * 4 * 4 * 128 * 128, "sdxl", "unet"),
    )
}
"""SDXL's size is computed from its configuration, in two bytes a number."""

UNMEASURED = {"sdxl": {2: 0.060, 4: 0.105, 8: 0.200, 16: 0.390}}
"""Seconds of a forward at 1024 pixels, guessed for one H100 or H200 from what others published of
diffusers on the A100 and of MLPerf on the H200. A plan with them says so."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds of a forward by its rows, and where that is from."""

    tick_s: Mapping[int, float]
    source: str
    is_measured: bool

    @property
    def best(self) -> int:
        """The forward of most rows per second."""
        return max(self.tick_s, key=lambda rows: rows / self.tick_s[rows])

    def rate(self, num_rows: int) -> float:
        """Forward rows per second in forwards of so many."""
        return num_rows / self.tick_s[num_rows]


def find_figures(kind: Kind, device: str, results: Path, pace: Path | None = None) -> Figures:
    """A server's own pace where it is given, else what benchmarks found of that device, else a
    guess that is called one. Raises FiguresMissing."""
    if pace is not None:
        return read_pace(kind, pace)
    found = read_cpu(kind, results) if device == "cpu" else read_gpu(kind, results)
    if found is not None:
        return found
    if device != "cpu" and kind.name in UNMEASURED:
        return Figures(UNMEASURED[kind.name], "guessed from what others published", False)
    raise FiguresMissing(
        f"nobody measured {kind.name} on {device}: --step-ms says what a forward takes, or --pace "
        "names the file in which a server keeps it"
    )


def read_pace(kind: Kind, file: Path) -> Figures:
    """What a server keeps below its home, in pace/. Raises FiguresMissing."""
    try:
        kept = json.loads(file.read_text("utf-8"))
        names = f"('{kind.key}'", f"('{kind.key}@"  # with the digest of what was loaded
        known = [found for key, found in kept.items() if key.startswith(names)]
    except (OSError, ValueError, AttributeError) as error:
        raise FiguresMissing(f"{file} is no file of a server's pace: {error}") from error
    if not known:
        raise FiguresMissing(f"{file} knows nothing of {kind.name}")
    return Figures(_check(known[0], file), str(file), True)


def read_gpu(kind: Kind, results: Path) -> Figures | None:
    claims, device = read_claims(results / "gpu.json")
    prefix = f"gpu.{kind.claims}.rows_per_s_of_"
    sizes = {n.removeprefix(prefix): rate for n, rate in claims.items() if n.startswith(prefix)}
    tick_s = {int(size): int(size) / rate for size, rate in sizes.items() if rate > 0}
    return Figures(tick_s, f"benchmarks.gpu on {device}", True) if tick_s else None


def read_cpu(kind: Kind, results: Path) -> Figures | None:
    if kind.claims != "default":
        return None
    claims, device = read_claims(results / "engine.json")
    alone_ms = claims.get("engine.latency_bare_forwards")
    rate = claims.get("engine.bare_images_per_s")
    if not alone_ms or not rate:
        return None
    full_s = CPU_BATCH / (rate * BENCHMARK_STEPS)
    tick_s = {1: alone_ms / 1e3 / BENCHMARK_STEPS, CPU_BATCH: full_s}
    return Figures(tick_s, f"benchmarks.engine on {device}", True)


def read_claims(file: Path) -> tuple[dict[str, float], str]:
    """Values by the names of claims, and the device; none where there is no such file."""
    try:
        document: Any = json.loads(file.read_text("utf-8"))
        told = document["environment"]
        device = told["device"] if told["device"] != "cpu" else f"{told['cores']} cores"
        claims = {str(each["name"]): float(each["value"]) for each in document["claims"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}, ""
    return {name: value for name, value in claims.items() if math.isfinite(value)}, str(device)


def _check(found: Any, file: Path) -> dict[int, float]:
    try:
        tick_s = {int(rows): float(seconds) for rows, seconds in found.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise FiguresMissing(f"{file} is no file of a server's pace: {error}") from error
    if not tick_s or not all(
        rows > 0 and 0 < seconds < math.inf for rows, seconds in tick_s.items()
    ):
        raise FiguresMissing(f"{file} is no file of a server's pace")
    return dict(sorted(tick_s.items()))
