"""Asking a model what each of its inputs does: one forward from the walk's own noise.

The look of a picture is decided while there is little else than noise. So a probe is the first tick
of a walk, with all that is known at its end and with the walk's own guidance, straight to the
prediction. Planning the same walk without an input and probing it shows what that input does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import replace
from typing import Any

import numpy as np

from diffusion.families.model import PretrainedDiffusion, PretrainedProduct
from diffusion.fusion import ProductCondition
from diffusion.image_model import ImageModel, Route
from diffusion.samplers import Tick
from diffusion.walks import Segment

TITLE, IMAGE = "title", "product image"


def probe(route: Route) -> Route:
    """A walk of one tick whose result is the prediction; where keys agree, so do predictions."""
    known = route.walk[-1]
    key = hashlib.blake2b(b"probe" + known.key, digest_size=16).digest()
    tick = Tick(route.plan[0].sigma, step=1, x_x=0.0, x_d=1.0)
    return replace(route, plan=(tick,), walk=(Segment(1, known.terms, key),))


def leave_out(model: ImageModel, product: Any, inputs: Set[str]) -> Any:
    """The prepared product without its `TITLE`, its `IMAGE` embedding or both. Its packshot stays:
    without one there is no product. What a model does not read changes nothing."""
    if isinstance(product, ProductCondition):
        title, image = product.title_embedding, product.image_embedding
        return replace(
            product,
            title_embedding=np.zeros_like(title) if TITLE in inputs else title,
            image_embedding=np.zeros_like(image) if IMAGE in inputs else image,
        )
    if isinstance(product, PretrainedProduct) and TITLE in inputs:
        assert isinstance(model, PretrainedDiffusion)
        prompt = model.encode_prompt(model.specification.prompt.format(title=""))
        digest = hashlib.blake2b(product.digest + b"untitled", digest_size=16).digest()
        return replace(product, title="", prompt=prompt, digest=digest)
    return product
