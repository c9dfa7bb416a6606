"""The embedded default's network: a small latent diffusion transformer.

The packshot enters as latent channels beside the noise, so that identity needs no learning of the
product; title, image and shopper enter as tokens, and the shopper's taste modulates every block.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

TASKS = ("preserve", "restyle", "repair")
SHOPPER_LENGTH = 0.25
"""Of a usual shopper's embedding: clicks that disagree shorten it. Products' are of length 1."""


def embed_time(t: Tensor, width: int) -> Tensor:
    """Sinusoids of t in [0, 1]: [rows] → [rows, width]. Vaswani et al. (2017), section 3.5."""
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / half)
    angles = 1000 * t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Block(nn.Module):
    """Self-attention and MLP, modulated by adaLN-single (Chen et al., PixArt-α, 2023)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.norm_q = nn.RMSNorm(width // num_heads, eps=1e-6)
        self.norm_k = nn.RMSNorm(width // num_heads, eps=1e-6)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Parameter(torch.randn(6, width) / width**0.5)

    def attend(self, x: Tensor) -> Tensor:
        rows, tokens, width = x.shape
        q, k, v = self.qkv(x).view(rows, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(self.norm_q(q), self.norm_k(k), v)
        return cast(Tensor, self.out(attended.transpose(1, 2).reshape(rows, tokens, width)))

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (
            (modulation + self.modulation).unsqueeze(2).unbind(1)
        )
        x = x + gate_a * self.attend(self.norm_attention(x) * (1 + scale_a) + shift_a)
        return x + gate_m * cast(Tensor, self.mlp(self.norm_mlp(x) * (1 + scale_m) + shift_m))


class ProductTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Velocity of a rectified flow, `v = noise - image` in latent space, one time per row.

    Whether product and shopper take part is a flag per row: a row without one sees learned null
    tokens in its place, which is what guidance compares with.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 16,
        latent_side: int = 16,
        patch: int = 2,
        width: int = 256,
        depth: int = 8,
        num_heads: int = 4,
        embedding_width: int = 128,
        num_shopper_tokens: int = 4,
    ) -> None:
        super().__init__()
        self.patch, self.side = patch, latent_side // patch
        self.num_shopper_tokens = num_shopper_tokens
        self.embed = nn.Linear((2 * latent_channels + 1) * patch**2, width)
        self.position = nn.Parameter(0.02 * torch.randn(self.side**2, width))
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.task = nn.Embedding(len(TASKS), width)
        self.product_tokens = nn.Linear(embedding_width, width)
        self.title_tokens = nn.Linear(embedding_width, width)
        self.shopper_tokens = nn.Sequential(
            nn.Linear(embedding_width, width),
            nn.SiLU(),
            nn.Linear(width, (num_shopper_tokens + 1) * width),
        )
        self.null_product = nn.Parameter(0.02 * torch.randn(2, width))
        self.null_packshot = nn.Parameter(torch.zeros(latent_channels + 1))
        self.null_shopper = nn.Parameter(0.02 * torch.randn(num_shopper_tokens + 1, width))
        self.modulation = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(Block(width, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.final_modulation = nn.Linear(width, 2 * width)
        self.unembed = nn.Linear(width, latent_channels * patch**2)
        nn.init.zeros_(self.unembed.weight)
        nn.init.zeros_(self.unembed.bias)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        packshot: Tensor,
        product: Tensor,
        title: Tensor,
        shopper: Tensor,
        task: Tensor,
        has_product: Tensor,
        has_shopper: Tensor,
    ) -> Tensor:
        """Predicts the velocity.

        x [rows, C, s, s]; t [rows] in [0, 1]; packshot [rows, C + 1, s, s], its latents and mask;
        product, title, shopper [rows, embedding_width]; task [rows] index into TASKS;
        has_product, has_shopper [rows] bool. Returns [rows, C, s, s].
        """
        dtype = self.embed.weight.dtype
        unit = product.shape[1] ** 0.5  # to numbers of about 1, from which linear layers learn fast
        product, title, shopper = product * unit, title * unit, shopper * (unit / SHOPPER_LENGTH)
        packshot = torch.where(
            has_product[:, None, None, None], packshot, self.null_packshot[:, None, None]
        )
        tokens = self.embed(self.patchify(torch.cat([x, packshot], dim=1)).to(dtype))
        tokens = tokens + self.position
        facts = torch.stack(
            [self.product_tokens(product.to(dtype)), self.title_tokens(title.to(dtype))], dim=1
        )
        facts = torch.where(has_product[:, None, None], facts, self.null_product)
        taste = self.shopper_tokens(shopper.to(dtype)).unflatten(1, (-1, tokens.shape[2]))
        taste = torch.where(has_shopper[:, None, None], taste, self.null_shopper)
        clock = self.time(embed_time(t, tokens.shape[2]).to(dtype)) + self.task(task) + taste[:, 0]
        modulation = self.modulation(F.silu(clock)).unflatten(1, (6, -1))
        h = torch.cat([tokens, facts, taste[:, 1:]], dim=1)
        for block in self.blocks:
            h = block(h, modulation)
        shift, scale = self.final_modulation(F.silu(clock)).unsqueeze(1).chunk(2, dim=2)
        h = self.norm(h[:, : self.side**2]) * (1 + scale) + shift
        return self.unpatchify(self.unembed(h)).to(x.dtype)

    def patchify(self, x: Tensor) -> Tensor:
        rows, channels = x.shape[:2]
        x = x.reshape(rows, channels, self.side, self.patch, self.side, self.patch)
        return x.permute(0, 2, 4, 1, 3, 5).reshape(rows, self.side**2, -1)

    def unpatchify(self, tokens: Tensor) -> Tensor:
        rows = tokens.shape[0]
        x = tokens.reshape(rows, self.side, self.side, -1, self.patch, self.patch)
        return x.permute(0, 3, 1, 4, 2, 5).reshape(
            rows, -1, self.side * self.patch, self.side * self.patch
        )
