"""models check: loads what a specification says, runs it, and tells what it is and takes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.loading import load_model
from diffusion.families.model import TASKS, PretrainedDiffusion
from diffusion.families.specification import (
    AdapterShopper,
    ModelSpecification,
    PromptShopper,
    Shopper,
    SpecificationInvalid,
)
from diffusion.image_model import ProductFacts, ShopperFacts, Wish
from diffusion.walks import Segment
from server import logs
from server.commands.workshop import choose_device, describe
from server.configuration import LoggingSlice
from server.revision import ModelFacts
from server.sampling.pace import Pace
from server.sampling.row import RowRequest
from server.sampling.warming import synchronize, warm

GIBIBYTE = 2**30


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. `peak_bytes` is what a device had allocated at most, None on a CPU; seconds
    of a forward are by bucket, in the model's first size."""

    name: str
    revision: str
    source: str
    device: str
    facts: ModelFacts
    conditioning: Mapping[str, str]
    speed: Mapping[str, object]
    load_s: float
    step_s: Mapping[int, float]
    decode_s: float
    peak_bytes: int | None


def check(
    path: Path, device: str, buckets: Sequence[int], is_json: bool, logging: LoggingSlice
) -> int:
    """Prints the report; the exit status. What is wrong is one line, with its file and field."""
    logs.configure_logs(logging.format, logging.level)
    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        report = inspect(ModelSpecification.read(path), find_device(device), buckets)
    except SpecificationInvalid as error:
        return _refuse(str(error))
    except CheckpointUnusable as error:
        return _refuse(f"{path}: {error}")
    except torch.OutOfMemoryError as error:
        return _refuse(f"{path}: too little memory on {device} for these buckets: {error}")
    text = json.dumps(write_json(report)) if is_json else "\n".join(write_text(report))
    print(text)
    return 0


def find_device(name: str) -> str:
    """Raises CheckpointUnusable where this machine has no such device."""
    wanted = torch.device(choose_device(name))
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise CheckpointUnusable(f"--device: this machine has no {name}")
    return str(wanted)


def inspect(specification: ModelSpecification, device: str, buckets: Sequence[int]) -> Report:
    """Raises CheckpointUnusable, torch.OutOfMemoryError."""
    is_cuda = torch.device(device).type == "cuda"
    if is_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    started_s = time.perf_counter()
    model = load_model(specification, device)
    load_s = time.perf_counter() - started_s
    with torch.inference_mode():
        request = _ask(model)
        step_s = _time_steps(model, request, buckets)
        decode_s = _time_decode(model, request)
    return Report(
        name=specification.name,
        revision=model.digest,
        source=specification.find(specification.source),
        device=device,
        facts=describe(model),
        conditioning=dict(_tell_conditioning(model)),
        speed={**specification.speed.model_dump(), "quantization": specification.quantization},
        load_s=load_s,
        step_s=step_s,
        decode_s=decode_s,
        peak_bytes=torch.cuda.max_memory_allocated(device) if is_cuda else None,
    )


def _tell_conditioning(model: PretrainedDiffusion) -> Iterator[tuple[str, str]]:
    """What the specification asks for, and what the family makes of it."""
    told, product = model.specification.shopper, model.specification.product
    found = dict(model.family.describe())
    family = found.pop("shopper", "")
    if told is None:
        yield "shopper", "not at all"
    else:
        yield "shopper", ": ".join(filter(None, (_tell_shopper(told), family)))
    for task in TASKS:
        yield f"{task}s by", ", ".join(product.of(task)) or "the prompt alone"
    yield from found.items()


def _tell_shopper(told: Shopper) -> str:
    if isinstance(told, AdapterShopper):
        off = ", kept off the product" if told.keeps_off_product else ""
        return f"{told.kind} {told.weights}, scale {told.scale:g}{off}"
    if isinstance(told, PromptShopper):
        return f"up to {told.max_interests} interests in the prompt"
    return f"{told.scale:.0%} of the way at strength 1"


def _ask(model: PretrainedDiffusion) -> RowRequest:
    """A row of a grey square, as it is at the end of a walk: with a shopper, where one enters."""
    square = np.full((64, 64, 4), 128, np.uint8)
    nothing = np.zeros(1, np.float32)
    product = model.prepare(ProductFacts(square, "a product", nothing, nothing))
    shopper, told = None, model.specification.shopper
    if isinstance(told, AdapterShopper | PromptShopper):
        width = model.family.shopper_width or 1
        vector = np.full(width, width**-0.5, np.float32)
        shopper = ShopperFacts(vector, vector, ("gardening",))
    route = model.plan(product, shopper, Wish("preserve", num_steps=2, strength=1.0), seed=0)
    last = route.walk[-1]
    walk = (Segment(last.stop, last.terms[-1:], last.key),)
    return RowRequest.along(replace(route, walk=walk), model.name, seed=0)


def _time_steps(
    model: PretrainedDiffusion, request: RowRequest, buckets: Sequence[int]
) -> dict[int, float]:
    """As the sampling engine warms, and the fastest of what it then measures."""
    found: dict[int, float] = {}

    def learn(_: object, shape: object, bucket: int, seconds: float) -> None:
        found[bucket] = min(seconds, found.get(bucket, seconds))

    for _ in warm(model, request, Pace(buckets), learn):
        pass
    term = request.walk[0].terms[0]
    x = torch.zeros(1, *(request.shape or model.latent_shape), device=model.device)
    if not model.denoise(x, x.new_ones(1), term.cond).isfinite().all():
        dtype = model.specification.dtype
        raise CheckpointUnusable(f"dtype: {dtype} gives numbers that are not finite")
    return dict(sorted(found.items()))


def _time_decode(model: PretrainedDiffusion, request: RowRequest) -> float:
    x = torch.zeros(1, *(request.shape or model.latent_shape), device=model.device)
    started_s = time.perf_counter()
    model.decode(x)
    synchronize(model.device)
    return time.perf_counter() - started_s


def write_json(report: Report) -> dict[str, object]:
    """Flat, with lists of objects where the keys would be numbers."""
    told = asdict(report)
    facts = told.pop("facts")
    shapes, steps = facts.pop("shapes"), told.pop("step_s")
    sizes = [
        {"width": width, "height": height, "latents": list(shape)}
        for (width, height), shape in shapes.items()
    ]
    times = [
        {"num_rows": bucket, "seconds": seconds, "rows_per_s": bucket / seconds}
        for bucket, seconds in steps.items()
    ]
    del facts["shopper"], facts["product"]  # they are in its conditioning
    return {**told, **facts, "sizes": sizes, "steps_by_bucket": times}


def write_text(report: Report) -> Iterator[str]:
    lines = list(_lines(report))
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        yield f"{name:<{width}}  {text}"


def _lines(report: Report) -> Iterator[tuple[str, str]]:
    facts = report.facts
    yield "name", report.name
    yield "family", facts.family
    yield "revision", report.revision
    yield "licence", facts.licence
    yield "source", report.source
    yield "device", f"{report.device}, {facts.dtype}"
    yield "parameters", f"{facts.num_parameters:,} in the network of a step"
    yield "weights", _bytes(facts.weights_bytes)
    peak = "not measured on a CPU" if report.peak_bytes is None else _bytes(report.peak_bytes)
    yield "peak memory", peak
    yield "loaded in", f"{report.load_s:.1f} s"
    for bucket, seconds in report.step_s.items():
        text = f"{seconds * 1000:10.1f} ms {bucket / seconds:10.2f} rows/s"
        yield f"step of {bucket} row{'s' * (bucket > 1)}", text
    yield "decoding", f"{report.decode_s * 1000:10.1f} ms"
    for (width, height), shape in facts.shapes.items():
        yield "size", f"{width} x {height}, latents {' x '.join(map(str, shape))}"
    yield "sampler", f"{facts.sampler}, {facts.steps} steps"
    yield from report.conditioning.items()
    yield "LoRAs", ", ".join(facts.styles) or "none"
    speed = [f"{name}: {value}" if value is not True else name for name, value in _asked(report)]
    yield "speed", ", ".join(speed) or "nothing asked for"


def _asked(report: Report) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, value in report.speed.items() if value not in (False, "none"))


def _bytes(count: int) -> str:
    return f"{count / GIBIBYTE:.2f} GiB" if count >= GIBIBYTE / 100 else f"{count:,} bytes"


def _refuse(text: str) -> int:
    print(f"models check: {' '.join(text.split())}", file=sys.stderr)
    return 1
