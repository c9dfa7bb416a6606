"""How much a picture is damaged, and how: what the restorer is told before it begins.

A restorer that knows how wide a blur is has little more to learn than a filter for each width; one
that does not would have to find out in every pixel anew.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

KINDS = ("noise", "blur", "downscale", "jpeg")
"""Levels run from 0 to 1: noise of 60 codes, a blur of 4 px, 3.5 times too few pixels, and 1 less
a hundredth of a JPEG's quality."""

MAX_VOTES = 4
"""Tiles of one picture are alike: more of them do not make it as much surer."""

Levels = NDArray[np.float32]


PLACES = torch.linspace(0, 1, 17)


class LevelEstimator(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """forward: pixels [n, 3, H, W] in [-1, 1] → logits [n, 4, 17] of how likely each level is.

    Not the level itself: most pictures have none of a kind, so that whoever is unsure would say
    that there is none.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, widths: tuple[int, int, int, int] = (24, 48, 64, 96)) -> None:
        super().__init__()
        self.enter = nn.Conv2d(6, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(above, below, 3, padding=1, stride=2)
            for above, below in zip(widths[:-1], widths[1:], strict=True)
        )
        self.read = nn.Sequential(
            nn.Linear(2 * sum(widths), 128), nn.SiLU(), nn.Linear(128, len(KINDS) * len(PLACES))
        )

    def forward(self, pixels: Tensor) -> Tensor:
        # Damage is in what is fine: beside the colours, how each pixel differs from those around.
        around = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        x = F.silu(self.enter(torch.cat([pixels, 8 * (pixels - around)], dim=1)))
        found = [x.mean(dim=(2, 3)), x.amax(dim=(2, 3))]
        for layer in self.down:
            x = F.silu(layer(x))
            found += [x.mean(dim=(2, 3)), x.amax(dim=(2, 3))]
        logits = cast(Tensor, self.read(torch.cat(found, dim=1)))
        return logits.float().view(-1, len(KINDS), len(PLACES))


def expect(logits: Tensor) -> Tensor:
    """The mean level [n, 4]."""
    return (logits.softmax(dim=-1) * PLACES.to(logits.device)).sum(dim=-1)


def agree(logits: Tensor) -> Levels:
    """One estimate [4] of a picture from those of its tiles [n, 4, 17]: as likely as it is in all
    of them together, where a tile of one colour has nothing to say."""
    together = logits.log_softmax(dim=-1).mean(dim=0, keepdim=True) * min(len(logits), MAX_VOTES)
    return cast(Levels, expect(together)[0].cpu().numpy())
