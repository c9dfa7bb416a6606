"""What a UNet was trained to undo: noisy latents, their time, and the prediction asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from diffusion.checkpoint import CheckpointUnusable
from diffusion.denoiser import per_row
from diffusion.training.loop import draw


@dataclass(frozen=True)
class Noisy:
    """x [n, C, h, w] and time [n], as the network is told them, and what it shall predict."""

    x: Tensor
    time: Tensor
    target: Tensor


class Noising(ABC):
    @abstractmethod
    def spoil(self, latents: Tensor, generator: torch.Generator) -> Noisy:
        """Latents [n, C, h, w] on the CPU, each at a time of its own."""


class DiscreteNoising(Noising):
    """1,000 noise levels, evenly drawn (Ho et al., 2020); predicts noise, velocity or sample."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.scheduler = DDPMScheduler.from_config(dict(config))
        self.prediction: str = self.scheduler.config.prediction_type

    def spoil(self, latents: Tensor, generator: torch.Generator) -> Noisy:
        noise = torch.randn(latents.shape, generator=generator)
        time = draw(generator, self.scheduler.config.num_train_timesteps, len(latents))
        x = self.scheduler.add_noise(latents, noise, time)
        if self.prediction == "v_prediction":
            return Noisy(x, time, self.scheduler.get_velocity(latents, noise, time))
        return Noisy(x, time, noise if self.prediction == "epsilon" else latents)


class FlowNoising(Noising):
    """Straight ways to noise (Liu et al., 2022) at shifted logit-normal times (Esser et al., 2024);
    predicts noise - image."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.num_times = int(config.get("num_train_timesteps", 1000))
        self.shift = float(config.get("shift") or config.get("flow_shift") or 1.0)

    def spoil(self, latents: Tensor, generator: torch.Generator) -> Noisy:
        noise = torch.randn(latents.shape, generator=generator)
        t = torch.sigmoid(torch.randn(len(latents), generator=generator))
        t = self.shift * t / (1 + (self.shift - 1) * t)
        return Noisy(
            torch.lerp(latents, noise, per_row(t, latents)), t * self.num_times, noise - latents
        )


def find_noising(scheduler: Any) -> Noising:
    """By what a pipeline's scheduler says of itself; raises CheckpointUnusable."""
    config, kind = scheduler.config, type(scheduler).__name__
    prediction = config.get("prediction_type", "epsilon")
    if (
        kind.startswith("FlowMatch")
        or config.get("use_flow_sigmas")
        or prediction == "flow_prediction"
    ):
        return FlowNoising(config)
    if "beta_schedule" not in config or prediction not in ("epsilon", "v_prediction", "sample"):
        raise CheckpointUnusable(
            f"scheduler/scheduler_config.json: a {kind} with prediction_type "
            f"{prediction} is none that can be trained for"
        )
    return DiscreteNoising(config)
