"""Tokens: what was signed comes back, and nothing else is taken for it."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import dataclass, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.experiments import exposures
from server.experiments.events import Exposure
from server.experiments.exposures import (
    MAX_CHARS,
    TokenExpired,
    TokenForged,
    mint_id,
    open_token,
    sign,
)
from tests.server.experiments.event_log.happenings import NOW_S, bare, exposure

DAY_S = 86_400.0


@dataclass(frozen=True)
class Keys:
    all: tuple[bytes, ...]

    @property
    def signing(self) -> bytes:
        return self.all[0]


OLD, NEW = b"o" * 32, b"n" * 32
KEYS = Keys((NEW, OLD))

_finite = st.floats(allow_nan=False, allow_infinity=False)
_texts = st.tuples() | st.lists(st.text(max_size=8), max_size=3).map(tuple)
_exposures = st.builds(
    Exposure,
    minted_s=st.floats(0, 4e9),
    seed=st.integers(0, 2**64 - 1),
    interests=_texts,
    look=_texts,
    propensity=_finite,
    strength=_finite,
    latency_s=_finite,
    feature_ages_s=st.lists(st.tuples(st.text(max_size=8), _finite), max_size=3).map(tuple),
    context=st.lists(_finite, max_size=8).map(tuple),
)


def unpack(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def pack(signed: bytes) -> str:
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")


@given(_exposures)
def test_what_was_signed_comes_back_as_it_was(told):
    token = sign(told, KEYS)
    assert open_token(token, KEYS, told.minted_s, DAY_S) == told
    assert token.isascii() and not set(token) & set("+/=")


def test_only_what_is_set_is_in_it():
    assert len(sign(bare("x"), KEYS)) < 150
    assert len(sign(exposure(), KEYS)) < 1000
    content = json.loads(unpack(sign(bare("x"), KEYS))[16:])
    assert set(content.values()) == {"x", NOW_S, "", "generic", "handbag", 0}


def test_every_field_of_an_exposure_has_a_name_of_its_own_in_it():
    assert exposures._CODES.keys() == {field.name for field in fields(Exposure)}
    assert len(set(exposures._CODES.values())) == len(exposures._CODES)


def test_what_an_old_key_signed_is_good_until_that_key_goes():
    token = sign(exposure(), Keys((OLD,)))
    assert open_token(token, KEYS, NOW_S, DAY_S) == exposure()
    with pytest.raises(TokenForged):
        open_token(token, Keys((NEW,)), NOW_S, DAY_S)


def test_the_first_key_signs():
    assert open_token(sign(exposure(), KEYS), Keys((NEW,)), NOW_S, DAY_S) == exposure()


def test_a_token_with_any_bit_changed_is_forged():
    signed = unpack(sign(bare("x"), KEYS))
    for place in range(8 * len(signed)):
        changed = bytearray(signed)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(TokenForged):
            open_token(pack(bytes(changed)), KEYS, NOW_S, DAY_S)


@pytest.mark.parametrize(
    "token",
    ["", "A", "====", "....", "🦊" * 40, "a b", "A" * 22, "A" * 400, "A" * (MAX_CHARS + 4)],
)
def test_what_is_no_token_is_forged(token):
    with pytest.raises(TokenForged):
        open_token(token, KEYS, NOW_S, DAY_S)


@given(st.text())
def test_no_text_at_all_is_anything_but_forged(token):
    with pytest.raises(TokenForged):
        open_token(token, KEYS, NOW_S, DAY_S)


def test_a_part_of_a_token_or_more_than_one_is_forged():
    token = sign(exposure(), KEYS)
    for other in (token[:-4], token[4:], token + token, token + "AAAA"):
        with pytest.raises(TokenForged):
            open_token(other, KEYS, NOW_S, DAY_S)


def test_what_the_same_key_signed_for_something_else_is_forged():
    content = unpack(sign(exposure(), KEYS))[16:]
    token = pack(hmac.digest(NEW, content, "sha256")[:16] + content)
    with pytest.raises(TokenForged):
        open_token(token, KEYS, NOW_S, DAY_S)


def test_a_token_expires():
    told = replace(exposure(), minted_s=NOW_S)
    token = sign(told, KEYS)
    assert open_token(token, KEYS, NOW_S + DAY_S, DAY_S) == told
    with pytest.raises(TokenExpired):
        open_token(token, KEYS, NOW_S + DAY_S + 0.001, DAY_S)


def test_what_a_later_version_tells_besides_is_left_out():
    content = json.loads(unpack(sign(exposure(), KEYS))[16:]) | {"zz": [1]}
    data = json.dumps(content).encode()
    signature = hmac.digest(NEW, exposures._PURPOSE + data, "sha256")[:16]
    assert open_token(pack(signature + data), KEYS, NOW_S, DAY_S) == exposure()


def test_an_exposure_that_is_too_long_or_not_finite_is_not_signed():
    with pytest.raises(ValueError, match="characters"):
        sign(exposure(product_id="x" * MAX_CHARS), KEYS)
    with pytest.raises(ValueError):
        sign(exposure(latency_s=float("nan")), KEYS)


def test_ids_grow_with_the_time_and_are_never_the_same():
    early, late = mint_id(NOW_S), mint_id(NOW_S + 0.001)
    assert len(early) == 32 and early < late
    assert len({mint_id(NOW_S) for _ in range(1000)}) == 1000
    assert binascii.unhexlify(early)
