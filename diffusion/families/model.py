"""A pretrained model as a server uses it: a family, and all that is alike for every family."""

from __future__ import annotations

import hashlib
import itertools
import math
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.composition import place_in
from diffusion.denoiser import Conditions
from diffusion.encoders import to_pixels
from diffusion.families.adapters.canny import find_edges
from diffusion.families.adapters.lora import Loras, Style
from diffusion.families.family import Family, Prompt
from diffusion.families.scene_words import SceneTold, tell_scene
from diffusion.families.specification import (
    AdapterShopper,
    BlendShopper,
    ModelSpecification,
    PromptShopper,
    Size,
)
from diffusion.fusion import Vector
from diffusion.image_model import (
    PackshotNeeded,
    Pixels,
    Preset,
    ProductFacts,
    Route,
    ShopperFacts,
    Wish,
)
from diffusion.samplers import Tick
from diffusion.walks import Segment, Term, update_digest

GREY = 128
"""Around a packshot that a network is shown: nothing in particular."""

EMBEDDED_GUIDANCE = 3.5
"""Of models that are told of guidance, where the specification says nothing: FLUX.1-dev's own."""

KEPT_BYTES = 256 * 1024 * 1024
"""Of prompts that were read: a long one takes megabytes."""

TASKS = ("preserve", "restyle", "create")
SEEN = 8
"""Of 255: what is less opaque can't be seen."""


@dataclass(frozen=True, eq=False)
class PretrainedProduct:
    """A product as a pretrained model is shown it, in one size of picture: conditions by task, and
    the latents of its packshot [1, C, h, w], or of nothing where it `has_packshot` not. Its title
    has its attributes with it."""

    size: Size
    shape: tuple[int, int, int]
    title: str
    prompt: Prompt
    conditions: Mapping[str, Conditions]
    start: Tensor
    image_embedding: Vector
    digest: bytes
    has_packshot: bool = True

    @property
    def warnings(self) -> tuple[str, ...]:
        return _warn(self.prompt)

    @property
    def num_bytes(self) -> int:
        told = [self.start, *self.prompt.conditions.values()]
        told += [value for cond in self.conditions.values() for value in cond.values()]
        return sum({value.data_ptr(): value.nbytes for value in told}.values())


class PretrainedDiffusion:
    """Implements `diffusion.image_model.ImageModel` for every family.

    The shopper acts in the same forward rows as the product, with a strength of each row; guidance
    weighs the prompt against the negative one, as these models are used to.
    """

    is_planning_slow = True
    creates_by_pasting = False
    buckets = None

    def __init__(
        self,
        family: Family,
        specification: ModelSpecification,
        digest: str,
        loras: Loras | None = None,
        weights_bytes: int = 0,
    ) -> None:
        self.family, self.specification, self.loras = family, specification, loras
        self.digest, self.weights_bytes = digest, weights_bytes
        self.embedding_width = family.shopper_width or family.image_width or 1
        self.name = f"{specification.name}@{digest[:8]}"
        self.sizes: Sequence[Size] = specification.sizes or (family.default_size,)
        self.shapes = {size: family.latent_shape(size) for size in self.sizes}
        self.latent_shape: tuple[int, ...] = self.shapes[self.sizes[0]]
        self.preset = Preset(specification.sampler, specification.steps, specification.guidance)
        self._prompts: OrderedDict[str, Prompt] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def device(self) -> torch.device:
        return next(self.family.network.parameters()).device

    def describe(self) -> dict[str, str]:
        """How shopper and product enter, for people."""
        told, product = self.specification.shopper, self.specification.product
        shopper = "not at all"
        if isinstance(told, AdapterShopper):
            width = self.family.shopper_width
            shopper = f"{told.kind} {told.weights}, vectors of {width} numbers"
            if told.keeps_off_product:
                shopper += ", kept off the product"
        elif isinstance(told, PromptShopper):
            shopper = f"named interests in the prompt, up to {told.max_interests}"
        elif isinstance(told, BlendShopper):
            shopper = f"a spherical blend of image embeddings, {told.scale:.0%} of the way"
        ways = (f"{task}: {', '.join(product.of(task)) or 'prompt only'}" for task in TASKS)
        return {**self.family.describe(), "shopper": shopper, "product": "; ".join(ways)}

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of LoRAs that a request may choose."""
        return tuple(lora.name for lora in self.specification.loras)

    @property
    def max_interests(self) -> int:
        told = self.specification.shopper
        return told.max_interests if isinstance(told, PromptShopper) else 0

    def choose_size(self, aspect_ratio: float) -> Size:
        """The size of nearest proportions, the first where two are as near."""
        return min(self.sizes, key=lambda size: abs(math.log(size[0] / size[1] / aspect_ratio)))

    def choose_style(self, interests: Iterable[str]) -> str:
        """The first LoRA that is for one of these interests; empty where there is none."""
        liked = set(interests)
        found = (lora.name for lora in self.specification.loras if liked & set(lora.interests))
        return next(found, "")

    def load_style(self, name: str) -> Style:
        """Takes what is not resident from its file: not to be called from an event loop.

        Raises KeyError on an unknown name, NoRoom where all places are in use.
        """
        if self.loras is None:
            raise KeyError(name)
        return self.loras.load(name)

    @torch.inference_mode()
    def prepare(self, facts: ProductFacts, aspect_ratio: float = 1.0) -> PretrainedProduct:
        """Without a packshot, or with one of which nothing is seen, for creations alone."""
        size = self.choose_size(aspect_ratio)
        shape = self.shapes[size]
        pixels, cover = self._place(facts.cutout, size)
        has_packshot = bool(cover.any())
        title = facts.title
        if facts.attributes:
            title += self.specification.attributes.format(words=facts.attributes)
        prompt = self.encode_prompt(self.specification.prompt.format(title=title))
        start = self.family.encode_image(pixels)
        control = self._map(facts, size, pixels) if self.family.has_controlnet else None
        own = {**self.family.encode_packshot(pixels), **self.family.describe_size(size)}
        parts = facts.cutout, facts.control
        return PretrainedProduct(
            size,
            shape,
            title,
            prompt,
            {
                task: {**own, **self._show(task, control, cover, start, has_packshot)}
                for task in TASKS
            },
            start,
            facts.image_embedding,
            _digest(
                title.encode(),
                *(b"" if part is None else part.tobytes() for part in parts),
                struct.pack("<2q", *size),
            ),
            has_packshot,
        )

    def _place(self, cutout: Pixels | None, size: Size) -> tuple[Tensor, Tensor]:
        """The product on grey [1, 3, H, W] in [-1, 1], and where it is [1, 1, H, W]."""
        width, height = size
        shown = np.full((height, width, 3), GREY, np.float32)
        alpha = np.zeros((height, width), np.float32)
        if cutout is not None and (cutout[..., 3] > SEEN).any():
            rgb, alpha = place_in(cutout, width, height)
            shown = rgb * alpha[..., None] + GREY * (1 - alpha[..., None])
        pixels = to_pixels(np.rint(shown).astype(np.uint8)[None]).to(self.device)
        return pixels, torch.from_numpy(alpha)[None, None].to(self.device)

    def encode_prompt(self, text: str) -> Prompt:
        with self._lock:  # tokenizers keep state while they work
            if (known := self._prompts.get(text)) is not None:
                self._prompts.move_to_end(text)
                return known
            with torch.inference_mode():
                prompt = self._prompts[text] = self.family.encode_prompt(text)
            max_prompts = max(2, KEPT_BYTES // max(prompt.num_bytes, 1))  # all are of one size
            while len(self._prompts) > max_prompts:
                self._prompts.popitem(last=False)
        return prompt

    @torch.inference_mode()
    def plan(
        self, product: PretrainedProduct, shopper: ShopperFacts | None, wish: Wish, seed: int
    ) -> Route:
        """Where the shopper's interval ends above, the walk is the generic one up to there.

        Raises ValueError where a scene leaves nothing open, or a packshot is needed.
        """
        self._check_packshot(product, wish.task)
        scene = tell_scene(self.specification.scene, wish, seed)
        image, sigmas = None, self.sigmas(wish.num_steps, wish.sigmas, product.shape)
        if product.has_packshot and "image" in self.specification.product.of(wish.task):
            share = self.specification.product.image_strength
            num_steps = len(sigmas) - 1
            longer = self.sigmas(math.ceil(num_steps / share), wish.sigmas, product.shape)
            image, sigmas = product.start[0], longer[-num_steps - 1 :]
        schedule = self.family.schedule
        plan = schedule.plan(wish.sampler or self.preset.sampler, sigmas)
        scale = schedule.noise_scale(sigmas[0]) if image is None else sigmas[0]
        generic = personal = self._fuse(product, shopper, wish, scene)
        if shopper is not None and self.specification.intervals.shopper is not None:
            generic = self._fuse(product, None, wish, scene)
        digest = hashlib.blake2b(struct.pack("<Qd", seed, scale), digest_size=16)
        segments, stop = [], 0
        for phase, ticks in itertools.groupby(plan, self._find_phase):
            stop += update_digest(digest, ticks)
            known = personal if phase.has_shopper else generic
            digest.update(known.digest)
            terms = known.terms(self._find_guidance(wish) if phase.is_guided else 1.0)
            digest.update(struct.pack("<d", terms[-1].weight))
            segments.append(Segment(stop, terms, digest.digest()))
        warnings = personal.warnings
        if scene.avoided and self._find_guidance(wish) == 1:
            warnings += (f"guidance is 1, so that nothing is avoided: {scene.avoided}",)
        return Route(plan, tuple(segments), product.shape, scale, image, warnings, scene.look)

    def _check_packshot(self, product: PretrainedProduct, task: str) -> None:
        if product.has_packshot:
            return
        if task != "create":
            raise PackshotNeeded(f"{self.name} needs a packshot to {task} a product")
        if "reference" in self.specification.product.of(task):
            raise PackshotNeeded(f"{self.name} needs a packshot: its creations refer to one")

    def sigmas(
        self,
        num_steps: int | None = None,
        name: str | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> list[float]:
        shape = shape or self.latent_shape
        num_tokens = self.family.num_tokens(shape)
        return self.family.schedule.sigmas(num_steps or self.preset.num_steps, num_tokens, name)

    @torch.inference_mode()
    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        """With the product's region kept: its prediction there is the product itself, so that a
        walk that starts from noise is at every sigma the product with that noise."""
        if self.loras is not None:
            self.loras.select(cond["style"], cond["style_scale"])
        denoised = self.family.denoise(x, sigma, cond)
        return torch.lerp(denoised, cond["kept"].to(x.dtype), cond["keep"].to(x.dtype))

    def combine(
        self, predicted: Tensor, weight: Tensor, owner: Tensor, x: Tensor, sigma: Tensor
    ) -> Tensor:
        return self.family.combine(predicted, weight, owner, x, sigma)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Pixels:
        """[rows, C, h, w] → uint8 [rows, H, W, 3]."""
        pixels = self.family.decode(latents).float()
        coded = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return cast(Pixels, coded.permute(0, 2, 3, 1).cpu().numpy())

    def _map(self, facts: ProductFacts, size: Size, pixels: Tensor) -> Tensor:
        """What a ControlNet is shown [1, 3, H, W] in 0..1: the map that came along, placed as the
        product is and black around it, or else the edges of the packshot."""
        if facts.cutout is None or facts.control is None:
            return find_edges(pixels)
        mapped = np.concatenate([facts.control, facts.cutout[..., 3:]], axis=2)
        rgb, alpha = place_in(mapped, *size)
        shown = torch.from_numpy(rgb / 255 * alpha[..., None]).to(pixels)
        return shown.permute(2, 0, 1)[None]

    def _show(
        self,
        task: str,
        control: Tensor | None,
        cover: Tensor,
        start: Tensor,
        has_packshot: bool,
    ) -> Conditions:
        """The product as a task shows it to the network; every task gives the same names."""
        told = self.specification.product
        ways = told.of(task) if has_packshot else ()
        place = F.adaptive_avg_pool2d(cover, (start.shape[-2], start.shape[-1]))
        shown: dict[str, Tensor] = {
            "kept": start,
            "keep": (place >= 0.5).to(start.dtype) * ("inpaint" in ways),
        }
        if control is not None:
            shown["control"] = control
            shown["control_scale"] = start.new_tensor(
                [told.controlnet_scale * ("controlnet" in ways)]
            )
        if self.family.has_reference_tokens:
            shown["reference"] = start
            shown["has_reference"] = torch.tensor(["reference" in ways], device=start.device)
        return shown

    def _fuse(
        self,
        product: PretrainedProduct,
        shopper: ShopperFacts | None,
        wish: Wish,
        scene: SceneTold,
    ) -> _Fused:
        """The conditions of the prompt's row and of the negative prompt's."""
        told = self.specification.shopper
        text, prompt = "", product.prompt
        if scene.suffix:
            text = self.specification.prompt.format(title=product.title) + scene.suffix
            prompt = self.encode_prompt(text)
        avoided = ", ".join(filter(None, (self.specification.negative_prompt, scene.avoided)))
        shown = product.conditions[wish.task]
        strength = 0.0 if shopper is None or told is None else wish.strength * told.scale
        warnings = _warn(prompt)
        asked = prompt.conditions
        parts = [product.digest, wish.task.encode(), text.encode(), avoided.encode()]
        extra: dict[str, Tensor] = {}
        if self.family.shopper_width is not None:
            extra = self._nobody(shown)
        if self.family.has_embedded_guidance:
            scale = self.specification.embedded_guidance
            scale = EMBEDDED_GUIDANCE if scale is None else scale
            extra["guidance"] = product.start.new_tensor([scale])
        if self.loras is not None:
            extra |= self.loras.conditions(wish.style, wish.style_strength)
            parts += [
                struct.pack("<d", wish.style_strength),
                wish.style.digest if wish.style else b"",
            ]
        negative = self.encode_prompt(avoided).conditions
        positive: dict[str, Tensor] = {**asked, **shown, **extra}
        if not product.has_packshot:
            positive = dict(self.family.unask(positive))
        if shopper is not None and strength > 0:
            parts += [struct.pack("<d", strength)]
            if isinstance(told, AdapterShopper):
                vector = shopper.vector * (told.vector_norm or 1.0)
                if vector.shape != (self.family.shopper_width,):  # or it would fail a whole batch
                    raise ValueError(
                        f"{self.name} takes vectors of {self.family.shopper_width} numbers, and "
                        f"was given {len(vector)}"
                    )
                positive["shopper"] = torch.from_numpy(vector)[None].to(self.device)
                room = (
                    1 - shown["keep"] if told.keeps_off_product else torch.ones_like(shown["keep"])
                )
                extra["strength"] = positive["strength"] = strength * room
                parts += [vector.tobytes()]
            elif isinstance(told, PromptShopper):
                personal = self._personalize(product, scene, shopper.interests, told)
                if personal is not None:
                    positive |= self.family.join(asked, personal.conditions, min(strength, 1.0))
                    parts += [", ".join(shopper.interests).encode()]
                    warnings = _warn(personal) or warnings
            elif isinstance(told, BlendShopper):
                positive |= self.family.blend(positive, shopper.vector, min(strength, 1.0))
                parts += [shopper.vector.tobytes()]
        unasked = {**negative, **shown, **extra}
        return _Fused(positive, self.family.unask(unasked), _digest(*parts), warnings)

    def _nobody(self, shown: Conditions) -> dict[str, Tensor]:
        assert self.family.shopper_width is not None
        vector = torch.zeros(1, self.family.shopper_width, device=self.device)
        return {"shopper": vector, "strength": torch.zeros_like(shown["keep"])}

    def _personalize(
        self,
        product: PretrainedProduct,
        scene: SceneTold,
        interests: Sequence[str],
        told: PromptShopper,
    ) -> Prompt | None:
        """The prompt that ends in what the shopper likes; None where nothing is known of that."""
        if not (liked := ", ".join(interests[: told.max_interests])):
            return None
        prompt = self.specification.prompt.format(title=product.title) + scene.suffix
        return self.encode_prompt(prompt + told.suffix.format(interests=liked))

    def _find_phase(self, tick: Tick) -> _Phase:
        intervals = self.specification.intervals
        low, high = intervals.guidance or (0.0, math.inf)
        has_shopper = intervals.shopper is None or tick.sigma <= intervals.shopper
        return _Phase(has_shopper, low <= tick.sigma <= high)

    def _find_guidance(self, wish: Wish) -> float:
        return self.preset.product_scale if wish.product_scale is None else wish.product_scale


@dataclass(frozen=True, slots=True)
class _Phase:
    """What acts in a tick."""

    has_shopper: bool
    is_guided: bool


@dataclass(frozen=True, slots=True)
class _Fused:
    """Conditions [1, ...] of the prompt's row and of the negative prompt's."""

    positive: Conditions
    negative: Conditions
    digest: bytes
    warnings: tuple[str, ...]

    def terms(self, guidance: float) -> tuple[Term, ...]:
        """The prompt's row is the last. A term whose weight vanishes is not evaluated."""
        both = Term(self.negative, 1.0 - guidance), Term(self.positive, guidance)
        return tuple(term for term in both if term.weight) or both[1:]


def _digest(*parts: bytes) -> bytes:
    blake = hashlib.blake2b(digest_size=16)
    for part in parts:
        blake.update(struct.pack("<Q", len(part)) + part)
    return blake.digest()


def _warn(prompt: Prompt) -> tuple[str, ...]:
    if not prompt.num_lost_tokens:
        return ()
    return (f"the prompt is longer than the model reads: {prompt.num_lost_tokens} tokens were cut",)
