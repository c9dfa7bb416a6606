"""The fingerprint: same features and encoders, same print; anything else, another."""

import dataclasses
import re

import pytest

from diffusion.taste import STORED_RECIPE
from features import vector
from features.schema import USER_PROFILE, USER_RECENT, VIEWS
from features.vector import FingerprintMismatch, check_fingerprint, fingerprint


def test_a_fingerprint_is_16_hex_digits_and_always_the_same():
    assert re.fullmatch(r"[0-9a-f]{16}", fingerprint(128, "ab" * 8))
    assert fingerprint(128, "ab" * 8) == fingerprint(128, "ab" * 8)


def test_another_width_or_other_encoders_give_another_fingerprint():
    prints = {fingerprint(128, "a"), fingerprint(129, "a"), fingerprint(128, "b")}
    assert len(prints) == 3


def test_another_order_of_features_gives_another_fingerprint(monkeypatch):
    before = fingerprint(128, "a")
    turned = dataclasses.replace(USER_PROFILE, columns=USER_PROFILE.columns[::-1])
    monkeypatch.setattr(vector, "VIEWS", (turned, *VIEWS[1:]))
    assert fingerprint(128, "a") != before


def test_more_last_clicks_or_other_weights_give_another_fingerprint(monkeypatch):
    before = fingerprint(128, "a")
    shapes = {**USER_RECENT.shapes, "recent_weights": (9,)}
    longer = tuple(dataclasses.replace(v, shapes=shapes) if v is USER_RECENT else v for v in VIEWS)
    with monkeypatch.context() as patched:
        patched.setattr(vector, "VIEWS", longer)
        assert fingerprint(128, "a") != before
    monkeypatch.setattr(vector, "STORED_RECIPE", (*STORED_RECIPE[:-1], 9))
    assert fingerprint(128, "a") != before


def test_a_mismatch_names_both_prints():
    with pytest.raises(FingerprintMismatch, match=r"is aaaa, but .* make bbbb") as caught:
        check_fingerprint("aaaa", "bbbb")
    assert (caught.value.stored, caught.value.expected) == ("aaaa", "bbbb")


def test_a_store_without_a_print_is_a_mismatch_too():
    with pytest.raises(FingerprintMismatch, match="is missing"):
        check_fingerprint("", "bbbb")
