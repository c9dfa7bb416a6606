"""The sampling engine on a CUDA device: `python -m benchmarks.gpu`, one command under 8 minutes.

Needs torch, diffusers, transformers, safetensors, numpy, pillow and this repository, and neither
Feast nor gRPC. It runs the embedded model, on made-up products and shoppers, and a UNet of SDXL's
full configuration with random weights at 1024 px in bfloat16. `--model sdxl` measures that UNet
beside the stock diffusers pipeline. `--device cpu --unet tiny` tries the way without a GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import numpy as np
import torch

from benchmarks.engine_device import Bench, Size
from benchmarks.engine_unet import ARCHITECTURES, SDXL, UNetCrowd, UNetModel
from benchmarks.measurement import Options, Report, parse_options
from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.fusion import ProductCondition, Vector
from diffusion.guidance import Guidance
from diffusion.model import ProductDiffusion
from diffusion.samplers import plan_euler
from server.sampling.row import RowRequest

BUDGET_S = 400.0
"""After that nothing new is begun."""

FULL = {
    "default": Size((1, 2, 4, 8, 16, 32, 64, 128, 256), 20, 5, 24, 16),
    "unet": Size((1, 2, 4, 8, 16), 10, 5, 24, 4),
}
QUICK = {
    "default": Size((1, 4, 8), 6, 1, 6, 4),
    "unet": Size((1, 4, 8), 6, 1, 6, 4),
}


class MadeUpCrowd:
    """The embedded model on plain shapes, for shoppers near the centres of its taste buckets."""

    def __init__(self, model: ProductDiffusion) -> None:
        self.model = model
        self._products: dict[int, ProductCondition] = {}

    def ask(
        self, product: int, shopper: int, seed: int, num_steps: int, max_reuse_error: float = 0.0
    ) -> RowRequest:
        model, rules = self.model, self.model.rules
        plan = plan_euler(model.sigmas(num_steps))
        taste = self._make_taste(shopper)
        known = rules.know(taste, taste)
        guidance = Guidance(1.0, 1.0)
        walk = rules.plan(self._prepare(product), known, "preserve", guidance, plan, seed)
        return RowRequest(model.name, seed, plan, walk, None, max_reuse_error)

    def _prepare(self, number: int) -> ProductCondition:
        if number not in self._products:
            rng = np.random.default_rng(number)
            packshot = np.zeros((64, 64, 4), np.uint8)
            height, width = rng.integers(16, 56, size=2)
            packshot[32 - height // 2 :, 32 - width // 2 :][:height, :width] = 255
            packshot[..., :3] = rng.integers(256, size=3)
            vectors = [_draw_unit(rng, self.model.encoders.width) for _ in range(2)]
            self._products[number] = self.model.prepare_product(packshot, *vectors)
        return self._products[number]

    def _make_taste(self, number: int) -> Vector:
        rng = np.random.default_rng(number)
        buckets = self.model.rules.buckets
        own = 0.1 * _draw_unit(rng, self.model.encoders.width)
        if buckets is None:
            return own
        return np.asarray(buckets.centroids[rng.integers(len(buckets))] + own, np.float32)


def _draw_unit(rng: np.random.Generator, width: int) -> Vector:
    drawn = rng.standard_normal(width).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn), np.float32)


def describe_device(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


async def measure(report: Report, sizes: dict[str, Size], device: str, unet: str) -> None:
    end_s = time.monotonic() + BUDGET_S
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    small = ProductDiffusion.load(DEFAULT_CHECKPOINT, device, dtype)
    benches = [Bench("default", MadeUpCrowd(small), sizes["default"], report, end_s)]
    await benches[0].run()
    large = UNetModel(ARCHITECTURES[unet], device, dtype)
    report.environment["unet_parameters"] = large.num_parameters
    benches.append(Bench(unet, UNetCrowd(large), sizes["unet"], report, end_s))
    await benches[1].run()
    if not report.options.quick:  # a compiler takes its minutes, and comes last
        await benches[0].compare_compiled(small.compile)
        await benches[1].compare_compiled(large.compile)


async def measure_sdxl(report: Report, is_quick: bool, device: str, unet: str) -> None:
    from benchmarks import gpu_sdxl  # it needs pydantic too, which the rest does not

    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    size = gpu_sdxl.QUICK if is_quick else gpu_sdxl.FULL
    await gpu_sdxl.measure(report, size, device, dtype, ARCHITECTURES[unet])


def main(options: Options, device: str, unet: str, model: str = "engine") -> int:
    """2 where there is no such device."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device here; --device cpu --unet tiny tries the way", file=sys.stderr)
        return 2
    report = Report("gpu" if model == "engine" else "gpu_sdxl", options, describe_device(device))
    report.environment |= {"not_measured": {}, "seconds": {}}
    if model == "sdxl":
        asyncio.run(measure_sdxl(report, options.quick, device, unet))
    else:
        asyncio.run(measure(report, QUICK if options.quick else FULL, device, unet))
    for name, why in report.environment["not_measured"].items():
        print(f"not measured: {name}: {why}", file=sys.stderr)
    return report.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--unet", default=SDXL.name, choices=sorted(ARCHITECTURES))
    parser.add_argument("--model", default="engine", choices=["engine", "sdxl"])
    own, rest = parser.parse_known_args()
    options = parse_options(__doc__ or "", rest)
    raise SystemExit(main(options, own.device, own.unet, own.model))
