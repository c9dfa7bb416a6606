"""What every benchmark shares: options, claims, the machine they were measured on, one report.

A benchmark makes a `Report`, adds claims to it and ends with `report.finish()`, which writes
`out/bench/<name>.json` and prints the same as a table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "diffusers", "transformers", "feast", "grpcio", "numpy", "pyarrow", "uvloop")

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    quick: bool
    strict: bool
    out: Path


def parse_options(description: str, arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, under 50 s")
    parser.add_argument("--strict", action="store_true", help="fail where a claim does not hold")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "out" / "bench", help="folder of reports"
    )
    return Options(**vars(parser.parse_args(arguments)))


@dataclass(frozen=True, slots=True)
class Claim:
    """One measured number: the median of `n` repetitions, `spread` the lowest and the highest.

    Without a `target` it is told for information, and `holds` is None.
    """

    name: str
    value: float
    unit: str
    target: float | None
    better: Better
    holds: bool | None
    n: int
    spread: tuple[float, float]


def make_claim(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    target: float | None = None,
    better: Better = "higher",
) -> Claim:
    value = statistics.median(values)
    holds = None
    if target is not None:
        holds = value >= target if better == "higher" else value <= target
    spread = (min(values), max(values))
    return Claim(name, value, unit, target, better, holds, len(values), spread)


class Report:
    """The claims of one benchmark, in the order in which they were made."""

    def __init__(self, name: str, options: Options, device: str = "cpu") -> None:
        self.name = name
        self.options = options
        self.claims: list[Claim] = []
        # Before the work: what the machine was like when it began.
        self.environment = describe_environment(device) | {"quick": options.quick}

    def add(
        self,
        name: str,
        values: Sequence[float],
        unit: str,
        *,
        target: float | None = None,
        better: Better = "higher",
    ) -> None:
        claim = make_claim(f"{self.name}.{name}", values, unit, target=target, better=better)
        self.claims.append(claim)

    def finish(self) -> int:
        """Writes and prints it all; the exit status, 1 where `--strict` finds a broken claim."""
        self.options.out.mkdir(parents=True, exist_ok=True)
        path = self.options.out / f"{self.name}.json"
        claims = [asdict(claim) for claim in self.claims]
        document = {"environment": self.environment, "claims": claims}
        path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        print(f"\n{format_table(self.claims)}\n\n{format_environment(self.environment)}\n{path}")
        is_broken = any(claim.holds is False for claim in self.claims)
        return int(self.options.strict and is_broken)


def format_table(claims: Sequence[Claim]) -> str:
    rows = [("claim", "value", "unit", "target", "holds", "n", "spread")]
    for claim in claims:
        sign = "≥" if claim.better == "higher" else "≤"
        rows.append(
            (
                claim.name,
                f"{claim.value:.4g}",
                claim.unit,
                "" if claim.target is None else f"{sign} {claim.target:g}",
                {None: "", True: "yes", False: "NO"}[claim.holds],
                str(claim.n),
                f"{claim.spread[0]:.4g} … {claim.spread[1]:.4g}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(r, widths, strict=True)) for r in rows]
    return "\n".join(line.rstrip() for line in lines)


def format_environment(environment: dict[str, Any]) -> str:
    machine = f"{environment['cpu']}, {environment['cores']} cores, {environment['device']}"
    return f"{machine}, load {environment['load']:.1f}, commit {environment['commit'][:12]}"


def describe_environment(device: str) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": name_cpu(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "device": device,
        "load": os.getloadavg()[0],
        "versions": versions,
        "commit": name_commit(),
    }


def name_cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def name_commit() -> str:
    """Of the working tree, with a plus where that holds changes; "unknown" without a commit."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()
