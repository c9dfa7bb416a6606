"""What a model is and how it is to be served: one YAML file, validated, then frozen.

name: studio
family: sdxl
source: models/sdxl-base          # a folder beside the file, or a hub name with its revision
dtype: bfloat16
sizes: [[1024, 1024], [832, 1216]]
steps: 20
guidance: 5.0
prompt: "studio photograph of {title}, soft daylight"
shopper: {kind: ip_adapter, source: models/ip-adapter, weights: ip-adapter_sdxl.safetensors}
product: {preserve: [inpaint], restyle: [controlnet], controlnet: models/controlnet-canny}
"""

from __future__ import annotations

from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from diffusion.declarations import DeclarationInvalid
from diffusion.families.scene_words import PALETTE_WORDS, SEASON_WORDS, SETTING_WORDS

FamilyName = Literal["sd15", "sdxl", "sd3", "flux", "z_image", "qwen_image", "kandinsky22"]
Quantization = Literal["none", "int8", "fp8"]
Dtype = Literal["float32", "bfloat16", "float16"]
Size = tuple[int, int]
"""Width and height in pixels."""


class SpecificationInvalid(DeclarationInvalid):
    """A specification that can't be served; says which file and which field."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _allow(*slots: str) -> AfterValidator:
    """A text with these slots and no others."""

    def check(text: str) -> str:
        for _, slot, form, conversion in Formatter().parse(text):
            if slot is not None and (slot not in slots or form or conversion):
                raise ValueError(f"{{{slot}}} is no slot; there are {', '.join(slots) or 'none'}")
        return text

    return AfterValidator(check)


Text = Annotated[str, Field(max_length=2000)]
Prompt = Annotated[Text, _allow("title")]
Suffix = Annotated[Text, _allow("interests")]
Plain = Annotated[Text, _allow()]
Words = Annotated[Text, _allow("words")]


def _complete(usual: dict[str, str]) -> AfterValidator:
    """The usual words, with some of them told in others."""

    def check(told: dict[str, str]) -> dict[str, str]:
        if unknown := set(told) - set(usual):
            raise ValueError(f"no {min(unknown)}: there are {', '.join(usual)}")
        return usual | told

    return AfterValidator(check)


Scale = Annotated[float, Field(ge=0, le=30, allow_inf_nan=False)]


class AdapterShopper(_Part):
    """The shopper's vector through image-prompt attention.

    `ip_adapter` is a published adapter, fed with a vector of the image encoder that it was trained
    with; `user_adapter` is one of ours (`python -m diffusion.train_adapter`). Both are files in the
    layouts that stock diffusers loads.
    """

    kind: Literal["ip_adapter", "user_adapter"]
    source: str
    weights: str = Field(description="name of the .safetensors file in the source")
    subfolder: str = ""
    revision: str | None = None
    scale: Scale = Field(default=1.0, description="what strength 1 stands for")
    blocks: dict[str, Any] | None = Field(
        default=None,
        description="scale by block, as in diffusers' set_ip_adapter_scale; unnamed ones: 0",
    )
    vector_norm: float | None = Field(
        default=None,
        gt=0,
        description="length of the image embeddings that the adapter was trained with",
    )
    keeps_off_product: bool = Field(
        default=True,
        description="whether the shopper is kept out of the product's region in PRESERVE",
    )


class PromptShopper(_Part):
    """The shopper's named interests in the prompt, for families that have no adapters.

    The slot stands last, so that what is before it is read alike with and without a shopper.
    """

    kind: Literal["prompt"]
    suffix: Suffix = ", in a setting for someone who loves {interests}"
    max_interests: int = Field(default=3, ge=1, le=16)
    scale: Scale = 1.0


class BlendShopper(_Part):
    """A spherical blend of the product's image embedding and the shopper's, for unCLIP models:
    both are vectors of the model's own image encoder."""

    kind: Literal["blend"]
    scale: float = Field(default=0.5, ge=0, le=1, description="share of the way at strength 1")


Shopper = Annotated[AdapterShopper | PromptShopper | BlendShopper, Field(discriminator="kind")]


class SceneWords(_Part):
    """What a request says of a scene, as words behind the prompt and before what a shopper likes;
    what it rules out stands in the negative prompt."""

    setting: Words = ", {words}"
    palette: Words = ", in {words} tones"
    season: Words = ", in {words}"
    brief: Words = ", {words}"
    palettes: Annotated[dict[str, Plain], _complete(PALETTE_WORDS)] = PALETTE_WORDS
    settings: Annotated[dict[str, Plain], _complete(SETTING_WORDS)] = SETTING_WORDS
    seasons: Annotated[dict[str, Plain], _complete(SEASON_WORDS)] = SEASON_WORDS


Conditioning = Literal["inpaint", "controlnet", "reference", "image"]
"""How a product enters: its region is kept and the rest painted; its edges steer; its latents stand
beside the picture's as reference tokens; the walk starts from its noisy picture."""


class ProductConditioning(_Part):
    """Which of them by the request's mode."""

    preserve: tuple[Conditioning, ...] = ("inpaint",)
    restyle: tuple[Conditioning, ...] = ("image",)
    create: tuple[Conditioning, ...] | None = Field(
        default=None,
        description="unset: as in restyle, but for inpaint; a product without a "
        "packshot is its title alone",
    )
    controlnet: str | None = Field(default=None, description="folder or hub name of the ControlNet")
    controlnet_scale: Scale = 1.0
    image_strength: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="how much of the walk is left when starting from the picture",
    )

    @model_validator(mode="after")
    def _need_controlnet(self) -> ProductConditioning:
        if "controlnet" in self.all and self.controlnet is None:
            raise ValueError("controlnet must be set, since a mode is conditioned by it")
        return self

    def of(self, task: str) -> tuple[Conditioning, ...]:
        """By the task of a request; one that is none of them keeps the product like `preserve`."""
        if task == "create" and self.create is not None:
            return self.create
        if task == "create":
            return tuple(way for way in self.restyle if way != "inpaint")
        return self.restyle if task == "restyle" else self.preserve

    @property
    def all(self) -> tuple[Conditioning, ...]:
        """Those of any mode."""
        return (*self.preserve, *self.restyle, *(self.create or ()))


class Lora(_Part):
    """Weights that a row may choose by name, or by an interest of its shopper."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    source: str
    weights: str
    scale: float = Field(default=1.0, ge=-4, le=4, allow_inf_nan=False)
    interests: tuple[str, ...] = ()


class ShiftedIntervals(_Part):
    """The sigmas in which conditions act, as in `diffusion.walks`; unset: in all."""

    shopper: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    guidance: tuple[float, float] | None = None


class Speed(_Part):
    """What trades loading time or exactness for pace."""

    channels_last: bool = False
    compile: bool = False
    vae_slicing: bool = False
    vae_tiling: bool = False


class ModelSpecification(_Part):
    """One served model."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$", description="how requests call it")
    family: FamilyName
    source: str = Field(min_length=1)
    revision: str | None = None
    licence: str = Field(min_length=1, description="SPDX name or title of the weights' licence")
    dtype: Dtype = "float32"
    quantization: Quantization = "none"
    schedule: Literal["own", "lcm", "lightning", "turbo"] = Field(
        default="own", description="that of the weights; the others are for few-step distillations"
    )
    sampler: str = "euler"
    steps: int = Field(default=20, ge=1, le=100)
    guidance: Scale = 1.0
    embedded_guidance: Scale | None = Field(
        default=None,
        description="of models that take guidance as an input, such as FLUX.1-dev; unset: 3.5",
    )
    sizes: tuple[Size, ...] = Field(
        default=(), description="width and height; empty: the family's own"
    )
    prompt: Prompt = "a product photograph of {title}"
    attributes: Words = Field(
        default=", {words}",
        description="behind the title, of a product that has some; empty: nothing",
    )
    negative_prompt: Plain = ""
    max_prompt_tokens: int = Field(
        default=128, ge=8, le=1024, description="of families without a fixed length of their own"
    )
    shopper: Shopper | None = None
    product: ProductConditioning = ProductConditioning()
    scene: SceneWords = SceneWords()
    loras: tuple[Lora, ...] = ()
    max_resident_loras: int = Field(default=4, ge=1, le=64)
    intervals: ShiftedIntervals = ShiftedIntervals()
    speed: Speed = Speed()
    folder: Path = Field(Path(), exclude=True, description="what relative sources start from")

    @field_validator("sizes")
    @classmethod
    def _check_sizes(cls, sizes: tuple[Size, ...]) -> tuple[Size, ...]:
        for width, height in sizes:
            if min(width, height) < 16 or max(width, height) > 4096:
                raise ValueError(f"{width} x {height}: sides run from 16 to 4096")
        if len(set(sizes)) < len(sizes):
            raise ValueError("a size stands there twice")
        return sizes

    @field_validator("loras")
    @classmethod
    def _check_loras(cls, loras: tuple[Lora, ...]) -> tuple[Lora, ...]:
        names = [lora.name for lora in loras]
        if len(set(names)) < len(names):
            raise ValueError("a name stands there twice")
        return loras

    def find(self, source: str) -> str:
        """A folder on this machine where there is one of that name, else the name as it is."""
        path = self.folder / source
        return str(path) if path.exists() else source

    @classmethod
    def read(cls, path: Path) -> ModelSpecification:
        """Raises SpecificationInvalid."""
        told = SpecificationInvalid.read(path)
        if "folder" in told:
            raise SpecificationInvalid(path, "folder", "is no field")
        try:
            return cls.model_validate({**told, "folder": path.parent.absolute()})
        except ValidationError as error:
            raise SpecificationInvalid.given(path, error) from error
