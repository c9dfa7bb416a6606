"""Which earlier creative stands in, and that nothing of its shopper comes with it."""

from typing import Any

import numpy as np
import pytest

from server.core import (
    Arm,
    EncodedImage,
    ImageResult,
    ModelCard,
    Personalization,
    Reason,
    SamplerName,
    Source,
)
from server.nearest import NearestTaste

EAST, NORTH, WEST = np.array([1, 0]), np.array([0, 1]), np.array([-1, 0])


def creative(name, num_bytes=100, **fields):
    image = EncodedImage(name.encode().ljust(num_bytes), "image/png", 8, 8, 7)
    account = Personalization(Reason.APPLIED, "service_v1", "0123", {"user_profile": 90.0})
    defaults: dict[str, Any] = {
        "images": (image,),
        "source": Source.GENERATED,
        "personalization": account,
        "arm": Arm.PERSONALIZED,
        "model": ModelCard("window", "abcd"),
        "sampler": SamplerName.EULER,
        "steps": 20,
        "timings_s": {"sample": 1.0},
        "request_id": "of-somebody-else",
    }
    return ImageResult(**(defaults | fields))


def name_of(found):
    assert found is not None
    return found[0].images[0].data.rstrip().decode()


def memory(max_bytes=100_000, **bounds):
    return NearestTaste(max_bytes, **bounds)


def test_the_taste_with_the_highest_cosine_is_found_whatever_the_lengths():
    kept = memory()
    kept.keep("shoe", 9.0 * EAST, creative("east"))
    kept.keep("shoe", 0.1 * NORTH, creative("north"))
    found = kept.find("shoe", np.array([3.0, 4.0]))
    assert name_of(found) == "north"
    assert found[1] == pytest.approx(0.8)
    assert kept.find("hat", EAST) is None


def test_a_generic_one_is_the_fallback_and_better_than_a_taste_that_points_the_other_way():
    kept = memory()
    kept.keep("shoe", None, creative("generic"))
    assert kept.find("shoe", EAST)[1] == 0.0
    kept.keep("shoe", WEST, creative("west"))
    assert name_of(kept.find("shoe", EAST)) == "generic"
    kept.keep("shoe", EAST + NORTH, creative("between"))
    assert name_of(kept.find("shoe", EAST)) == "between"


def test_whoever_has_no_taste_never_sees_what_was_made_for_another():
    kept = memory()
    kept.keep("shoe", EAST, creative("east"))
    for nobody in (None, np.zeros(2), np.array([np.nan, 1.0])):
        assert kept.find("shoe", nobody) is None
    kept.keep("shoe", None, creative("generic"))
    assert name_of(kept.find("shoe", None)) == "generic"


def test_nothing_of_the_one_it_was_made_for_is_kept_but_the_image():
    kept = memory()
    kept.keep("shoe", EAST, creative("east"))
    result, _ = kept.find("shoe", EAST)
    assert (result.request_id, result.timings_s) == ("", {})
    assert result.personalization == Personalization(Reason.APPLIED, "service_v1", "0123")
    assert result.model == ModelCard("window", "abcd")


@pytest.mark.parametrize("source", [Source.CACHE, Source.ORIGINAL])
def test_what_was_not_sampled_is_not_kept(source):
    kept = memory()
    kept.keep("shoe", EAST, creative("copy", source=source))
    assert kept.find("shoe", EAST) is None


def test_a_taste_that_points_nowhere_is_not_kept():
    kept = memory()
    for taste in (np.zeros(2), np.array([np.nan, 1.0]), np.array([np.inf, 1.0])):
        kept.keep("shoe", taste, creative("lost"))
    assert (kept.num_entries, kept.num_bytes) == (0, 0)


def test_tastes_of_another_width_are_passed_over():
    kept = memory()
    kept.keep("shoe", np.ones(3), creative("wide"))
    assert kept.find("shoe", EAST) is None


def test_a_newcomer_takes_the_place_of_the_one_most_like_it_where_a_key_is_full():
    kept = memory(per_key=3)
    for taste, name in ((EAST, "east"), (NORTH, "north"), (None, "generic")):
        kept.keep("shoe", taste, creative(name))
    kept.keep("shoe", np.array([0.1, 1.0]), creative("nearly north"))
    assert kept.num_entries == 3
    assert name_of(kept.find("shoe", NORTH)) == "nearly north"
    assert name_of(kept.find("shoe", EAST)) == "east"
    assert name_of(kept.find("shoe", None)) == "generic"


def test_a_key_has_one_generic_creative_the_latest():
    kept = memory()
    for name in ("first", "second"):
        kept.keep("shoe", None, creative(name))
    assert name_of(kept.find("shoe", None)) == "second"
    assert kept.num_entries == 1


@pytest.mark.parametrize("bounds", [{"max_entries": 2}, {"max_bytes": 250}])
def test_the_keys_used_longest_ago_go_first(bounds):
    kept = memory(**bounds)
    kept.keep("shoe", EAST, creative("shoe"))
    kept.keep("hat", EAST, creative("hat"))
    assert kept.find("shoe", EAST)
    kept.keep("coat", EAST, creative("coat"))
    assert kept.find("hat", EAST) is None
    assert name_of(kept.find("shoe", EAST)) == "shoe"
    assert name_of(kept.find("coat", EAST)) == "coat"


def test_a_creative_larger_than_all_room_puts_nothing_out():
    kept = memory(max_bytes=250)
    kept.keep("shoe", EAST, creative("shoe"))
    kept.keep("hat", EAST, creative("hat", num_bytes=300))
    assert kept.find("hat", EAST) is None
    assert kept.find("shoe", EAST)


def test_its_counts_are_those_of_what_it_holds_through_thousands_of_changes():
    generator = np.random.default_rng(7)
    kept = memory(max_bytes=5_000, max_entries=40, per_key=4)
    for number in range(3000):
        taste = None if number % 5 == 0 else generator.normal(size=4)
        size = int(generator.integers(1, 400))
        kept.keep(int(generator.integers(30)), taste, creative("x", size))
        assert kept.num_entries <= 40 and kept.num_bytes <= 5_000
    held = [each for rivals in kept._by_key.values() for each in rivals]
    assert (kept.num_entries, kept.num_bytes) == (len(held), sum(e.num_bytes for e in held))
    assert all(1 <= len(rivals) <= 4 for rivals in kept._by_key.values())


def test_what_was_made_of_one_shoppers_embedding_is_forgotten_alone():
    kept = memory()
    kept.keep("lamp", EAST, creative("hers", maker="anna"))
    kept.keep("lamp", NORTH, creative("his", maker="bert"))
    kept.keep("chair", EAST, creative("hers too", maker="anna"))
    kept.keep("chair", None, creative("nobody's"))
    assert kept.forget("anna") == 2 and kept.forget("anna") == kept.forget("") == 0
    assert name_of(kept.find("lamp", EAST)) == "his"
    assert name_of(kept.find("chair", EAST)) == "nobody's"
    assert kept.num_entries == 2
