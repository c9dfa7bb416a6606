"""Intervals and curves as inline SVG that stretches to any width; words and numbers are HTML beside
it, so that they stay readable on a phone. Colours are the page's, by class."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from server.experiments.analysis.metrics import Estimate, Interval
from server.experiments.analysis.report import TimePoint

WIDE, STRIP_HIGH, CURVE_HIGH = 1000.0, 28.0, 300.0
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)

Show = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Scale:
    """From `low` to `high`, with round `ticks` between them."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high one; not beyond either."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def fit(values: Iterable[float], num_ticks: int = 4) -> Scale:
    """Holds all values that are numbers, and zero."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    margin = 0.04 * (high - low) or 0.01
    low, high = low - margin, high + margin
    rough = (high - low) / num_ticks
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * step for step in STEPS if unit * step >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return Scale(low, high, tuple(step * number for number in range(first, last + 1)))


def fit_lifts(estimates: Iterable[Estimate]) -> Scale:
    ends = [
        end for each in estimates for end in (each.lift_sequential.low, each.lift_sequential.high)
    ]
    return fit(ends)


def draw_strip(estimate: Estimate, scale: Scale) -> str:
    """The lift: a thick line for one look, a thin one for looking always; zero is dashed."""
    middle = STRIP_HIGH / 2
    marks = [_line(WIDE * scale.place(0.0), 0.0, STRIP_HIGH, "zero")]
    if math.isfinite(estimate.lift):
        marks += [
            _span(estimate.lift_sequential, scale, middle, "always"),
            _span(estimate.lift_interval, scale, middle, "once"),
            # A line of no length with round ends is a dot, however the drawing is stretched.
            f'<path d="M{WIDE * scale.place(estimate.lift):.1f} {middle}h0" class="dot"/>',
        ]
    return _frame(STRIP_HIGH, marks, "strip")


def draw_ticks(scale: Scale, show: Show) -> str:
    """Names of the ticks under strips; those at the very ends would be cut off."""
    names = "".join(
        f'<span style="left:{100 * scale.place(tick):.1f}%">{show(tick)}</span>'
        for tick in scale.ticks
        if 0.06 < scale.place(tick) < 0.94
    )
    return f'<div class="ticks">{names}</div>'


def draw_curve(points: Sequence[TimePoint], scale: Scale, show: Show, names: Sequence[str]) -> str:
    """The lift day by day, with the interval for one look in the sequential one; `names` stand at
    the first, the middle and the last day."""
    known = [point for point in points if math.isfinite(point.estimate.lift)]
    if not known:
        return ""
    starts = [point.start_s for point in known]
    width_s = max(starts[-1] - starts[0], 1.0)
    xs = [WIDE * (start - starts[0]) / width_s for start in starts]
    estimates = [point.estimate for point in known]

    def y(value: float) -> float:
        return CURVE_HIGH * (1.0 - scale.place(value))

    marks = [_rule(y(tick), "zero" if tick == 0 else "grid") for tick in scale.ticks]
    marks.append(_band(xs, [each.lift_sequential for each in estimates], y, "wide"))
    marks.append(_band(xs, [each.lift_interval for each in estimates], y, "narrow"))
    path = " ".join(f"{x:.1f},{y(each.lift):.1f}" for x, each in zip(xs, estimates, strict=True))
    marks.append(f'<polyline points="{path}" class="curve"/>')
    ticks = "".join(
        f'<span style="top:{100 * (1 - scale.place(tick)):.1f}%">{show(tick)}</span>'
        for tick in scale.ticks
    )
    days = "".join(f"<span>{name}</span>" for name in names)
    side = f'<div class="side">{ticks}</div>'
    drawing = _frame(CURVE_HIGH, marks, "plot")
    return f'<div class="curve-box">{side}{drawing}<div class="days">{days}</div></div>'


def _frame(high: float, marks: Sequence[str], name: str) -> str:
    box = f'viewBox="0 0 {WIDE:.0f} {high:.0f}" preserveAspectRatio="none"'
    return f'<svg class="{name}" {box} aria-hidden="true">{"".join(marks)}</svg>'


def _line(x: float, top: float, bottom: float, name: str) -> str:
    return f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" class="{name}"/>'


def _rule(y: float, name: str) -> str:
    return f'<path d="M0 {y:.1f}H{WIDE:.0f}" class="{name}"/>'


def _span(interval: Interval, scale: Scale, y: float, name: str) -> str:
    ends = (WIDE * scale.place(end) for end in (interval.low, interval.high))
    return f'<path d="M{next(ends):.1f} {y}H{next(ends):.1f}" class="{name}"/>'


def _band(
    xs: Sequence[float], intervals: Sequence[Interval], y: Callable[[float], float], name: str
) -> str:
    above = [(x, y(interval.high)) for x, interval in zip(xs, intervals, strict=True)]
    below = [(x, y(interval.low)) for x, interval in zip(xs, intervals, strict=True)]
    path = " ".join(f"{x:.1f},{end:.1f}" for x, end in (*above, *reversed(below)))
    return f'<polygon points="{path}" class="{name}"/>'
