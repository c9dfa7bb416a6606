"""Which arm answers, and what it leaves of the strength."""

import pytest

from server.core import Arm, ImageRequest
from server.experiments.assignment import assign

DEFAULT = 0.5


@pytest.mark.parametrize(
    ("arm", "strength", "expected", "left"),
    [
        (None, None, Arm.PERSONALIZED, 0.5),
        (None, 0.0, Arm.PERSONALIZED, 0.0),
        (None, 1.0, Arm.PERSONALIZED, 1.0),
        (Arm.PERSONALIZED, 0.3, Arm.PERSONALIZED, 0.3),
        (Arm.GENERIC, None, Arm.GENERIC, 0.0),
        (Arm.GENERIC, 1.0, Arm.GENERIC, 0.0),
        (Arm.ORIGINAL, 1.0, Arm.ORIGINAL, 0.0),
    ],
)
def test_only_the_personalized_arm_leaves_a_strength(arm, strength, expected, left):
    assignment = assign(ImageRequest("shoe", arm=arm, strength=strength), DEFAULT)
    assert assignment.arm is expected and assignment.strength == left
    assert assignment.wants_shopper == (left > 0)
