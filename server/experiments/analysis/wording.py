"""Numbers as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from server.experiments.analysis.metrics import Interval, Unit

NOTHING = "–"


def show_lift(lift: float) -> str:
    return _typeset(f"{100 * lift:+.1f} %") if math.isfinite(lift) else NOTHING


def show_lifts(interval: Interval) -> str:
    return f"{show_lift(interval.low)} to {show_lift(interval.high)}"


def show_tick(lift: float) -> str:
    return _typeset(f"{100 * lift:+.3g} %") if lift else "0"


def show_value(value: float, unit: Unit) -> str:
    if not math.isfinite(value):
        return NOTHING
    if unit == "share":
        return f"{100 * value:.2f} %"
    return f"{value:.3f} s" if unit == "seconds" else f"{value:,.2f}"


def show_p(p_value: float) -> str:
    if not math.isfinite(p_value):
        return NOTHING
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.4f}" if p_value < 0.1 else f"{p_value:.2f}"


def show_count(count: float) -> str:
    return f"{count:,.0f}" if math.isfinite(count) else NOTHING


def show_days(days: float) -> str:
    if math.isnan(days):
        return NOTHING
    return (
        "no end in sight" if days > 3650 else "by now" if days == 0 else f"{math.ceil(days):,} days"
    )


def show_day(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%-d %b %Y")


def _typeset(number: str) -> str:
    """With a minus, where Python writes a hyphen."""
    return number.replace("-", "\u2212")
