"""Guidance: the formula, its weights, and what costs nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion.guidance import MAX_TERMS, Given, Guidance

scales = st.floats(0, 10, allow_nan=False, width=32)


def guide(guidance, predictions):
    return sum(weight * predictions[known] for known, weight in guidance.terms)


@settings(deadline=None)
@given(scales, scales)
def test_weights_sum_to_one(product_scale, shopper_scale):
    terms = Guidance(product_scale, shopper_scale).terms
    assert 1 <= len(terms) <= 3
    assert sum(weight for _, weight in terms) == pytest.approx(1.0, abs=1e-9)


@settings(deadline=None)
@given(scales, scales, st.tuples(*[st.floats(-2, 2)] * 3))
def test_terms_are_the_formula(product_scale, shopper_scale, values):
    nothing, product, both = values
    formula = nothing + product_scale * (product - nothing) + shopper_scale * (both - product)
    predictions = {Given.NOTHING: nothing, Given.PRODUCT: product, Given.BOTH: both}
    found = guide(Guidance(product_scale, shopper_scale), predictions)
    assert found == pytest.approx(formula, abs=1e-9)


@pytest.mark.parametrize(
    ("product_scale", "shopper_scale", "evaluated"),
    [
        (1.0, 0.0, [Given.PRODUCT]),
        (0.0, 0.0, [Given.NOTHING]),
        (1.0, 1.0, [Given.BOTH]),
        (1.0, 0.5, [Given.PRODUCT, Given.BOTH]),
        (2.0, 0.0, [Given.NOTHING, Given.PRODUCT]),
        (2.0, 2.0, [Given.NOTHING, Given.BOTH]),
        (2.0, 1.0, [Given.NOTHING, Given.PRODUCT, Given.BOTH]),
    ],
)
def test_a_term_that_vanishes_is_not_evaluated(product_scale, shopper_scale, evaluated):
    assert [known for known, _ in Guidance(product_scale, shopper_scale).terms] == evaluated


def test_without_a_scale_the_shopper_is_never_evaluated():
    for product_scale in (0.0, 0.3, 1.0, 4.0):
        terms = dict(Guidance(product_scale, 0.0).terms)
        assert not any(known.has_shopper for known in terms)


@settings(deadline=None)
@given(scales, scales, st.tuples(*[st.floats(-2, 2)] * 2))
def test_without_the_product_the_formula_is_that_of_an_unknown_product(
    product_scale, shopper_scale, values
):
    nothing, shopper = values
    guidance = Guidance(product_scale, shopper_scale)
    terms = guidance.terms_without_product
    assert not any(known.has_product for known, _ in terms)
    predictions = {Given.NOTHING: nothing, Given.PRODUCT: nothing, Given.SHOPPER: shopper}
    found = sum(weight * predictions[known] for known, weight in terms)
    formula = nothing + shopper_scale * (shopper - nothing)
    assert found == pytest.approx(formula, abs=1e-9)


@pytest.mark.parametrize(
    ("shopper_scale", "evaluated"),
    [
        (0.0, [Given.NOTHING]),
        (1.0, [Given.SHOPPER]),
        (0.5, [Given.NOTHING, Given.SHOPPER]),
    ],
)
def test_without_the_product_a_term_that_vanishes_is_not_evaluated(shopper_scale, evaluated):
    terms = Guidance(3.0, shopper_scale).terms_without_product
    assert [known for known, _ in terms] == evaluated


def test_what_a_row_is_given_is_what_its_name_says():
    seen = {known: (known.has_product, known.has_shopper) for known in Given}
    assert seen == {
        Given.NOTHING: (False, False),
        Given.PRODUCT: (True, False),
        Given.SHOPPER: (False, True),
        Given.BOTH: (True, True),
    }


def test_no_guidance_takes_more_rows_than_the_most():
    for product_scale in (0.0, 1.0, 2.0):
        for shopper_scale in (0.0, 0.5, 1.0, 2.0):
            guidance = Guidance(product_scale, shopper_scale)
            assert len(guidance.terms) <= MAX_TERMS
            assert len(guidance.terms_without_product) <= MAX_TERMS
