"""What arms are really worth, held against what a report says of them."""

import math

import pytest

from server.demo.shop.truth import ORDER, PAIRS, compare, describe, find_true_shares
from server.demo.shop.visits import Impression

SHARES = {"original": 0.06, "generic": 0.075, "personalized": 0.09}
TRUE = {
    ("original", "generic"): 0.25,
    ("original", "personalized"): 0.5,
    ("generic", "personalized"): 0.2,
}


def told(low=-0.05, high=0.05, outcome="better", metric="ctr", pairs=PAIRS):
    """A report whose intervals lie so around the truth."""
    return {
        "contrasts": [
            {
                "metric": metric,
                "baseline": baseline,
                "arm": arm,
                "estimate": {
                    "lift": TRUE[baseline, arm],
                    "lift_sequential": {
                        "low": TRUE[baseline, arm] + low,
                        "high": TRUE[baseline, arm] + high,
                    },
                },
                "outcome": outcome,
            }
            for baseline, arm in pairs
        ]
    }


def test_a_share_is_the_mean_over_the_images_of_an_arm():
    seen = [
        Impression("original", "a", 0.06, True),
        Impression("generic", "b", 0.07, False),
        Impression("generic", "c", 0.09, True),
    ]
    shares = find_true_shares(seen)
    assert tuple(shares) == ORDER
    assert (shares["original"], shares["generic"]) == pytest.approx((0.06, 0.08))
    assert math.isnan(shares["personalized"]), "nobody saw it"


def test_a_report_is_right_where_the_truth_is_inside_and_the_better_arm_is_called_better():
    findings = compare(told(), SHARES)
    assert [(each.baseline, each.arm) for each in findings] == list(PAIRS)
    assert [each.truth for each in findings] == pytest.approx([0.25, 0.5, 0.2])
    assert all(each.is_right for each in findings)


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (told(low=0.01), "the truth is below"),
        (told(high=-0.01), "the truth is above"),
        (told(outcome="undecided"), "nothing was found"),
        (told(outcome="worse"), "the wrong way round"),
        (told(pairs=()), "nothing was compared"),
        (told(metric="conversion"), "something else was compared"),
    ],
)
def test_a_report_is_wrong_where(report, why):
    assert not any(each.is_right for each in compare(report, SHARES)), why


def test_what_a_report_can_not_tell_is_not_right():
    report = told()
    for contrast in report["contrasts"]:
        contrast["estimate"] = {"lift": None, "lift_sequential": {"low": None, "high": None}}
    findings = compare(report, SHARES)
    assert all(math.isnan(each.lift) for each in findings)
    assert not any(each.is_right for each in findings)
    assert len(describe(findings).splitlines()) == 1 + len(PAIRS)


def test_a_table_has_a_line_for_each_comparison_and_marks_what_is_wrong():
    head, *lines = describe(compare(told(pairs=PAIRS[:2]), SHARES)).splitlines()
    assert head.split() == ["click", "rate", "true", "lift", "reported", "interval"]
    assert lines[0].split() == [
        *("generic", "over", "original", "+25.0%", "+25.0%", "+20.0%", "to", "+30.0%", "✓")
    ]
    assert lines[1].endswith("✓") and lines[2].endswith("✕ (undecided)")
