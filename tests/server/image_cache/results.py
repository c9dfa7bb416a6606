"""Results to keep, and an observer that writes down what it is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from diffusion.cutout import MaskSource
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
from server.creative import Box, Element, Explanation, Fidelity, Kind, Layout, TextStyle, Try

NAME = "ab" * 20
OTHER = "cd" * 20


def result(data: bytes = b"pixels", **changes) -> ImageResult:
    """With everything that a result may say."""
    style = TextStyle("Sans", 12.5, "#102030", is_right_to_left=True, language="ar")
    element = Element(Kind.TITLE, Box(1.0, 2.0, 30.5, 4.0), "حقيبة\nظهر", style)
    layout = Layout(8, 6, Box(0.0, 0.0, 8.0, 6.0), (element,), is_mirrored=True)
    fidelity = Fidelity(0, 0.5, 0.1, 9.0, MaskSource.MATTING)
    image = EncodedImage(
        data, "image/png", 8, 6, 2**63 + 5, fidelity, look=("mint",), layout=layout
    )
    plain = EncodedImage(data[::-1], "image/png", 8, 6, 3)
    made = ImageResult(
        images=(image, plain),
        source=Source.GENERATED,
        personalization=Personalization(Reason.APPLIED, "service", "print", {"profile": 3.0}),
        arm=Arm.PERSONALIZED,
        model=ModelCard("default", "0123"),
        sampler=SamplerName.HEUN,
        steps=20,
        timings_s={"read": 0.001},
        request_id="of somebody",
        num_forward_rows=20,
        num_shared_steps=3,
        warnings=("a prompt was cut",),
        style="poster",
        tries=(Try(7, ("blurred",)),),
        explanation=Explanation((), "because of clicks of somebody", 3.0, 1.0),
        title_language="ar",
    )
    return replace(made, **changes)


class Ledger:
    """Counts by name and tier."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.num_bytes: dict[str, int] = {}

    def hit(self, tier: str) -> None:
        self.counts[f"hit {tier}"] += 1

    def missed(self) -> None:
        self.counts["missed"] += 1

    def joined(self) -> None:
        self.counts["joined"] += 1

    def evicted(self, tier: str, count: int) -> None:
        self.counts[f"evicted {tier}"] += count

    def held(self, tier: str, num_bytes: int) -> None:
        self.num_bytes[tier] = num_bytes

    def failed(self, tier: str) -> None:
        self.counts[f"failed {tier}"] += 1


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now
