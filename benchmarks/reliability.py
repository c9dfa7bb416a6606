"""What it takes to know who calls, to sign an image and to erase a shopper; and what stays of the
promises when too many come, and when servers stop.

`python -m benchmarks.reliability [--quick]`. A soak of half an hour is `benchmarks.soak`.
"""

from __future__ import annotations

import asyncio

from benchmarks import (
    reliability_access,
    reliability_drain,
    reliability_erasure,
    reliability_limits,
    reliability_overload,
    reliability_provenance,
)
from benchmarks.measurement import Options, Report, parse_options


def main(options: Options) -> int:
    report = Report("reliability", options)
    reliability_access.measure(report, options.quick)
    reliability_provenance.measure(report, options.quick)
    reliability_erasure.measure(report, options.quick)
    reliability_limits.measure(report, options.quick)
    asyncio.run(reliability_overload.measure(report, options.quick))
    asyncio.run(reliability_drain.measure(report, options.quick))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options((__doc__ or "").splitlines()[0])))
