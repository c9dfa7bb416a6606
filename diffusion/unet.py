"""A small fully convolutional U-Net (Ronneberger et al., 2015) without any normalisation.

Nothing in it looks at a whole picture or at another row: a pixel depends on its neighbourhood and
on nothing else, so that tiles of a picture fit together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

FACT_PLACES = 12
"""A number in 0..1 is told as bumps at so many places, the nearest the highest."""

FACTS_WIDTH = 64


class Block(nn.Module):
    """Two convolutions on a residual branch; what is in between, facts may scale and shift."""

    def __init__(self, channels: int, facts_width: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(facts_width, 2 * channels) if facts_width else None
        nn.init.zeros_(self.conv_out.weight)
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, facts: Tensor | None) -> Tensor:
        inner = self.conv_in(F.silu(x))
        if self.modulation is not None and facts is not None:
            scale, shift = self.modulation(facts)[:, :, None, None].chunk(2, dim=1)
            inner = inner * (1 + scale) + shift
        return x + cast(Tensor, self.conv_out(F.silu(inner)))


class UNet(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """forward: x [n, C, H, W] and `num_facts` numbers about each row, [n, f] in 0..1 →
    [n, out_channels, H, W].

    Height and width are multiples of `multiple`. A fresh network answers with zeros.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int] = (48, 96, 144),
        num_blocks: Sequence[int] = (2, 2, 3),
        num_facts: int = 0,
    ) -> None:
        super().__init__()
        facts_width = FACTS_WIDTH if num_facts else 0
        levels = list(zip(widths, num_blocks, strict=True))
        self.facts = nn.Linear(FACT_PLACES * num_facts, FACTS_WIDTH) if num_facts else None
        self.enter = nn.Conv2d(4 * in_channels, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for (width, count), below in zip(levels[:-1], widths[1:], strict=True):
            self.down.append(nn.ModuleList(Block(width, facts_width) for _ in range(count)))
            self.up.append(nn.ModuleList(Block(width, facts_width) for _ in range(count)))
            self.shrink.append(nn.Conv2d(width, below, 2, stride=2))
            self.grow.append(nn.ConvTranspose2d(below, width, 2, stride=2))
        width, count = levels[-1]
        self.bottom = nn.ModuleList(Block(width, facts_width) for _ in range(count))
        self.leave = nn.Conv2d(widths[0], 4 * out_channels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(cast(Tensor, self.leave.bias))

    @property
    def multiple(self) -> int:
        return int(2 ** len(self.config.widths))

    def forward(self, x: Tensor, facts: Tensor | None = None) -> Tensor:
        known = None
        if self.facts is not None and facts is not None:
            known = F.silu(self.facts(spread_facts(facts).to(self.dtype)))
        x = self.enter(F.pixel_unshuffle(x, 2))
        skips = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            x = _run(blocks, x, known)
            skips.append(x)
            x = shrink(x)
        x = _run(self.bottom, x, known)
        for blocks, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            x = _run(blocks, skips.pop() + grow(x), known)
        return F.pixel_shuffle(cast(Tensor, self.leave(x)), 2)


def spread_facts(facts: Tensor) -> Tensor:
    """[n, f] in 0..1 → [n, f * FACT_PLACES], so that a small change of one is seen."""
    places = torch.linspace(0, 1, FACT_PLACES, device=facts.device)
    distance = (facts.float()[..., None] - places) * (FACT_PLACES - 1)
    return torch.exp(-0.5 * distance.square()).flatten(1)


def _run(blocks: nn.Module, x: Tensor, facts: Tensor | None) -> Tensor:
    for block in cast(nn.ModuleList, blocks):
        x = block(x, facts)
    return x


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
