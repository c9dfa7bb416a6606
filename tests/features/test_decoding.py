"""Presence by value, freshness by time, vectors by width and finiteness."""

import json
import math
from datetime import UTC, datetime

import numpy as np
import pytest

from diffusion.taste import NUM_RECENT, embed_shopper
from features.decoding import (
    CORRUPT,
    NO_PROFILE,
    NO_RECENT,
    Limits,
    Profile,
    Recent,
    decode_product,
    decode_profile,
    decode_recent,
    join_shopper,
)
from features.materialize import to_value
from features.quiet_feast import FloatList, Value
from features.records import Product, Shopper, Status
from features.schema import PRODUCT_FEATURES, USER_PROFILE, USER_RECENT
from tests.features.stores import (
    WIDTH,
    last_clicks,
    product,
    profile,
    recent,
    taste,
    taste_vector,
)

NOW_S = 1_800_000_000.0
FOR_EVER = Limits(WIDTH, 0)
NULL = b"\x98\x01\x00"  # a Feast value whose null_val is set


def row(view, age_s, **values):
    kinds = dict(view.columns)
    protos = {name: to_value(kinds[name], value) for name, value in values.items()}
    return datetime.fromtimestamp(NOW_S - age_s, UTC), protos


def unset(view):
    """What Redis answers for an entity that it never saw."""
    return datetime.fromtimestamp(0, UTC), {name: Value() for name in view.features}


def decode(age_s=10.0, limits=FOR_EVER, **changes):
    return decode_profile("anna", row(USER_PROFILE, age_s, **profile(**changes)), limits, NOW_S)


def test_a_profile_comes_back_as_it_was_written():
    found = decode()
    assert found.status is Status.FOUND and found.embedding.tolist() == taste(1)
    assert found.embedding.dtype == np.float32
    assert found[2:] == (True, "de", "25-34", "f", ("sports", "books"), 10.0)


@pytest.mark.parametrize("nothing", [(None, None), (None, {}), unset(USER_PROFILE)])
def test_no_row_is_missing_whichever_way_the_store_says_so(nothing):
    assert decode_profile("anna", nothing, FOR_EVER, NOW_S) == Profile(Status.MISSING)
    assert decode_recent("anna", nothing, FOR_EVER, NOW_S) == Recent(Status.MISSING)
    assert decode_product("ball", nothing, FOR_EVER, NOW_S) is Status.MISSING


def test_an_explicit_null_and_an_empty_list_are_missing_too():
    for value in (Value.FromString(NULL), Value(float_list_val=FloatList(val=[]))):
        when, values = row(USER_PROFILE, 10, **profile())
        found = decode_profile("anna", (when, values | {"embedding": value}), FOR_EVER, NOW_S)
        assert found.status is Status.MISSING and found.embedding is None


def test_someone_without_history_is_missing_but_known():
    found = decode(embedding=None)
    assert found.status is Status.MISSING
    assert found.consent is True and found.locale == "de" and found.age_s == 10.0


def test_consent_that_was_never_given_is_refused():
    when, values = row(USER_PROFILE, 10, **profile())
    del values["consent"]
    assert decode_profile("anna", (when, values), FOR_EVER, NOW_S).consent is False
    assert decode(consent=None).consent is False
    assert Profile(Status.MISSING).consent is False


def test_a_row_lives_as_long_as_its_view_says_and_not_a_second_longer():
    limits = Limits(WIDTH, 3600)
    assert decode(3600, limits).status is Status.FOUND
    stale = decode(3601, limits)
    assert stale.status is Status.STALE and stale.embedding is None and stale.age_s == 3601


def test_a_lifetime_of_zero_is_for_ever():
    assert decode(10 * 365 * 86_400).status is Status.FOUND


def test_a_clock_that_runs_behind_gives_age_zero():
    assert decode(-30).age_s == 0.0


@pytest.mark.parametrize("width", [1, WIDTH - 1, WIDTH + 1])
def test_a_vector_of_another_width_is_invalid(width):
    found = decode(embedding=[0.5] * width)
    assert found.status is Status.INVALID and found.embedding is None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_vector_that_is_not_finite_is_invalid(number):
    found = decode(embedding=[*taste(1)[1:], number])
    assert found.status is Status.INVALID and found.embedding is None


def test_large_finite_vectors_are_valid():
    assert decode(embedding=[1e38] * WIDTH).status is Status.FOUND


def test_bytes_that_are_no_values_are_invalid():
    assert decode_profile("anna", CORRUPT, FOR_EVER, NOW_S).status is Status.INVALID
    assert decode_recent("anna", CORRUPT, FOR_EVER, NOW_S).status is Status.INVALID
    assert decode_product("ball", CORRUPT, FOR_EVER, NOW_S) is Status.INVALID


def test_a_shared_vector_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        decode().embedding[0] = 1.0


def test_a_product_comes_back_as_it_was_written():
    found = decode_product("ball", row(PRODUCT_FEATURES, 5, **product()), FOR_EVER, NOW_S)
    assert isinstance(found, Product)
    assert found.titles == {"en": "ball", "de": "Ball"} and found.category == "sports"
    assert found.packshot == "/shop/ball.webp" and found.ages_s == {"product_features": 5.0}
    assert found.image_embedding.tolist() == taste(3)
    assert found.text_embedding.tolist() == taste(4)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_embedding": None},
        {"text_embedding": [1.0]},
        {"titles": "no JSON"},
        {"titles": json.dumps(["a list"])},
    ],
)
def test_a_product_that_cannot_be_shown_is_invalid(changes):
    flawed = row(PRODUCT_FEATURES, 5, **product(**changes))
    assert decode_product("ball", flawed, FOR_EVER, NOW_S) is Status.INVALID


def test_a_product_past_its_lifetime_is_stale():
    old = row(PRODUCT_FEATURES, 61, **product())
    assert decode_product("ball", old, Limits(WIDTH, 60), NOW_S) is Status.STALE


def recent_row(age_s=10.0, limits=FOR_EVER, **changes):
    return decode_recent("anna", row(USER_RECENT, age_s, **recent(**changes)), limits, NOW_S)


def embed(shopper, seed):
    """Who they are to some product."""
    found = shopper.embed(taste_vector(seed))
    assert found is not None
    return found


def test_last_clicks_come_back_as_they_were_written():
    found = recent_row().clicks
    assert found is not None and found.embeddings.shape == (NUM_RECENT, WIDTH)
    for read, written in zip(found, last_clicks(), strict=True):
        assert np.array_equal(read, written) and read.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            read[0] = 1.0


def test_last_clicks_move_the_profile_beside_each_product_in_its_own_way():
    shopper = join_shopper(decode(), recent_row(20))
    assert shopper.status is Status.FOUND
    assert shopper.ages_s == {"user_profile": 10.0, "user_recent": 20.0}
    for seed in (5, 6):
        expected = embed_shopper(taste_vector(1), *last_clicks(), taste_vector(seed))
        assert np.array_equal(embed(shopper, seed), expected)
    assert not np.allclose(embed(shopper, 5), embed(shopper, 6))


@pytest.mark.parametrize(
    "other",
    [
        Recent(Status.MISSING),
        NO_RECENT,
        recent_row(99, Limits(WIDTH, 50)),
        recent_row(recent_embeddings=[math.nan] * WIDTH * NUM_RECENT),
        recent_row(recent_embeddings=taste(1)),
        recent_row(recent_embeddings=None),
        recent_row(recent_weights=None),
        recent_row(recent_weights=[1.0]),
        recent_row(recent_weights=[-1.0] * NUM_RECENT),
        recent_row(recent_weights=[math.inf] * NUM_RECENT),
    ],
)
def test_last_clicks_that_are_of_no_use_leave_the_profile_alone(other):
    assert other.status is not Status.FOUND
    shopper = join_shopper(decode(), other)
    assert shopper.status is Status.FOUND
    assert embed(shopper, 9).tolist() == taste(1)


def test_last_clicks_of_which_half_is_wrong_are_invalid():
    assert recent_row(recent_weights=None).status is Status.INVALID
    assert recent_row(recent_weights=[-1.0] * NUM_RECENT).status is Status.INVALID
    nothing = recent_row(recent_embeddings=None)
    assert nothing == Recent(Status.MISSING, age_s=10.0)


def test_without_a_history_yet_last_clicks_are_all_there_is():
    shopper = join_shopper(decode(embedding=None), recent_row())
    nobody = np.zeros(WIDTH, np.float32)
    expected = embed_shopper(nobody, *last_clicks(), taste_vector(9))
    assert np.array_equal(embed(shopper, 9), expected)
    assert shopper.status is Status.FOUND
    assert shopper.consent is True


@pytest.mark.parametrize(
    ("old", "status"),
    [
        (decode(99, Limits(WIDTH, 50)), Status.STALE),
        (decode(embedding=[1.0]), Status.INVALID),
        (NO_PROFILE, Status.UNAVAILABLE),
    ],
)
def test_recent_clicks_do_not_stand_in_for_a_profile_that_is_wrong(old, status):
    shopper = join_shopper(old, recent_row())
    assert shopper.status is status
    assert shopper.profile is None and shopper.last_clicks is None
    assert shopper.embed(taste_vector(9)) is None


def test_an_unknown_shopper_has_no_consent_and_no_ages():
    shopper = join_shopper(Profile(Status.MISSING), Recent(Status.MISSING))
    assert shopper.status is Status.MISSING
    assert shopper.consent is False and shopper.ages_s == {}


@pytest.mark.parametrize(
    ("profile", "status"),
    [
        (decode(consent=False), Status.FOUND),
        (decode(consent=None), Status.FOUND),
        (decode(consent=False, embedding=None), Status.FOUND),
        (decode(99, Limits(WIDTH, 50), consent=False), Status.STALE),
    ],
)
def test_of_who_did_not_consent_nothing_goes_on_but_that_there_is_a_row(profile, status):
    assert join_shopper(profile, recent_row()) == Shopper(status)
