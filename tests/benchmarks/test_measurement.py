"""Claims are judged by their median and told alike as JSON and as a table."""

import json

import pytest

from benchmarks.measurement import Options, Report, make_claim, parse_options


@pytest.fixture
def options(tmp_path):
    return Options(quick=True, strict=False, out=tmp_path / "bench")


@pytest.mark.parametrize(
    ("better", "target", "holds"),
    [("higher", 3.0, True), ("higher", 3.1, False), ("lower", 3.0, True), ("lower", 2.9, False)],
)
def test_a_claim_is_the_median_against_its_target(better, target, holds):
    claim = make_claim("a", [9.0, 3.0, 1.0], "ms", target=target, better=better)
    assert (claim.value, claim.n, claim.spread, claim.holds) == (3.0, 3, (1.0, 9.0), holds)


def test_a_claim_without_target_is_for_information():
    assert make_claim("a", [1.0], "ms").holds is None


def test_the_report_is_written_and_printed(options, capsys):
    report = Report("sums", options)
    report.add("speed", [4.0, 5.0, 6.0], "x", target=3.0)
    report.add("delay", [7.0], "ms", target=2.0, better="lower")
    assert report.finish() == 0
    document = json.loads((options.out / "sums.json").read_text())
    assert set(document) == {"environment", "claims"}
    assert {"cpu", "cores", "device", "versions", "commit"} <= set(document["environment"])
    assert document["claims"][0] == {
        "name": "sums.speed",
        "value": 5.0,
        "unit": "x",
        "target": 3.0,
        "better": "higher",
        "holds": True,
        "n": 3,
        "spread": [4.0, 6.0],
    }
    printed = capsys.readouterr().out
    assert "sums.speed" in printed and "≥ 3" in printed and "NO" in printed


def test_strict_fails_on_a_broken_claim_only(tmp_path, capsys):
    for value, status in ((1.0, 0), (9.0, 1)):
        report = Report("sums", Options(quick=True, strict=True, out=tmp_path))
        report.add("delay", [value], "ms", target=2.0, better="lower")
        report.add("extra", [value], "ms")
        assert report.finish() == status


def test_options_come_from_the_command_line(tmp_path):
    options = parse_options("test", ["--quick", "--out", str(tmp_path)])
    assert options == Options(quick=True, strict=False, out=tmp_path)
