"""Which arm answers, and so how strongly the shopper may take part, before anything is read."""

from __future__ import annotations

from dataclasses import dataclass

from server.core import Arm, ImageRequest


@dataclass(frozen=True, slots=True)
class Assignment:
    """An arm and the strength that it leaves to the request: 0 unless it is personalized."""

    arm: Arm
    strength: float

    @property
    def wants_shopper(self) -> bool:
        return self.strength > 0


def assign(request: ImageRequest, default_strength: float) -> Assignment:
    """The request's own override, or the personalized arm for everybody."""
    arm = request.arm or Arm.PERSONALIZED
    asked = default_strength if request.strength is None else request.strength
    return Assignment(arm, asked if arm is Arm.PERSONALIZED else 0.0)
