"""The one signature: `denoised = denoiser(x, sigma, cond)`, with one sigma per row.

x [rows, C, h, w] is the sample with noise of standard deviation sigma [rows] added to it, denoised
is the expected sample without. The adapters here turn networks that predict something else into
that; samplers never ask what model they have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor

Conditions = Mapping[str, Tensor]
"""What steers each row; every tensor's first dimension is the rows."""


class Denoiser(Protocol):
    def __call__(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor: ...


Network = Callable[..., Tensor]
"""`network(x, t, **cond)` with the network's own idea of input scale and time."""


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """[rows] → [rows, 1, ...], to multiply `like` with."""
    return values.reshape(-1, *(1,) * (like.dim() - 1)).to(like.dtype)


class FlowDenoiser:
    """A network that predicts the velocity noise - image at x_t = (1 - t) image + t noise.

    Liu et al. (2022). With t = sigma / (1 + sigma), x_t is x / (1 + sigma).
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        t = sigma / (1 + sigma)
        x_t = x / per_row(1 + sigma, x)
        return x_t - per_row(t, x) * self.network(x_t, t, **cond)


class NoiseDenoiser:
    """A network that predicts the noise (eps) at x / sqrt(1 + sigma²), Ho et al. (2020).

    `time` maps sigma to the network's time, usually by its discrete training schedule.
    """

    def __init__(self, network: Network, time: Callable[[Tensor], Tensor]) -> None:
        self.network, self.time = network, time

    def __call__(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        scaled = x / per_row((1 + sigma**2).sqrt(), x)
        return x - per_row(sigma, x) * self.network(scaled, self.time(sigma), **cond)


class VelocityDenoiser:
    """A network that predicts v = alpha·noise - sigma·image, Salimans & Ho (2022)."""

    def __init__(self, network: Network, time: Callable[[Tensor], Tensor]) -> None:
        self.network, self.time = network, time

    def __call__(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        total = 1 + sigma**2
        v = self.network(x / per_row(total.sqrt(), x), self.time(sigma), **cond)
        return x / per_row(total, x) - per_row(sigma / total.sqrt(), x) * v


class SampleDenoiser:
    """A network that predicts the image itself at x / sqrt(1 + sigma²)."""

    def __init__(self, network: Network, time: Callable[[Tensor], Tensor]) -> None:
        self.network, self.time = network, time

    def __call__(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        scaled = x / per_row((1 + sigma**2).sqrt(), x)
        return self.network(scaled, self.time(sigma), **cond)
