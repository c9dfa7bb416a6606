"""Where a pretrained model's own schedule goes, told in our sigmas.

diffusers' schedulers say which noise levels a model was trained for and where its pipeline stops;
our samplers do the walking. x is always the image with noise of standard deviation sigma added.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from diffusers import (
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
)
from torch import Tensor

from diffusion.samplers import SAMPLERS, Plan, karras_sigmas, plan_heun_on_flow

T_MAX = 0.999999
"""A flow's pipelines begin at t = 1, where sigma has no end; nobody sees the difference."""

SPACED_MAX = 9999.0
"""The largest sigma where the levels of a flow are spaced by ourselves."""

DEFAULTED = "_use_default_values"
"""Where diffusers notes which values of a configuration stood in no file."""

SHIFTS = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")


class Schedule(ABC):
    """The noise levels of a model."""

    sigma_min: float
    sigma_max: float

    @abstractmethod
    def own_sigmas(self, num_steps: int, num_tokens: int) -> list[float]:
        """Falling, ending in 0, as the model's pipeline steps; `num_tokens` are the places of a
        picture that a transformer sees."""

    @abstractmethod
    def time(self, sigma: Tensor) -> Tensor:
        """The network's own idea of time [rows]."""

    def plan(self, sampler: str, sigmas: Sequence[float]) -> Plan:
        """Raises KeyError on an unknown sampler."""
        return SAMPLERS[sampler](sigmas)

    def noise_scale(self, sigma: float) -> float:
        """Of the noise that a walk from `sigma` starts with."""
        return sigma

    def sigmas(self, num_steps: int, num_tokens: int, name: str | None = None) -> list[float]:
        """The model's own; or "karras", or evenly spaced times ("uniform"), in its range."""
        if name is None:
            return self.own_sigmas(num_steps, num_tokens)
        if name == "karras":
            return karras_sigmas(num_steps, self.sigma_min, self.sigma_max)
        high, low = (t / (1 + t) for t in (self.sigma_max, self.sigma_min))
        times = np.linspace(high, low, num_steps)
        return [float(t / (1 - t)) for t in times] + [0.0]


class DiscreteSchedule(Schedule):
    """Of networks that were trained on 1,000 noise levels and told their number.

    `kind` is "own" or a distillation's: "lightning" and "turbo" stop at trailing levels, "lcm" at
    those of its distillation.
    """

    def __init__(self, config: Mapping[str, Any], kind: str = "own") -> None:
        self.kind = kind
        spacing = {"timestep_spacing": "trailing"} if kind in ("lightning", "turbo") else {}
        # What a file leaves out is as its own scheduler has it, and not as Euler's.
        self.config = {name: told for name, told in config.items() if name != DEFAULTED}
        self.scheduler = EulerDiscreteScheduler.from_config(self.config, **spacing)
        alphas = self.scheduler.alphas_cumprod.double()
        # What steps are computed from; numpy deprecates how diffusers would turn a tensor into one.
        self.scheduler.alphas_cumprod = self.scheduler.alphas_cumprod.numpy()
        table = ((1 - alphas) / alphas).sqrt()
        self._table, self._logs = table, table.log().float()
        self.sigma_min, self.sigma_max = float(table[0]), float(table[-1])
        self.prediction: str = self.scheduler.config.prediction_type

    def own_sigmas(self, num_steps: int, num_tokens: int) -> list[float]:
        if self.kind == "lcm":
            scheduler = LCMScheduler.from_config(self.config)
            scheduler.set_timesteps(num_steps)
            return [float(self._table[int(t)]) for t in scheduler.timesteps] + [0.0]
        scheduler = copy(self.scheduler)  # which keeps what it is asked for last
        scheduler.set_timesteps(num_steps)
        return [float(sigma) for sigma in scheduler.sigmas]

    def noise_scale(self, sigma: float) -> float:
        if self.kind != "lcm" and self.scheduler.config.timestep_spacing in (
            "linspace",
            "trailing",
        ):
            return sigma
        return math.hypot(sigma, 1.0)

    def time(self, sigma: Tensor) -> Tensor:
        """By the logarithm of sigma, as Karras et al. (2022) read a discrete schedule."""
        logs = self._logs = self._logs.to(sigma.device)
        wanted = sigma.log()
        high = torch.searchsorted(logs, wanted).clamp(1, len(logs) - 1)
        low = high - 1
        share: Tensor = (wanted - logs[low]) / (logs[high] - logs[low])
        return low + share.clamp(0, 1)


class FlowSchedule(Schedule):
    """Of rectified flows: time runs from 1, noise, to 0, the image, and sigma = t / (1 - t).

    `is_spaced` says that the pipeline hands evenly spaced times to its scheduler in the place of a
    number of steps.
    """

    def __init__(
        self, config: Mapping[str, Any], is_spaced: bool = True, scale: float = 1.0
    ) -> None:
        self.scheduler = FlowMatchEulerDiscreteScheduler.from_config(dict(config))
        self.is_spaced, self.scale = is_spaced, scale
        self.sigma_min, self.sigma_max = 0.002, SPACED_MAX

    def plan(self, sampler: str, sigmas: Sequence[float]) -> Plan:
        return plan_heun_on_flow(sigmas) if sampler == "heun" else super().plan(sampler, sigmas)

    def own_sigmas(self, num_steps: int, num_tokens: int) -> list[float]:
        if num_steps == 1:  # all of the way, where a stretched schedule would have no number
            return [T_MAX / (1 - T_MAX), 0.0]
        told: dict[str, Any] = {}
        if self.scheduler.config.use_dynamic_shifting:
            told["mu"] = self.find_mu(num_tokens)
        if self.is_spaced:
            told["sigmas"] = np.linspace(1.0, 1 / num_steps, num_steps)
        else:
            told["num_inference_steps"] = num_steps
        scheduler = copy(self.scheduler)
        scheduler.set_timesteps(**told)
        times = [min(float(t), T_MAX) for t in scheduler.sigmas]
        return [t / (1 - t) for t in times]

    def find_mu(self, num_tokens: int) -> float:
        """Linear in the number of places (Esser et al., 2024, section 5.3.2, as Flux has it)."""
        told = self.scheduler.config
        low, high, base, top = (
            told.get(name, value)
            for name, value in zip(SHIFTS, (256, 4096, 0.5, 1.15), strict=True)
        )
        slope = (top - base) / (high - low)
        return float(num_tokens * slope + base - slope * low)

    def time(self, sigma: Tensor) -> Tensor:
        return self.scale * sigma / (1 + sigma)
