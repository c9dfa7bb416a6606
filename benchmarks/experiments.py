"""Experiments: what assigning and recording take, and how often the statistics are wrong.

`python -m benchmarks.experiments [--quick]`. PostgreSQL is measured where Debian's packages are.
"""

from __future__ import annotations

from benchmarks.experiments_assignment import TARGET_US, measure_assignment
from benchmarks.experiments_errors import measure_errors
from benchmarks.experiments_events import measure_events
from benchmarks.experiments_report import measure_report
from benchmarks.measurement import Options, Report, parse_options


def main(options: Options) -> int:
    report = Report("experiments", options)
    for name, values_us in measure_assignment(10 if options.quick else 100).items():
        report.add(f"assignment.{name}", values_us, "us", target=TARGET_US, better="lower")
    measure_events(report, options.quick)
    measure_report(report, quick=options.quick)
    measure_errors(report, quick=options.quick)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options((__doc__ or "").splitlines()[0])))
