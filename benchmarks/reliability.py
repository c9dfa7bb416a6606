"""What it takes to know who calls, to sign an image and to erase a shopper; and what stays of the
promises when too many come, and when servers stop.

`python -m benchmarks.reliability [--quick]`. A soak of half an hour is `benchmarks.soak`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from benchmarks import (
    reliability_access,
    reliability_drain,
    reliability_erasure,
    reliability_limits,
    reliability_overload,
    reliability_provenance,
    reliability_timing,
)
from benchmarks.measurement import Options, Report, parse_options

PARTS = (
    reliability_access.measure,
    reliability_provenance.measure,
    reliability_erasure.measure,
    reliability_timing.measure,
    reliability_limits.measure,
    reliability_overload.measure,
    reliability_drain.measure,
)


def main(options: Options) -> int:
    report = Report("reliability", options)
    if options.quick:
        # Servers start side by side: it shows that all works, not how well.
        with ThreadPoolExecutor(len(PARTS)) as threads:
            list(threads.map(lambda measure: measure(report, True), PARTS))
    else:
        for measure in PARTS:
            measure(report, False)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options((__doc__ or "").splitlines()[0])))
