"""Curves with their intervals, as inline SVG that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from diffusion.evaluation.findings import Finding

WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 16, 44
INKS = ("#c45434", "#2f6f73", "#7a5ea8", "#b0852b")
DASHES = ("", "5 4", "1 4")

Series = tuple[str, str]
"""A measure of a model."""


def draw_chart(findings: Sequence[Finding], x_label: str) -> str:
    """One line for each measure (by colour) and model (by dash), over `at` in order of coming."""
    places = list(dict.fromkeys(finding.at for finding in findings))
    is_share = findings[0].unit == "share"
    top = 1.0 if is_share else 1.05 * max(finding.figure.high for finding in findings) or 1.0
    lines = _group(findings)
    measures = list(dict.fromkeys(measure for measure, _ in lines))
    models = list(dict.fromkeys(model for _, model in lines))
    marks = [_draw_grid(top, is_share), _draw_places(places, x_label)]
    for number, ((measure, model), points) in enumerate(lines.items()):
        ink = INKS[measures.index(measure) % len(INKS)]
        dash = DASHES[models.index(model) % len(DASHES)]
        nudge = 3.0 * (number - (len(lines) - 1) / 2)  # intervals beside each other, not on top
        xs = [_x(places.index(point.at), len(places)) + nudge for point in points]
        marks.append(_draw_line(xs, points, top, ink, dash))
    label = escape(f"{', '.join(measures)} by {x_label}", quote=True)
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(marks)}'
    return f"<figure>{svg}</svg>{_draw_legend(measures, models)}</figure>"


def _group(findings: Sequence[Finding]) -> dict[Series, list[Finding]]:
    lines: dict[Series, list[Finding]] = {}
    for finding in findings:
        lines.setdefault((finding.measure, finding.model), []).append(finding)
    return lines


def _draw_line(xs: list[float], points: list[Finding], top: float, ink: str, dash: str) -> str:
    ys = [_y(point.figure.value, top) for point in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    style = f'fill="none" stroke="{ink}" stroke-width="2" stroke-dasharray="{dash}"'
    marks = [f'<polyline points="{path}" {style}/>']
    for x, y, point in zip(xs, ys, points, strict=True):
        low, high = (_y(end, top) for end in (point.figure.low, point.figure.high))
        bar = f'x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"'
        marks.append(f'<line {bar} stroke="{ink}" opacity=".45" stroke-width="1.5"/>')
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{ink}"/>')
    return "".join(marks)


def _draw_grid(top: float, is_share: bool) -> str:
    marks = []
    for number in range(5):
        value = top * number / 4
        y = _y(value, top)
        text = f"{100 * value:.0f} %" if is_share else f"{value:.3g}"
        marks.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )
    return "".join(marks)


def _draw_places(places: Sequence[str], x_label: str) -> str:
    y = HEIGHT - BOTTOM + 18
    names = "".join(
        f'<text x="{_x(i, len(places)):.1f}" y="{y}" text-anchor="middle">{escape(place)}</text>'
        for i, place in enumerate(places)
    )
    middle = (LEFT + WIDTH - RIGHT) / 2
    label = f'<text x="{middle}" y="{y + 20}" text-anchor="middle">{escape(x_label)}</text>'
    return names + label


def _draw_legend(measures: Sequence[str], models: Sequence[str]) -> str:
    keys = [
        f'<span><i style="background:{INKS[i % len(INKS)]}"></i>{escape(measure)}</span>'
        for i, measure in enumerate(measures)
    ]
    if len(models) > 1:
        words = ("solid", "dashed", "dotted")
        keys += [f"<span>{words[i % 3]}: {escape(model)}</span>" for i, model in enumerate(models)]
    return f"<figcaption>{''.join(keys)}</figcaption>"


def _x(number: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (number + 0.5) / count


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(value / top, 0.0), 1.0)
