"""Bytes that come back as they went, or not at all."""

from dataclasses import replace

import pytest

from server.core import Degradation, Reason, Source
from server.image_cache.stored import (
    MAGIC,
    Kept,
    anonymize,
    is_worth_keeping,
    pack,
    unpack,
)
from tests.server.image_cache.results import result


def kept(data=b"pixels" * 100):
    return Kept(anonymize(result(data)), 1_700_000_000.25)


def test_a_result_comes_back_whole():
    assert unpack(pack(kept())) == kept()


def test_the_files_are_stored_as_they_are():
    assert b"pixels" * 100 in pack(kept()) and len(pack(kept())) < 2 * 600 + 2500


def test_nothing_of_a_request_or_a_shopper_is_kept():
    told = anonymize(result())
    assert told.source is Source.CACHE and told.request_id == "" and told.timings_s == {}
    assert told.explanation is None
    assert told.personalization.reason is Reason.APPLIED
    assert not told.personalization.feature_ages_s
    assert b"somebody" not in pack(Kept(told, 1.0))


def test_every_broken_byte_is_noticed():
    data = pack(kept(b"px"))
    for place in range(len(data)):
        broken = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(ValueError):
            unpack(broken)


def test_a_shortened_or_empty_file_is_noticed():
    data = pack(kept())
    for length in (0, 1, len(MAGIC), len(MAGIC) + 20, len(data) - 1):
        with pytest.raises(ValueError):
            unpack(data[:length])


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({}, True),
        ({"source": Source.CACHE}, False),
        ({"source": Source.ORIGINAL}, False),
        ({"degradation": Degradation.FEWER_STEPS}, False),
        ({"num_missing": 1}, False),
    ],
)
def test_only_what_was_made_whole_is_worth_keeping(changes, is_kept):
    assert is_worth_keeping(result(**changes)) == is_kept


def test_a_result_of_which_one_image_is_the_packshot_is_not_worth_keeping():
    made = result()
    original = replace(made.images[1], is_original=True)
    assert not is_worth_keeping(replace(made, images=(made.images[0], original)))


def test_an_original_that_is_shared_stays_an_original():
    told = anonymize(result(source=Source.ORIGINAL, degradation=Degradation.ORIGINAL))
    assert told.source is Source.ORIGINAL and told.degradation is Degradation.ORIGINAL


def test_room_is_counted_by_the_files():
    small, large = kept(b"x"), kept(b"x" * 10_000)
    assert large.num_bytes - small.num_bytes == 2 * 9_999
    assert replace(small, made_s=0.0).num_bytes == small.num_bytes
