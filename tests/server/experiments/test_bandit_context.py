"""What a bandit is told of who asks, and what can't be found in it."""

import numpy as np
import pytest

from features.records import Shopper, Status
from server.core import ImageRequest
from server.experiments.bandit_context import NUM_FACTS, NUM_TASTES, SIZE, describe

ALICE = ImageRequest("shoe", user_id="alice")
SESSION = ImageRequest("shoe", session_id="s")
NO_TASTE = (0.0,) * NUM_TASTES


def known(profile, **fields) -> Shopper:
    return Shopper(Status.FOUND, np.asarray(profile, np.float32), consent=True, **fields)


def taste(profile) -> tuple[float, ...]:
    return describe(ALICE, known(profile))[NUM_FACTS:]


def draw_profile(seed: int, width: int = 512):
    return np.random.default_rng(seed).normal(size=width)


def test_of_nobody_it_is_one_and_that_nobody_is_named():
    assert describe(SESSION, None) == (1.0, 1.0, 0.0, 0.0, *NO_TASTE)
    assert describe(ALICE, None) == (1.0, 0.0, 0.0, 0.0, *NO_TASTE)


def test_without_consent_it_is_as_if_nothing_were_known():
    shopper = Shopper(Status.FOUND, draw_profile(0).astype(np.float32), interests=("art",))
    assert describe(ALICE, shopper) == describe(ALICE, None)


def test_of_a_newcomer_there_is_no_taste():
    newcomer = Shopper(Status.MISSING, consent=True)
    assert describe(ALICE, newcomer) == (1.0, 0.0, 0.0, 0.0, *NO_TASTE)
    told = Shopper(Status.MISSING, consent=True, interests=("art",))
    assert describe(ALICE, told) == (1.0, 0.0, 0.0, 1.0, *NO_TASTE)


def test_of_a_known_shopper_there_is_a_taste_of_about_the_length_one():
    told = describe(ALICE, known(draw_profile(1), interests=("art", "food")))
    assert told[:NUM_FACTS] == (1.0, 0.0, 1.0, 1.0) and len(told) == SIZE
    lengths = [np.linalg.norm(taste(draw_profile(seed))) for seed in range(200)]
    assert np.mean(lengths) == pytest.approx(1.0, abs=0.05) and max(lengths) < 2


def test_it_means_the_same_on_every_machine_and_for_good():
    """Whoever changes this makes all that was logged mean something else."""
    step = np.zeros(64)
    step[:3] = 1, 2, -2
    assert taste(step) == (0.12, -0.35, 0.12, 0.35, 0.59, 0.12, 0.59, -0.59)


def test_it_is_told_in_hundredths_and_without_its_length():
    profile = draw_profile(2)
    assert taste(profile) == taste(3.7 * profile)
    assert all(round(each, 2) == each for each in taste(profile))


def test_like_tastes_have_like_contexts():
    """Closeness is kept but for the noise of eight random directions."""
    rng = np.random.default_rng(3)
    first, close = draw_profile(4), []
    for share in (0.05, 0.5, 1.0):
        others = [(1 - share) * first + share * rng.normal(size=512) for _ in range(50)]
        close.append(np.mean([np.dot(taste(first), taste(other)) for other in others]))
    assert close[0] > 0.8 * np.dot(taste(first), taste(first)) > close[1] > close[2]


def test_an_embedding_cant_be_found_from_it():
    """Two that have next to nothing in common are told alike."""
    profile = draw_profile(5)
    directions = np.array([taste(row) for row in np.eye(512)]).T  # as far as hundredths tell
    seen = np.linalg.pinv(directions) @ (directions @ profile)
    other = 2 * seen - profile  # the same as far as it is told, the opposite in all else
    cosine = np.dot(profile, other) / np.dot(profile, profile)
    assert cosine < -0.9
    assert taste(other) == pytest.approx(taste(profile), abs=0.011)


@pytest.mark.parametrize(("width", "num"), [(4, 0), (8, 1), (20, 2), (64, 8), (768, 8)])
def test_of_a_narrow_embedding_less_is_told(width, num):
    assert np.count_nonzero(taste(np.ones(width) + draw_profile(6, width) / 9)) <= num
    told = {index for row in np.eye(width) for index in np.flatnonzero(taste(row))}
    assert told == set(range(num))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_what_has_no_direction_is_no_taste(value):
    assert taste([value] * 64) == NO_TASTE


def test_a_long_embedding_has_a_direction_still():
    profile = draw_profile(7)
    assert taste(profile * 1e37) == taste(profile)
