"""The page: every figure is on it, with its interval."""

import json
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from diffusion.evaluation.charts import draw_chart
from diffusion.evaluation.findings import Finding
from diffusion.evaluation.metrics import Figure
from diffusion.evaluation.report import SECTIONS, Picture, show, write_report

FACTS = {"model": "<abc>", "commit": "0123"}


def make_finding(number, section="taste", at="personalized", model="diffusion", **more):
    low, value, high = (0.01 * number + step for step in (0.101, 0.202, 0.303))
    return Finding(section, "palette", at, model, Figure(value, low, high, 7 + number), **more)


FINDINGS = [
    make_finding(0, target=0.1),
    make_finding(1, target=0.9),
    make_finding(2, model="conditional GAN"),
    *(make_finding(3 + i, section="dial", at=at) for i, at in enumerate(("0", "0.5", "1"))),
    make_finding(7, section="steps", at="4", unit="distance", better="lower"),
    make_finding(8, section="steps", at="8"),
    make_finding(9, section="latency", at="batch of 1", unit="ms"),
]


class Words(HTMLParser):
    """What a reader sees; tags have to match."""

    def __init__(self):
        super().__init__()
        self.words, self.open = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "line", "circle", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("line", "circle", "polyline"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


@pytest.fixture
def page(tmp_path):
    picture = Picture("grid", "A grid", 'products & "shoppers"', b"RIFF")
    return write_report(tmp_path, FINDINGS, [picture], FACTS, ["a <note>"])


def test_every_figure_is_there_with_its_interval(page):
    reader = Words()
    reader.feed(page.read_text("utf-8"))
    reader.close()
    assert not reader.open
    text = " ".join(" ".join(reader.words).split())
    for finding in FINDINGS[1:]:
        figure, unit = finding.figure, finding.unit
        low, value, high = (show(x, unit) for x in (figure.low, figure.value, figure.high))
        assert f"{value} {low} to {high}, n = {figure.n}" in text
    assert "1 of 2 targets met" in text
    assert "a <note>" in text


def test_the_page_needs_nothing_else(page):
    text = page.read_text("utf-8")
    assert 'src="data:image/webp;base64,UklGRg=="' in text
    assert text.count("src=") == 1
    assert "http" not in text
    assert "$" not in text
    assert (page.parent / "sheets" / "grid.webp").read_bytes() == b"RIFF"


def test_the_json_says_the_same(page):
    told = json.loads((page.parent / "report.json").read_text("utf-8"))
    assert told["facts"] == FACTS
    assert [row["name"] for row in told["findings"]] == [f.name for f in FINDINGS]
    first = told["findings"][1]
    assert (first["value"], first["low"], first["high"], first["n"]) == (
        FINDINGS[1].figure.value,
        FINDINGS[1].figure.low,
        FINDINGS[1].figure.high,
        8,
    )
    assert (first["target"], first["holds"]) == (0.9, False)


def test_sections_without_figures_are_left_out(page):
    text = page.read_text("utf-8")
    assert {s.key for s in SECTIONS if f'id="{s.key}"' in text} == {
        *("taste", "dial", "steps", "latency")
    }


def test_a_chart_has_a_point_and_an_interval_for_every_figure():
    findings = [
        make_finding(i, at=at, model=model)
        for model in ("diffusion", "conditional GAN")
        for i, at in enumerate(("0", "1-2", "50+"))
    ]
    figure = ElementTree.fromstring(draw_chart(findings, "clicks"))
    names = [element.tag for element in figure.iter()]
    assert names.count("circle") == 6
    assert names.count("polyline") == 2
    assert len([e for e in figure.iter("line") if e.get("class") != "grid"]) == 6
    words = [element.text for element in figure.iter("text")]
    assert {"0", "1-2", "50+", "clicks", "100 %"} <= set(words)
    assert "dashed: conditional GAN" in "".join(figure.itertext())


def test_higher_is_drawn_higher():
    findings = [make_finding(10 * i, at=str(i)) for i in range(3)]
    heights = [
        float(e.get("cy", ""))
        for e in ElementTree.fromstring(draw_chart(findings, "x")).iter("circle")
    ]
    assert heights == sorted(heights, reverse=True)
