"""docs/reference/measurements.md: what was measured where, and what missed its target."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy.manual.table import fold, tabulate

RESULTS = Path("benchmarks/results")

PREFACE = """# Measurements

Written by `make manual` from `benchmarks/results`: the last full run of each benchmark, with the
machine that it was made on. `python -m benchmarks.NAME` measures again. A figure is the median of
*n* repetitions, beside the lowest and the highest, or a rate with its interval. A commit with a
`+` had changes that were not committed yet. What these figures stand for, and what they do not
say, is in `docs/honesty.md`.
"""

Claim = Mapping[str, Any]


def write() -> str:
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in RESULTS.glob("*.json")}
    results = dict(sorted(found.items()))
    missed = [
        claim
        for result in results.values()
        for claim in result["claims"]
        if claim["holds"] is False
    ]
    parts = [PREFACE, "## What missed its target", "", _tabulate(missed)]
    for name, result in results.items():
        parts += [f"## {name}", "", *_write_environment(result["environment"])]
        parts += ["", _tabulate(result["claims"])]
    return "\n".join(parts)


def _tabulate(claims: list[Claim]) -> str:
    return tabulate(("claim", "value", "unit", "lowest, highest", "n", "target"), map(_row, claims))


def _row(claim: Claim) -> tuple[str, ...]:
    low, high = claim["spread"]
    return (
        fold(claim["name"]),
        _round(claim["value"]),
        str(claim["unit"]),
        "" if low == high else f"{_round(low)}, {_round(high)}",
        str(claim["n"]),
        _tell_target(claim),
    )


def _tell_target(claim: Claim) -> str:
    if claim["target"] is None:
        return ""
    sign = "≥" if claim["better"] == "higher" else "≤"
    return f"{sign} {_round(claim['target'])}: {'met' if claim['holds'] else '**missed**'}"


def _round(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _write_environment(environment: Mapping[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    yield (
        f"{environment['cpu']}, {environment['cores']} cores, device {environment['device']}, "
        f"load {environment['load']:.1f} at the start; commit `{environment['commit'][:12]}"
        f"{'+' if environment['commit'].endswith('+') else ''}`."
    )
    yield f"{versions}."
