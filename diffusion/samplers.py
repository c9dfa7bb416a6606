"""Samplers as tables of coefficients: what a row does in each of its ticks.

One tick is one evaluation `denoised = denoiser(x, sigma, cond)`. All samplers here are linear in
the sample x, the prediction D and one remembered tensor h:

    x' = x_x·x + x_d·D + x_h·h + noise·z        h' = h_x·x + h_d·D

with fresh standard normal z for those that take some, so rows of different samplers, schedules and
lengths advance in one vectorised update. Coefficients are computed in double precision, once, when
a row is planned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tick:
    """Evaluate at `sigma`, then update. `step` counts finished steps once the tick is done."""

    sigma: float
    step: int
    x_x: float
    x_d: float
    x_h: float = 0.0
    h_x: float = 0.0
    h_d: float = 0.0
    noise: float = 0.0

    @property
    def t(self) -> float:
        """Where a rectified flow is at this sigma: 0 the image, 1 noise."""
        return self.sigma / (1 + self.sigma)

    @property
    def coefficients(self) -> tuple[float, float, float, float, float]:
        return self.x_x, self.x_d, self.x_h, self.h_x, self.h_d


Plan = tuple[Tick, ...]


def plan_euler(sigmas: Sequence[float]) -> Plan:
    """Karras et al. (2022), Algorithm 1 without churn: x' = x + (σ' - σ)(x - D)/σ."""
    return tuple(
        Tick(sigma, step, following / sigma, 1 - following / sigma)
        for step, (sigma, following) in enumerate(intervals(sigmas), 1)
    )


def plan_heun(sigmas: Sequence[float]) -> Plan:
    """Karras et al. (2022), Algorithm 1: an Euler step, then the trapezoid; the last is Euler's."""
    ticks: list[Tick] = []
    for step, (sigma, following) in enumerate(intervals(sigmas), 1):
        euler = (following / sigma, 1 - following / sigma)
        if following == 0:
            ticks.append(Tick(sigma, step, *euler))
            continue
        # h remembers the slope (x - D)/σ of the Euler step, which the correction averages away.
        ticks.append(Tick(sigma, step - 1, *euler, h_x=1 / sigma, h_d=-1 / sigma))
        half = (following - sigma) / 2
        ticks.append(Tick(following, step, 1 + half / following, -half / following, -half))
    return tuple(ticks)


def plan_heun_on_flow(sigmas: Sequence[float]) -> Plan:
    """The same in a rectified flow's own coordinates, x_t = x / (1 + σ) over t = σ / (1 + σ): the
    slope is the velocity (x - (1 + σ) D) / σ. The first step spans nearly all sigmas there are,
    over which the slope in x is far from even."""
    ticks: list[Tick] = []
    for step, (sigma, following) in enumerate(intervals(sigmas), 1):
        euler = (following / sigma, 1 - following / sigma)
        if following == 0:
            ticks.append(Tick(sigma, step, *euler))
            continue
        ticks.append(Tick(sigma, step - 1, *euler, h_x=1 / sigma, h_d=-(1 + sigma) / sigma))
        span = following / (1 + following) - sigma / (1 + sigma)
        half = (1 + following) * span / 2
        x_x, x_d = 1 + half / following, -half * (1 + following) / following
        ticks.append(Tick(following, step, x_x, x_d, -half))
    return tuple(ticks)


def plan_dpmpp_2m(sigmas: Sequence[float]) -> Plan:
    """DPM-Solver++(2M), Lu et al. (2022), Algorithm 2; first and last step are of first order."""
    ticks: list[Tick] = []
    before: float | None = None
    for step, (sigma, following) in enumerate(intervals(sigmas), 1):
        if following == 0:
            ticks.append(Tick(sigma, step, 0.0, 1.0, h_d=1.0))
            continue
        h = math.log(sigma / following)
        shift = -math.expm1(-h)
        r = None if before is None else math.log(before / sigma) / h
        past = 0.0 if r is None else shift / (2 * r)
        ticks.append(Tick(sigma, step, following / sigma, shift + past, -past, h_d=1.0))
        before = sigma
    return tuple(ticks)


def plan_euler_ancestral(sigmas: Sequence[float]) -> Plan:
    """Euler's step to a lower sigma than the next, and noise up to it: Karras et al. (2022), as
    k-diffusion splits a step into its deterministic and its random part."""
    ticks: list[Tick] = []
    for step, (sigma, following) in enumerate(intervals(sigmas), 1):
        up = following * math.sqrt(1 - (following / sigma) ** 2)
        down = math.sqrt(following**2 - up**2)
        ticks.append(Tick(sigma, step, down / sigma, 1 - down / sigma, noise=up))
    return tuple(ticks)


def plan_lcm(sigmas: Sequence[float]) -> Plan:
    """The prediction with fresh noise: Song et al. (2023), Algorithm 1, as consistency models
    distilled in latent space are walked (Luo et al., 2023)."""
    return tuple(
        Tick(sigma, step, 0.0, 1.0, noise=following)
        for step, (sigma, following) in enumerate(intervals(sigmas), 1)
    )


SAMPLERS: dict[str, Callable[[Sequence[float]], Plan]] = {
    "euler": plan_euler,
    "heun": plan_heun,
    "dpmpp_2m": plan_dpmpp_2m,
    "euler_ancestral": plan_euler_ancestral,
    "lcm": plan_lcm,
}


def intervals(sigmas: Sequence[float]) -> list[tuple[float, float]]:
    """Neighbours of a strictly falling schedule of positive sigmas; only the last may be zero."""
    pairs = list(zip(sigmas[:-1], sigmas[1:], strict=True))
    if not pairs or not all(a > b >= 0 for a, b in pairs):
        raise ValueError(f"sigmas must fall strictly from a positive value, got {list(sigmas)}")
    return pairs


def advance(x: Tensor, denoised: Tensor, h: Tensor, ticks: Sequence[Tick]) -> tuple[Tensor, Tensor]:
    """One update of all rows, each by its own tick; all tensors [rows, ...] float32."""
    table = torch.tensor([tick.coefficients for tick in ticks], dtype=x.dtype, device=x.device)
    return update(x, denoised, h, table)


def update(x: Tensor, denoised: Tensor, h: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """The same with the coefficients as a table [rows, 5] beside them."""
    x_x, x_d, x_h, h_x, h_d = table.T.reshape(5, -1, *(1,) * (x.dim() - 1))
    return x_x * x + x_d * denoised + x_h * h, h_x * x + h_d * denoised


def flow_sigmas(num_steps: int, t_max: float = 0.995, shift: float = 1.0) -> list[float]:
    """Times evenly spaced in [0, t_max] of a rectified flow, as sigma = t / (1 - t), ending in 0.

    `shift` > 1 spends more steps at high noise (Esser et al., 2024, eq. 23).
    """
    times = [t_max * (1 - i / num_steps) for i in range(num_steps)]
    times = [shift * t / (1 + (shift - 1) * t) for t in times]
    return [t / (1 - t) for t in times] + [0.0]


def karras_sigmas(
    num_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0
) -> list[float]:
    """Karras et al. (2022), eq. 5, ending in 0."""
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    span = max(num_steps - 1, 1)
    return [(high + i / span * (low - high)) ** rho for i in range(num_steps)] + [0.0]
