"""The order of letters against Unicode's own examples and another implementation."""

import pytest
from bidi import get_display
from hypothesis import given
from hypothesis import strategies as st

from server.imaging.text.bidi import find_levels, find_partner, order_runs

# One or two letters of each class that needs no explicit control. No mirrored angle brackets: they
# have canonical twins, which are gone after NFC.
LETTERS = "aZ אב ابй 12 ٣٤ +- %$ ,.: \u0300\u064b !& ([{}]) \t"


def reorder(text, is_right_to_left):
    return "".join(
        text[run.start : run.stop][:: -1 if run.is_right_to_left else 1]
        for run in order_runs(text, is_right_to_left)
    )


@pytest.mark.parametrize(
    ("text", "base", "levels"),
    [  # from BidiCharacterTest.txt of Unicode 15.1
        ("a(b)c", 0, [0, 0, 0, 0, 0]),
        ("א(ב)ג", 0, [1, 1, 1, 1, 1]),
        ("a(b)c", 1, [2, 2, 2, 2, 2]),
        ("אב(גד[&ef]!)gh", 0, [1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (
            "smith (fabrikam ARABIC) HEBREW".replace("ARABIC", "ابج").replace("HEBREW", "אבג"),
            0,
            None,
        ),
    ],
)
def test_levels_are_those_of_the_standard(text, base, levels):
    found = find_levels(text, base)
    if levels is None:  # UAX 9, section 3.3.5: the bracket after Arabic follows the paragraph
        assert found[text.index(")")] == 0 and found[text.index("ب")] == 1
    else:
        assert found == levels


@pytest.mark.parametrize(
    ("logical", "visual"),
    [
        ("iPhone 15 جديد", "ديدج iPhone 15"),
        ("הנחה 25%", "25% החנה"),
        ("خصم 25%", "%25 مصخ"),  # as the standard has it after Arabic letters
        ("א 12-34 ב", "ב 12-34 א"),
    ],
)
def test_figures_run_from_the_left_in_arabic_and_hebrew(logical, visual):
    assert reorder(logical, True) == visual


@given(st.text(LETTERS, max_size=24), st.booleans())
def test_the_order_is_that_of_another_implementation(text, is_right_to_left):
    expected = get_display(text, base_dir="R" if is_right_to_left else "L")
    assert reorder(text, is_right_to_left) == expected


@given(st.text(max_size=40), st.booleans())
def test_no_letter_is_lost(text, is_right_to_left):
    assert sorted(reorder(text, is_right_to_left)) == sorted(text)


def test_brackets_know_their_partners():
    for pair in ("()", "[]", "{}", "「」", "〈〉", "⟨⟩"):
        assert find_partner(pair[0]) == pair[1] and find_partner(pair[1]) == pair[0]
    assert find_partner("«") == find_partner("a") == ""
