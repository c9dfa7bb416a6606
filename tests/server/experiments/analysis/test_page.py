"""The report for people."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from server.experiments.analysis.page import render
from server.experiments.analysis.plots import draw_strip, fit
from server.experiments.analysis.report import ExperimentReport
from server.experiments.analysis.study import analyze
from server.experiments.analysis.wording import show_days, show_lift, show_p, show_tick, show_value
from tests.server.experiments.analysis.shop import NOW_S, Shop, define
from tests.server.experiments.analysis.test_metrics import buy, estimate
from tests.server.experiments.analysis.test_study import SETTINGS, sell

VOID = {"meta", "br", "img"}


class Outline(HTMLParser):
    """What is open, what was said, and which tags there were."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> ExperimentReport:
    folder = sell(counts=dict.fromkeys(("original", "generic", "personalized"), 60)).write(
        tmp_path_factory.mktemp("events")
    )
    return analyze(folder, define(), NOW_S, SETTINGS)


def test_every_tag_is_closed_and_the_verdict_comes_first(report):
    outline = Outline(render(report))
    assert outline.open == []
    words = outline.text[outline.text.index("Experiment window", 100) :]
    order = [words.index(part) for part in (report.verdict.headline, "Can it be trusted?", "Arms")]
    assert order == sorted(order)


def test_every_metric_every_check_and_every_comparison_is_on_it(report):
    page = render(report)
    text = Outline(page).text
    for metric in report.metrics:
        assert metric.title.lower() in text.lower()
    for check in report.verdict.checks:
        assert check.text in text
    assert page.count('class="row ') == len(report.contrasts) + sum(
        len(segment.contrasts) for segment in report.segments
    )
    assert page.count("<figure>") == 3


def test_segments_come_with_a_warning(report):
    assert "For ideas, not for decisions" in Outline(render(report)).text


def test_it_needs_no_network(report):
    page = render(report)
    assert not re.search(r"https?:|src=|@import|url\(|<script|<link", page)


def test_names_are_only_ever_text(tmp_path):
    arms = ("original", "<script>alert(1)</script>", 'a"b&c')
    shop = Shop()
    for number, arm in enumerate(arms * 60):
        image = shop.show(f"shopper {number}", arm, locale=("<b>", "en")[number % 7 > 2])
        if number % 4:
            shop.tell(image, "click")
    found = analyze(shop.write(tmp_path), replace(define(arms), key="<i>"), NOW_S)
    assert found.verdict.decision == "empty"  # of another key
    for experiment in (replace(define(arms), key="<i>"), define(arms)):
        page = render(analyze(tmp_path, experiment, NOW_S, SETTINGS))
        outline = Outline(page)
        assert outline.open == [] and "script" not in outline.tags and "i>" not in outline.tags
    assert "<script>alert(1)</script>" in outline.text and "locale: <b>" in outline.text


def test_a_strip_places_zero_the_estimate_and_both_intervals():
    found = estimate("conversion", buy(1000, 300), buy(1000, 450))
    scale = fit([-1.0, 1.0])
    strip = draw_strip(found, scale)
    assert f"M{1000 * scale.place(0.0):.1f} 0.0V28.0" in strip
    assert f"M{1000 * scale.place(0.5):.1f} 14.0h0" in strip
    for name in ("once", "always"):
        assert strip.count(f'class="{name}"') == 1


def test_an_estimate_without_a_lift_has_an_empty_strip():
    found = estimate("conversion", buy(100, 0), buy(100, 20))
    assert 'class="dot"' not in draw_strip(found, fit([]))


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.1, 0.42], (0.0, 0.2, 0.4)),
        ([-0.03, 0.02], (-0.02, 0.0, 0.02)),
        ([], (-0.01, -0.005, 0.0, 0.005, 0.01)),
        ([float("nan"), 4.0], (0.0, 2.0, 4.0)),
    ],
)
def test_scales_hold_all_values_and_zero_with_round_ticks(values, ticks):
    scale = fit(values)
    assert scale.ticks == pytest.approx(ticks)
    assert 0 <= scale.place(0.0) <= 1 and scale.place(1e9) == 1 and scale.place(-1e9) == 0


def test_numbers_are_written_for_people():
    nan = float("nan")
    assert show_lift(0.1234) == "+12.3 %" and show_lift(-0.05) == "\u22125.0 %"
    assert show_lift(nan) == show_value(nan, "share") == show_p(nan) == show_days(nan) == "–"
    assert show_tick(0.0) == "0" and show_tick(-0.025) == "\u22122.5 %"
    assert show_value(0.0123, "share") == "1.23 %" and show_value(1234.5, "money") == "1,234.50"
    assert show_value(0.25, "seconds") == "0.250 s"
    assert show_p(1e-9) == "< 0.0001" and show_p(0.0123) == "0.0123" and show_p(0.5) == "0.50"
    assert show_days(0.0) == "by now" and show_days(11.2) == "12 days"
    assert show_days(float("inf")) == "no end in sight"


def test_one_day_is_no_curve(report):
    first_s = min(point.start_s for point in report.timeline)
    day = tuple(point for point in report.timeline if point.start_s == first_s)
    assert "Over time" in render(report)
    assert "Over time" not in render(replace(report, timeline=day))
