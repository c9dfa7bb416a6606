"""Pictures for many pairs of product and shopper: any family with the one signature, in batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from diffusion.denoiser import Conditions, per_row
from diffusion.fusion import ProductCondition, Vector
from diffusion.guidance import Guidance
from diffusion.noise import draw_noise
from diffusion.samplers import Plan, advance, plan_euler
from diffusion.walks import Rules, Walk, find_terms

Pixels = NDArray[np.uint8]
BATCH_ROWS = 16
"""Forward rows in one batch."""


class Model(Protocol):
    """What evaluation needs of a model family."""

    latent_shape: tuple[int, ...]
    rules: Rules

    def sigmas(self, num_steps: int) -> list[float]: ...

    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor: ...

    def decode(self, latents: Tensor) -> Pixels: ...

    def prepare_product(
        self, packshot: Pixels, image_embedding: Vector, title_embedding: Vector
    ) -> ProductCondition: ...


@dataclass(frozen=True, slots=True)
class Order:
    """One picture that is wanted; all that makes it is here. `taste` is the shopper when shown no
    product, by whom the taste bucket is chosen; left out, `shopper` says it."""

    product: ProductCondition
    shopper: Vector | None
    task: str
    shopper_scale: float
    num_steps: int
    seed: int
    taste: Vector | None = None

    @property
    def guidance(self) -> Guidance:
        return Guidance(1.0, 0.0 if self.shopper is None else self.shopper_scale)

    def plan(self, model: Model) -> tuple[Plan, Walk]:
        known = None
        if self.shopper is not None:
            taste = self.shopper if self.taste is None else self.taste
            known = model.rules.know(self.shopper, taste)
        plan = plan_euler(model.sigmas(self.num_steps))
        walk = model.rules.plan(self.product, known, self.task, self.guidance, plan, self.seed)
        return plan, walk


def generate(
    model: Model, orders: Sequence[Order], batch_rows: int = BATCH_ROWS, label: str | None = None
) -> Pixels:
    """[n, S, S, 3] in the order of `orders`; with a label, a progress bar."""
    found: dict[int, Pixels] = {}
    # Orders of equal length together: nobody waits for a longer walk.
    queue = sorted(range(len(orders)), key=lambda number: orders[number].num_steps)
    with tqdm(total=len(orders), desc=label, disable=label is None, unit=" images") as bar:
        for batch in _pack(orders, queue, batch_rows):
            pixels = model.decode(walk(model, [orders[number] for number in batch]))
            found |= dict(zip(batch, pixels, strict=True))
            bar.update(len(batch))
    return np.stack([found[number] for number in range(len(orders))])


def _pack(orders: Sequence[Order], queue: Sequence[int], batch_rows: int) -> Iterator[list[int]]:
    batch: list[int] = []
    num_rows = 0
    for number in queue:
        terms = len(orders[number].guidance.terms)
        if batch and num_rows + terms > batch_rows:
            yield batch
            batch, num_rows = [], 0
        batch.append(number)
        num_rows += terms
    if batch:
        yield batch


@torch.inference_mode()
def walk(model: Model, orders: Sequence[Order]) -> Tensor:
    """From noise to latents [n, C, h, w]; each row by its own plan, seed and conditions."""
    plans, walks = zip(*(order.plan(model) for order in orders), strict=True)
    noise = [draw_noise(order.seed, model.latent_shape) for order in orders]
    x = torch.stack([n * plan[0].sigma for n, plan in zip(noise, plans, strict=True)])
    x = x.to(orders[0].product.packshot.device)
    h = torch.zeros_like(x)
    for number in range(max(map(len, plans))):
        rows = [row for row, plan in enumerate(plans) if number < len(plan)]
        terms = [(i, t) for i, row in enumerate(rows) for t in find_terms(walks[row], number)]
        conditions = [term.cond for _, term in terms]
        cond = {name: torch.cat([c[name] for c in conditions]) for name in conditions[0]}
        owner = torch.tensor([i for i, _ in terms], device=x.device)
        ticks = [plans[row][number] for row in rows]
        sigma = torch.tensor([tick.sigma for tick in ticks], device=x.device)
        predicted = model.denoise(x[rows][owner], sigma[owner], cond)
        weight = torch.tensor([term.weight for _, term in terms], device=x.device)
        weighed = per_row(weight, predicted) * predicted
        denoised = torch.zeros_like(x[rows]).index_add_(0, owner, weighed)
        x[rows], h[rows] = advance(x[rows], denoised, h[rows], ticks)
    return x


def time_pictures(
    model: Model, orders: Sequence[Order], batch_size: int, num_batches: int
) -> list[float]:
    """Seconds for each picture in each of `num_batches` batches of a model that is warm."""
    seconds = []
    for _ in range(num_batches):
        started = time.perf_counter()
        model.decode(walk(model, orders[:batch_size]))
        seconds.append((time.perf_counter() - started) / batch_size)
    return seconds
