"""Parts of the page: intervals in rows, curves and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from server.experiments.analysis.contrasts import Contrast
from server.experiments.analysis.off_policy import Value
from server.experiments.analysis.plots import (
    Scale,
    draw_curve,
    draw_strip,
    draw_ticks,
    fit_lifts,
)
from server.experiments.analysis.report import ExperimentReport, MetricFacts
from server.experiments.analysis.wording import (
    show_count,
    show_day,
    show_days,
    show_lift,
    show_lifts,
    show_p,
    show_tick,
    show_value,
)

LEGEND = (
    '<p class="legend"><span><svg viewBox="0 0 44 14"><path d="M2 7H42" class="once"/></svg>'
    "for one look, at the planned end</span>"
    '<span><svg viewBox="0 0 44 14"><path d="M2 7H42" class="always"/></svg>'
    "sequential: however often somebody looks</span></p>"
)


def section(title: str, text: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2><p>{text}</p>{''.join(parts)}</section>"


def render_goal(report: ExperimentReport) -> str:
    metric = next(each for each in report.metrics if each.is_goal)
    text = (
        "What decides. Lines are lifts: how much more an arm has, as a share of the other's. "
        "p&#8209;values are corrected by Holm for the number of comparisons; numbers hold "
        f"{'for one look at the end' if report.is_over else 'however often somebody looks'}."
    )
    title = f"The goal: {metric.title.lower()}"
    return section(escape(title), text, render_metric(report, metric), LEGEND)


def render_others(report: ExperimentReport) -> str:
    text = (
        "Of the same shoppers. p&#8209;values are corrected by Benjamini and Hochberg: of those "
        f"called different, about {100 * report.method.alpha:.0f} % are so by chance."
    )
    metrics = [each for each in report.metrics if not (each.is_goal or each.is_guardrail)]
    return section("Other metrics", text, *(render_metric(report, each) for each in metrics))


def render_guardrails(report: ExperimentReport) -> str:
    text = (
        "What must not become worse; lower is better. Not corrected for how many there are: a "
        "false alarm costs less than silence."
    )
    metrics = [each for each in report.metrics if each.is_guardrail]
    return section("Guardrails", text, *(render_metric(report, each) for each in metrics))


def render_metric(report: ExperimentReport, metric: MetricFacts) -> str:
    found = [each for each in report.contrasts if each.metric == metric.key]
    heading = "" if metric.is_goal else f"<h3>{escape(metric.title)}</h3>"
    values = "".join(
        f"<span>{escape(arm)} {show_value(value, metric.unit)}</span>"
        for arm, value in metric.values.items()
    )
    rows = render_rows(found, report, fit_lifts(each.estimate for each in found))
    return f'<div class="metric">{heading}<p class="values">{values}</p>{rows}</div>'


def render_rows(contrasts: Sequence[Contrast], report: ExperimentReport, scale: Scale) -> str:
    if not contrasts:
        return '<p class="values">Nothing to compare yet.</p>'
    rows = "".join(render_row(each, report, scale) for each in contrasts)
    return rows + draw_ticks(scale, show_tick)


def render_row(contrast: Contrast, report: ExperimentReport, scale: Scale) -> str:
    estimate, is_over = contrast.estimate, report.is_over
    interval = estimate.lift_interval if is_over else estimate.lift_sequential
    p_value = contrast.p_corrected if is_over else contrast.sequential_p_corrected
    return (
        f'<div class="row {contrast.outcome}"><div>{escape(contrast.arm)}'
        f"<small>against {escape(contrast.baseline)}</small></div>"
        f"<div>{draw_strip(estimate, scale)}</div>"
        f"<div><b>{show_lift(estimate.lift)}</b> {contrast.outcome}"
        f"<small>{show_lifts(interval)}, p {show_p(p_value)}</small></div></div>"
    )


def render_timeline(report: ExperimentReport) -> str:
    points = [point for point in report.timeline if point.start_s <= report.last_s]
    pairs = list(dict.fromkeys((point.baseline, point.arm) for point in points))
    settled = points[len(points) // 4 :]  # the first days know too little to set the scale
    scale = fit_lifts(point.estimate for point in settled)
    figures = []
    for pair in pairs:
        own = [point for point in points if (point.baseline, point.arm) == pair]
        curve = draw_curve(own, scale, show_tick, [show_day(own[i].start_s) for i in (0, -1)])
        baseline, arm = map(escape, pair)
        figures.append(f"<figure><figcaption>{arm} against {baseline}</figcaption>{curve}</figure>")
    text = (
        "The goal's lift by the end of each day, of all days until then. The light band is the "
        "sequential interval, the darker one that for one look."
    )
    return section("Over time", text, f'<div class="curves">{"".join(figures)}</div>')


def render_arms(report: ExperimentReport) -> str:
    head = (
        "arm",
        "shoppers",
        "expected",
        "images",
        "clicks",
        "carts",
        "purchases",
        "value",
        "latency",
    )
    rows = []
    for arm in report.arms:
        counts, expected = arm.counts, report.sample_ratio.expected.get(arm.name, math.nan)
        numbers = (counts.images, counts.clicks, counts.carts, counts.purchases)
        rows.append(
            (
                f"{escape(arm.name)}<small>{escape(arm.shows)}</small>",
                show_count(counts.shoppers),
                show_count(expected),
                *map(show_count, numbers),
                f"{counts.value:,.2f}",
                f"{show_value(counts.latency_median_s, 'seconds')}"
                f"<small>p95 {show_value(counts.latency_p95_s, 'seconds')}</small>",
            )
        )
    who = "Who saw several arms counts in each. " if report.off_policy else "Who saw one arm only. "
    text = (
        f"{who}From a shopper's first image on; an image counts once, however often it was shown, "
        "and so does its click."
    )
    return section("Arms", text, render_table(head, rows))


def render_segments(report: ExperimentReport) -> str:
    scale = fit_lifts(each.estimate for found in report.segments for each in found.contrasts)
    warning = (
        '<p class="warning">For ideas, not for decisions: among many segments some differ by '
        "chance. p&#8209;values are corrected by Holm for all that are shown. Test anew what you "
        "find here.</p>"
    )
    parts = []
    for found in report.segments:
        name = f"<h3>{escape(found.dimension)}: {escape(found.value)}</h3>"
        counts = found.sample_ratio.counts.items()
        sizes = "".join(f"<span>{escape(arm)} {count:,}</span>" for arm, count in counts)
        if found.sample_ratio.is_mismatch:
            body = (
                '<p class="values worse">Who is in this segment depends on the arm (p '
                f"{show_p(found.sample_ratio.p_value)}): nothing can be compared.</p>"
            )
        else:
            body = render_rows(found.contrasts, report, scale)
        parts.append(f'<div class="metric">{name}<p class="values">{sizes}</p>{body}</div>')
    text = "The goal among some shoppers, as they were known at their first image."
    details = f"<details><summary>{len(parts)} segments</summary>{''.join(parts)}</details>"
    return section("Segments", text, warning, details)


def render_outlooks(report: ExperimentReport) -> str:
    head = (
        "comparison",
        "seen by now",
        "shoppers for one look",
        "from now",
        "shoppers, sequential",
        "from now",
    )
    rows = [
        (
            f"{escape(each.arm)}<small>against {escape(each.baseline)}</small>",
            show_lift(each.detectable_lift),
            show_count(each.units),
            show_days(each.days),
            show_count(each.sequential_units),
            show_days(each.sequential_days),
        )
        for each in report.outlooks
    ]
    method = report.method
    text = (
        f"The lift of the goal that {100 * method.power:.0f} % of experiments of this size would "
        f"find, and what finding {100 * method.effect:.0f} % takes, at the pace of the last week."
    )
    return section("Power", text, render_table(head, rows))


def render_bandit(report: ExperimentReport) -> str:
    found = report.off_policy
    assert found is not None
    head = (
        "policy",
        "doubly robust",
        "self-normalised",
        "inverse propensity",
        "the bandit's gain",
        "worth",
        "mean weight",
    )
    rows = [("what the bandit did", _show(found.logged), *[""] * 5)]
    rows += [
        (
            f"always {escape(each.policy)}",
            _show(each.dr),
            _show(each.snips),
            _show(each.ips),
            _show(each.gain),
            f"{100 * each.effective_share:.0f} %<small>of decisions</small>",
            f"{each.mean_weight.value:.3f}",
        )
        for each in found.policies
    ]
    text = (
        f"{escape(found.reward.capitalize())}s for each image that each arm would have brought, "
        "had everybody seen it, told from what the bandit did and how probable that was. Arms of a "
        f"bandit can't be compared as they are. From {found.num_decisions:,} images of "
        f"{found.num_units:,} shoppers."
    )
    return section("Off-policy estimates", text, render_table(head, rows))


def render_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return f'<div class="table"><table><tr>{names}</tr>{body}</table></div>'


def _show(value: Value) -> str:
    low, high = value.interval.low, value.interval.high
    return f"{value.value:.4f}<small>{low:.4f} to {high:.4f}</small>"
