"""Does it personalize, and is it still the product? `make evaluate`.

`python -m benchmarks.evaluation [--quick]` measures the shipped checkpoint on simulated shoppers
that it has never met, beside the baseline, and writes report.html, report.json and contact sheets
to out/evaluation. Also: --checkpoint, --baseline, --judge, --artworks, --world, --report: folders.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from benchmarks.evaluated_study import BASELINE, FULL, QUICK, SEED, Folders, prepare
from benchmarks.measurement import Claim, Options, Report, parse_options
from diffusion.evaluation.findings import (
    Finding,
)
from diffusion.evaluation.report import write_report

INFORMING = ("quality", "latency")


def main(options: Options, folders: Folders) -> int:
    started = time.monotonic()
    report = Report("evaluation", options)
    effort = QUICK if options.quick else FULL
    study = prepare(folders, effort)
    findings = [*study.find_world(folders)]
    for name in study.models:
        findings += study.find_model(name)
    pictures = study.draw_sheets()
    minutes = (time.monotonic() - started) / 60
    notes = ["The shoppers are simulated. Intervals are of 95 %."]
    if BASELINE not in study.models:
        notes.append("The baseline is not trained: its rows are missing.")
    if options.quick:
        notes.append("A quick run: few pictures, wide intervals.")
    facts = {"model": study.digest, "commit": report.environment["commit"][:12]}
    facts |= {"machine": report.environment["cpu"], "seed": str(SEED), "minutes": f"{minutes:.1f}"}
    page = write_report(folders.report, findings, pictures, facts, notes)
    report.claims += pick_claims(findings)
    status = report.finish()
    print(page)
    return status


def pick_claims(findings: Sequence[Finding]) -> list[Claim]:
    """What has a target, the baseline's figure for the same, and what informs."""
    targeted = {(f.section, f.measure, f.at) for f in findings if f.target is not None}
    return [
        Claim(
            f"evaluation.{f.name}",
            f.figure.value,
            f.unit,
            f.target,
            f.better,
            f.holds,
            f.figure.n,
            (f.figure.low, f.figure.high),
        )
        for f in findings
        if (f.section, f.measure, f.at) in targeted or f.section in INFORMING
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    for field in fields(Folders):
        parser.add_argument(f"--{field.name}", type=Path, default=field.default)
    own, rest = parser.parse_known_args()
    raise SystemExit(main(parse_options(__doc__ or "", rest), Folders(**vars(own))))
