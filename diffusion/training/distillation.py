"""Distils the generator: a student learns to leap in few steps to where its teacher walks in many.

The teacher's walks are recorded once; then each Euler step of the student shall land where the
teacher was at that sigma (Luhman & Luhman, 2021; Salimans & Ho, 2022). Every step starts where the
student's own steps have led, so that one step's error is the next one's to correct.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from diffusion.denoiser import Conditions, per_row
from diffusion.fusion import ProductCondition
from diffusion.guidance import Guidance
from diffusion.model import ProductDiffusion
from diffusion.samplers import Plan, plan_euler
from diffusion.training.examples import Examples
from diffusion.training.generator import PRODUCT_WEIGHTS
from diffusion.training.loop import Schedule, draw, fit
from diffusion.transformer import TASKS, ProductTransformer
from diffusion.walks import Rules, Walk

TEACHER_STEPS, STUDENT_STEPS = 20, 4
FIRST_SEED = 1_000_000  # of the recorded walks: the steps of no training draw the same
ROWS = 32
"""Walks in one file."""

TOLERANCE = 0.1
"""Root mean square error of a velocity below which a step counts by its square, above it by its
size: a walk in ten turns on a hair, and would drown what is learnt from the others (pseudo-Huber,
as Song & Dhariwal, 2023)."""

KNOWN = ("packshot", "product", "title", "shopper", "task", "has_product", "has_shopper")

Record = Mapping[str, Tensor]
"""`states` [n, STUDENT_STEPS + 1, C, s, s]: x / (1 + sigma) at each of the student's sigmas, in
float16; and what was known of each walk, as `Examples` have it."""


def record_walks(
    teacher: ProductDiffusion,
    draw_examples: Callable[[torch.Generator, int], Examples],
    num_walks: int,
    folder: Path,
) -> Record:
    """Walks the teacher, or loads what an earlier run recorded of the same teacher."""
    folder = folder / f"walks-{teacher.digest}"
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number in tqdm(range(math.ceil(num_walks / ROWS)), "walks"):
        file = folder / f"{number:05}.safetensors"
        if not file.exists():
            generator = torch.Generator().manual_seed(FIRST_SEED + number)
            shown = draw_examples(generator, ROWS)
            save_file(walk_teacher(teacher, shown, generator), file.with_suffix(".part"))
            file.with_suffix(".part").rename(file)
        parts.append(load_file(file))
    return {name: torch.cat([part[name] for part in parts])[:num_walks] for name in parts[0]}


@torch.inference_mode()
def walk_teacher(
    teacher: ProductDiffusion, shown: Examples, generator: torch.Generator
) -> dict[str, Tensor]:
    """One record of what is shown, each walked from its own noise."""
    known = {name: getattr(shown, name).contiguous() for name in KNOWN}
    plan = plan_euler(teacher.sigmas(TEACHER_STEPS))
    walks = plan_walks(teacher.rules, known, plan, teacher.device)
    noise = torch.randn(len(walks), *teacher.latent_shape, generator=generator)
    x = plan[0].sigma * noise.to(teacher.device)
    states = []
    for number, tick in enumerate(plan):
        if number % (TEACHER_STEPS // STUDENT_STEPS) == 0:
            states.append(x / (1 + tick.sigma))
        sigma = torch.full([len(walks)], tick.sigma, device=teacher.device)
        x = tick.x_x * x + tick.x_d * teacher.denoise(x, sigma, gather(walks, number))
    return {"states": torch.stack([*states, x], dim=1).half().cpu(), **known}


def plan_walks(rules: Rules, known: Record, plan: Plan, device: torch.device) -> list[Walk]:
    """The walk of each row, one term a tick: what a server would evaluate by these rules."""
    vectors = {name: known[name].float().numpy() for name in ("product", "title", "shopper")}
    packshots = known["packshot"].to(device)
    walks = []
    for row, task in enumerate(known["task"].tolist()):
        has_shopper = bool(known["has_shopper"][row])
        has_product = has_shopper or bool(known["has_product"][row])
        product = ProductCondition(
            packshots[row : row + 1], vectors["product"][row], vectors["title"][row]
        )
        vector = vectors["shopper"][row]
        shopper = rules.know(vector, vector) if has_shopper else None
        guidance = Guidance(float(has_product), float(has_shopper))
        walks.append(rules.plan(product, shopper, TASKS[task], guidance, plan, seed=row))
    return walks


def gather(walks: Sequence[Walk], number: int) -> Conditions:
    """What each walk knows in this tick."""
    found = [next(part.terms[0].cond for part in walk if number < part.stop) for walk in walks]
    return {name: torch.cat([cond[name] for cond in found]) for name in found[0]}


def train_student(
    record: Record,
    network: ProductTransformer,
    rules: Rules,
    sigmas: Sequence[float],
    schedule: Schedule,
    folder: Path,
    batch: int,
) -> ProductTransformer:
    """`network` starts as the teacher's; `rules` and `sigmas` are those that the student is served
    by. A step of training takes `batch` walks from noise to image."""
    device = next(network.parameters()).device
    walks = plan_walks(rules, record, plan_euler(sigmas), device)
    products = torch.tensor([PRODUCT_WEIGHTS[task] for task in range(len(PRODUCT_WEIGHTS))])

    def loss(
        model: ProductTransformer, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        rows = draw(generator, len(walks), batch)
        states = record["states"][rows].float().to(device)
        cover = (record["packshot"][rows, -1:] + 1) / 2
        weight = 1 + (per_row(products[record["task"][rows]], cover) - 1) * cover
        taken = [walks[row] for row in rows.tolist()]
        errors = measure_steps(model, taken, states, sigmas)
        sizes = errors.detach().mean((2, 3, 4)).sqrt().mean(1)
        weighed = (errors * weight.to(device)).mean((2, 3, 4))
        value = (weighed + TOLERANCE**2).sqrt() - TOLERANCE
        return value.mean(), {f"step {n}": size.item() for n, size in enumerate(sizes, 1)}

    return fit("student", network, loss, schedule, folder)


def measure_steps(
    model: Callable[..., Tensor], walks: Sequence[Walk], states: Tensor, sigmas: Sequence[float]
) -> Tensor:
    """Squared error of the velocity in each step that the student takes itself, one after the
    other: [steps, rows, C, s, s]. `states` [rows, steps + 1, C, s, s] is where it shall land."""
    x = states[:, 0] * (1 + sigmas[0])
    errors = []
    for number, tick in enumerate(plan_euler(sigmas)):
        t, x_t = tick.sigma / (1 + tick.sigma), x / (1 + tick.sigma)
        landing = states[:, number + 1] * (1 + sigmas[number + 1])
        wanted = (x_t - (landing - tick.x_x * x) / tick.x_d) / t
        found = model(x_t, torch.full([len(x)], t, device=x.device), **gather(walks, number))
        errors.append(F.mse_loss(found.float(), wanted, reduction="none"))
        # Each step learns for itself: no gradient flows into the steps before it.
        x = tick.x_x * x + tick.x_d * (x_t - t * found.detach().float())
    return torch.stack(errors)
