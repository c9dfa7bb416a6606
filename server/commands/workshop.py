"""How a model comes to run on the engines, and how it goes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.loading import load_model
from diffusion.families.model import PretrainedDiffusion
from diffusion.families.specification import ModelSpecification, PromptShopper
from diffusion.image_model import ImageModel, ProductFacts, Wish
from diffusion.model import ProductDiffusion
from server.revision import ModelFacts
from server.sampling.cores import take_cores
from server.sampling.engine import Engine
from server.sampling.row import RowRequest
from server.workshop import Workshop

T = TypeVar("T")


def open_workshop(
    engines: Sequence[Engine], devices: Sequence[str], embedding_width: int
) -> Workshop:
    """One engine a device, in the same order; features are vectors of `embedding_width` numbers."""

    def load(specification: ModelSpecification, number: int) -> ImageModel:
        model = in_passing(load_model, specification, devices[number])
        check_width(model, embedding_width)
        return model

    async def warm(model: ImageModel, number: int) -> Mapping[int, float]:
        engine = engines[number]
        requests = await asyncio.to_thread(in_passing, warm_requests, model)
        try:
            await asyncio.wrap_future(engine.add(model, requests))
        except torch.OutOfMemoryError as error:
            text = f"source: too little memory on {model.device} for a forward"
            raise CheckpointUnusable(text) from error
        except ValueError as error:  # strict mode
            raise CheckpointUnusable(f"source: {error}") from error
        return measure_steps(engine, model)

    def close(model: ImageModel, number: int) -> None:
        engines[number].remove(model.name)
        gc.collect()
        if model.device.type == "cuda":
            torch.cuda.empty_cache()

    return Workshop(load, warm, close, describe, devices=devices)


def choose_device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def in_passing(work: Callable[..., T], *arguments: object) -> T:
    """In a thread that ends with it: one that stayed would keep a team of threads on the cores of
    the engine."""
    with ThreadPoolExecutor(1, "passing", take_cores, (1,)) as executor:
        return executor.submit(work, *arguments).result()


def check_width(model: PretrainedDiffusion, embedding_width: int) -> None:
    """Whether the model can be shown this server's shoppers. Raises CheckpointUnusable."""
    told = model.specification.shopper
    if told is None or isinstance(told, PromptShopper):
        return
    if model.embedding_width != embedding_width:
        raise CheckpointUnusable(
            f"shopper.kind: this {told.kind} takes vectors of {model.embedding_width} numbers, and "
            f"the features have {embedding_width}: set model.image_encoder to the one that it was "
            "trained with, or train a user adapter for these features"
        )


def describe(model: ImageModel) -> ModelFacts:
    """What is to be known of a model of either kind."""
    if isinstance(model, PretrainedDiffusion):
        return _describe_pretrained(model)
    assert isinstance(model, ProductDiffusion)
    return ModelFacts(
        family="etalage",
        licence="Apache-2.0",
        dtype=_name_dtype(model.transformer),
        num_parameters=_count(model.transformer),
        weights_bytes=_weigh(model.transformer) + _weigh(model.autoencoder),
        shapes={model.sizes[0]: model.latent_shape},
        sampler=model.preset.sampler,
        steps=model.preset.num_steps,
        shopper="embedding, as a term of guidance in forward rows of its own",
        product="packshot as latents beside the noise, embeddings of picture and title",
    )


def _describe_pretrained(model: PretrainedDiffusion) -> ModelFacts:
    specification, told = model.specification, model.describe()
    return ModelFacts(
        family=specification.family,
        licence=specification.licence,
        dtype=_name_dtype(model.family.network),
        num_parameters=_count(model.family.network),
        weights_bytes=model.weights_bytes,
        shapes=model.shapes,
        sampler=model.preset.sampler,
        steps=model.preset.num_steps,
        shopper=told.get("shopper", ""),
        product=told.get("product", ""),
        styles=model.styles,
    )


def _name_dtype(network: nn.Module) -> str:
    return str(next(network.parameters()).dtype).removeprefix("torch.")


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _weigh(network: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in network.parameters())


def measure_steps(engine: Engine, model: ImageModel) -> Mapping[int, float]:
    """Seconds of a forward by bucket, in the model's own shape."""
    return engine.pace.measured_s(engine.key_of(model.name))


def warm_requests(model: ImageModel) -> list[RowRequest]:
    """A row of a grey square for nobody in each size that the model makes."""
    return [warm_request(model, width / height) for width, height in model.sizes]


def warm_request(model: ImageModel, aspect_ratio: float = 1.0) -> RowRequest:
    """What warming runs every bucket with."""
    square = np.full((64, 64, 4), 128, np.uint8)
    vector = np.zeros(model.embedding_width, np.float32)
    product = model.prepare(ProductFacts(square, "a product", vector, vector), aspect_ratio)
    route = model.plan(product, None, Wish("preserve", "euler", 1), seed=0)
    return RowRequest.along(route, model.name, seed=0)
