"""The dial that reaches zero, and the reason it gives: the whole table."""

import numpy as np
import pytest

from features.decoding import Profile, Recent, join_shopper
from features.records import Shopper, Status
from server.core import Arm, Reason
from server.experiments.assignment import Assignment
from server.personalization import REASON_BY_STATUS, decide

EMBEDDING = np.ones(4, np.float32)
WANTED, ZERO = Assignment(Arm.PERSONALIZED, 0.5), Assignment(Arm.PERSONALIZED, 0.0)


def make_shopper(status, consent):
    profile = EMBEDDING if status is Status.FOUND else None
    return Shopper(status, profile, consent=consent, ages_s={"user_profile": 12.0})


def decide_for(assignment=WANTED, user_id="u1", shopper=None):
    return decide(assignment, user_id, shopper, "personalization_v1", "0123")


@pytest.mark.parametrize(
    ("status", "consent", "reason"),
    [
        (Status.FOUND, True, Reason.APPLIED),
        (Status.FOUND, False, Reason.NO_CONSENT),
        (Status.STALE, True, Reason.STALE),
        (Status.STALE, False, Reason.NO_CONSENT),
        (Status.INVALID, True, Reason.INVALID_FEATURES),
        (Status.INVALID, False, Reason.NO_CONSENT),
        # Nothing was read, so that consent is not known: what is missing is the reason.
        (Status.MISSING, True, Reason.UNKNOWN_USER),
        (Status.MISSING, False, Reason.UNKNOWN_USER),
        (Status.UNAVAILABLE, True, Reason.FEATURES_UNAVAILABLE),
        (Status.UNAVAILABLE, False, Reason.FEATURES_UNAVAILABLE),
    ],
)
def test_what_was_read_decides(status, consent, reason):
    taste = decide_for(shopper=make_shopper(status, consent))
    assert taste.account.reason is reason
    assert taste.account.applied == (reason is Reason.APPLIED)
    assert (taste.shopper is not None) == (reason is Reason.APPLIED)


@pytest.mark.parametrize("consent", [True, False])
@pytest.mark.parametrize("status", Status)
def test_without_strength_nothing_else_matters(status, consent):
    for user_id in ("", "u1"):
        taste = decide_for(ZERO, user_id, make_shopper(status, consent))
        assert taste.account.reason is Reason.STRENGTH_ZERO and taste.shopper is None


@pytest.mark.parametrize("arm", [Arm.GENERIC, Arm.ORIGINAL])
def test_arms_without_a_shopper_have_no_strength(arm):
    taste = decide_for(Assignment(arm, 0.0), shopper=make_shopper(Status.FOUND, True))
    assert taste.account.reason is Reason.STRENGTH_ZERO and taste.shopper is None


def test_nobody_is_anonymous():
    taste = decide_for(user_id="", shopper=None)
    assert taste.account.reason is Reason.ANONYMOUS and taste.shopper is None


def test_an_embedding_of_nobody_is_not_used():
    taste = decide_for(user_id="", shopper=make_shopper(Status.FOUND, True))
    assert taste.account.reason is Reason.ANONYMOUS and taste.shopper is None


def test_a_shopper_who_was_not_read_is_unavailable():
    assert decide_for(shopper=None).account.reason is Reason.FEATURES_UNAVAILABLE


def test_a_record_that_says_nothing_of_consent_gives_none():
    assert Shopper(Status.FOUND, EMBEDDING).consent is False
    taste = decide_for(shopper=Shopper(Status.FOUND, EMBEDDING))
    assert taste.account.reason is Reason.NO_CONSENT and taste.shopper is None


def test_the_account_names_the_features_it_stands_on():
    account = decide_for(shopper=make_shopper(Status.FOUND, True)).account
    assert account.feature_service == "personalization_v1"
    assert account.feature_fingerprint == "0123"
    assert account.feature_ages_s == {"user_profile": 12.0}
    assert decide_for(shopper=None).account.feature_ages_s == {}


def test_nothing_is_told_of_features_whose_shopper_did_not_consent():
    profile = Profile(Status.FOUND, EMBEDDING, consent=False, age_s=12.0)
    account = decide_for(shopper=join_shopper(profile, Recent(Status.MISSING))).account
    assert account.reason is Reason.NO_CONSENT and account.feature_ages_s == {}


def test_every_status_and_every_reason_has_its_place():
    assert set(REASON_BY_STATUS) == set(Status)
    decided = {*REASON_BY_STATUS.values(), Reason.STRENGTH_ZERO, Reason.ANONYMOUS}
    assert decided | {Reason.NO_CONSENT} == set(Reason)
