"""Trains a user adapter: what shoppers clicked, told to a pretrained UNet that stays as it is.

Of shopper and title each is left out now and then, so that guidance and the dial's zero keep their
meaning (Ho & Salimans, 2022).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.denoiser import Conditions
from diffusion.families.adapters.user_adapter import UserAdapter
from diffusion.noise import derive_seed, fold_seed
from diffusion.training.latents import Latents
from diffusion.training.loop import Kept, Schedule, draw, follow, set_rate, walk
from diffusion.training.noising import Noising, Noisy
from diffusion.training.pictures import Clicks, Size

DROP_BOTH, DROP_SHOPPER, DROP_TITLE = 0.05, 0.05, 0.05
VECTOR_NOISE = 0.05
"""Of the usual vector's length: so that no shopper is learnt by heart."""

BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class Listening:
    """Mean squared errors on shoppers held out: told who it is, told of another, told of nobody."""

    own: float
    other: float
    nobody: float


@dataclass(frozen=True)
class Examples:
    """A batch: latents [n, C, h, w], prompts, and shoppers' vectors [n, width], zero for nobody."""

    latents: Tensor
    prompts: list[str]
    shoppers: Tensor


@dataclass(frozen=True)
class AdapterTraining:
    """A frozen pipeline with an adapter in it, and what it is shown.

    `prompts` and `latents` are those of the pictures that `clicks` number. Where `is_half`, the
    UNet computes in bfloat16; the adapter's weights are float32 in any case.
    """

    pipe: Any
    adapter: UserAdapter
    noising: Noising
    clicks: Clicks
    prompts: Sequence[str]
    latents: Latents
    size: Size
    is_half: bool = False
    seed: int = 0

    @property
    def device(self) -> torch.device:
        device: torch.device = self.pipe.unet.device
        return device

    @cached_property
    def vector_noise(self) -> float:
        return VECTOR_NOISE * find_length(self.clicks) / math.sqrt(self.clicks.shoppers.shape[1])

    def train(self, schedule: Schedule, folder: Path, batch: int) -> None:
        """Leaves the adapter as its own moving average; curve and state are `folder`/adapter.csv
        and .pt, from which an interrupted run goes on."""
        average = copy.deepcopy(self.adapter).requires_grad_(False)
        optimizer = torch.optim.AdamW(
            self.adapter.parameters(),
            lr=schedule.learning_rate,
            betas=BETAS,
            weight_decay=schedule.weight_decay,
        )

        def take_step(step: int, _: torch.Generator) -> list[Tensor]:
            set_rate(optimizer, schedule, step)
            generator = self._seed("step", step)
            shown = self.draw(generator, batch)
            loss = self.measure(shown, self.noising.spoil(shown.latents, generator))
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.adapter.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            follow(average, self.adapter, schedule.decay(step))
            return [loss.detach()]

        parts: dict[str, Kept] = {
            "adapter": self.adapter,
            "average": average,
            "optimizer": optimizer,
        }
        walk("adapter", take_step, parts, schedule, folder)
        self.adapter.load_state_dict(average.state_dict())

    def draw(self, generator: torch.Generator, count: int) -> Examples:
        """Clicks at random, some without shopper, title or both."""
        rows = draw(generator, len(self.clicks), count).numpy()
        shown = self._show(self.clicks, rows)
        noise = torch.randn(shown.shoppers.shape, generator=generator)
        has_shopper, has_title = drop(generator, count)
        prompts = [
            prompt if known else ""
            for prompt, known in zip(shown.prompts, has_title.tolist(), strict=True)
        ]
        shoppers = (shown.shoppers + self.vector_noise * noise) * has_shopper[:, None]
        return Examples(shown.latents, prompts, shoppers)

    def measure(self, shown: Examples, noisy: Noisy) -> Tensor:
        """The mean squared error of the UNet's prediction."""
        unet = self.pipe.unet
        with torch.no_grad():
            known = dict(encode_prompts(self.pipe, shown.prompts, self.size))
        text = known.pop("text")
        shoppers = shown.shoppers[:, None].to(self.device)
        with self._precision():
            predicted = unet(
                noisy.x.to(self.device, unet.dtype),
                noisy.time.to(self.device),
                encoder_hidden_states=text,
                added_cond_kwargs={"image_embeds": [shoppers], **known},
                return_dict=False,
            )[0]
        return F.mse_loss(predicted.float(), noisy.target.to(self.device))

    @torch.no_grad()
    def listen(self, held_out: Clicks, batch: int, num_clicks: int = 128) -> Listening:
        """Whether shoppers it never saw are heard: the same noise for all three figures."""
        order = torch.randperm(len(held_out), generator=self._seed("order", 0)).numpy()
        order = order[:num_clicks]
        errors = []
        for first in range(0, len(order), batch):
            rows = order[first : first + batch]
            own = self._show(held_out, rows)
            others = torch.from_numpy(held_out.shoppers[np.roll(order, 1)[first : first + batch]])
            noisy = self.noising.spoil(own.latents, self._seed("noise", first))
            vectors = own.shoppers, others, torch.zeros_like(others)
            measured = [
                float(self.measure(Examples(own.latents, own.prompts, vector), noisy))
                for vector in vectors
            ]
            errors.append([len(rows) * error for error in measured])
        return Listening(*(np.sum(errors, axis=0) / len(order)).tolist())

    def _show(self, clicks: Clicks, rows: Any) -> Examples:
        pictures = clicks.picture[rows]
        prompts = [self.prompts[picture] for picture in pictures]
        return Examples(self.latents[pictures], prompts, torch.from_numpy(clicks.shoppers[rows]))

    def _seed(self, purpose: str, number: int) -> torch.Generator:
        """A function of the step: a resumed run draws what an uninterrupted one would have."""
        seed = fold_seed(derive_seed(str(self.seed), purpose, str(number)))
        return torch.Generator().manual_seed(seed)

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_half)


def drop(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Which rows know the shopper and which the title: bool [count] each."""
    share = torch.rand(count, generator=generator)
    has_neither = share < DROP_BOTH
    has_no_shopper = has_neither | (share >= 1 - DROP_SHOPPER)
    has_no_title = share < DROP_BOTH + DROP_TITLE
    return ~has_no_shopper, ~has_no_title


def find_length(clicks: Clicks) -> float:
    """Of a usual shopper's vector."""
    return float(np.sqrt(np.square(clicks.shoppers).sum(axis=1).mean())) or 1.0


def encode_prompts(pipe: Any, prompts: list[str], size: Size) -> Conditions:
    """`text` [n, places, width], and of Stable Diffusion XL the rest of what its UNet is told."""
    device = pipe.unet.device
    found = pipe.encode_prompt(
        prompt=prompts, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    if len(found) == 2:
        return {"text": found[0]}
    text, pooled = found[0], found[2]
    if pipe.config.force_zeros_for_empty_prompt:
        is_asked = torch.tensor([[bool(prompt)] for prompt in prompts], device=device)
        text, pooled = text * is_asked[..., None], pooled * is_asked
    width, height = size
    described = torch.tensor([height, width, 0, 0, height, width], device=device)
    time_ids = described.float().expand(len(prompts), -1)
    return {"text": text, "text_embeds": pooled, "time_ids": time_ids}
