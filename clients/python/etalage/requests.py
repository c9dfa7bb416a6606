"""From Python values to request messages: one builder for both clients.

Absent is not zero: `None` leaves a field unset, so that the server's default holds.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from etalage.creatives import CachePolicy, Caption, Layout, Localization, Placement, Scene
from etalage.errors import InvalidArgument, Violation
from etalage.v1 import images_pb2 as pb
from etalage.wishes import build_caption, build_layout, build_localization, build_scene

if TYPE_CHECKING:
    from typing_extensions import Unpack

Mode = Literal["preserve", "restyle", "create"]
Sampler = Literal["euler", "heun", "dpmpp_2m", "euler_ancestral", "lcm"]
Sigmas = Literal["uniform", "karras"]
ImageFormat = Literal["png", "webp", "jpeg"]
DeadlinePolicy = Literal["strict", "degrade"]
Arm = Literal["original", "generic", "personalized"]


@dataclass(frozen=True)
class Product:
    """A product that the server's feature store does not know.

    `packshot` is an encoded image (PNG, WebP, JPEG, TIFF or BMP): its bytes, or the path of its
    file; mode "create" alone does without. So are `control_map`, a map of the packshot for the
    model's ControlNet, and `mask`, white where the product is, if any.
    """

    title: str
    packshot: bytes | str | os.PathLike[str] = b""
    attributes: Mapping[str, str] = field(default_factory=dict)
    control_map: bytes | str | os.PathLike[str] = b""
    mask: bytes | str | os.PathLike[str] = b""


class ImageOptions(TypedDict, total=False):
    """What `generate`, `stream` and `slate` take by keyword. Left out: the server's default."""

    user: str  # who is asking; empty: anonymous, which gives the generic image
    strength: float | None  # personalization, 0 (exactly the generic image) to 1
    product_scale: float | None  # guidance of the product itself, 0 to 30
    steps: int | None  # sampling steps, 1 to 100
    seed: int | None  # of the first image; image i uses seed + i; 0 is a seed
    sampler: Sampler | None
    num_images: int  # 1 to 8
    mode: Mode  # keep the product's own pixels, draw it anew, or make a new picture
    locale: str  # BCP 47 tag that chooses the language of the title
    format: ImageFormat | None
    quality: int | None  # of WebP and JPEG, 1 to 100
    longest_side: int | None  # in pixels, 32 to 2048
    aspect_ratio: float | None  # width over height, 0.25 to 4; exactly these proportions
    deadline_policy: DeadlinePolicy | None
    session: str  # who is asking where `user` is empty, for experiments alone
    arm: Arm | str | None  # forces an arm, for quality assurance: one of `experiment`, if named
    experiment: str  # key of the experiment whose arm is forced
    model: str | None  # a model that the server has, such as "quality" or "fast"
    sigmas: Sigmas | None  # at which noise levels the sampler stops; left out: the model's own
    style: str  # a LoRA that the model has; empty: that of the shopper's interests, if any
    reuse: bool  # let the server skip forward passes whose prediction would hardly change
    scene: Scene | None  # what surrounds the product; left out: the shopper's taste
    diversity: float | None  # how far the images may lie apart in look, 0 to 1
    localization: Localization | None  # for which market and day
    caption: Caption | None  # what is written over the picture
    placement: Placement | None  # where it is shown: proportions and safe areas
    layout: Layout | None  # elements to be placed exactly so, as a result gave them
    brand_kit: str  # colours, fonts and logo that the server has under that name
    max_tries: int | None  # for an image that fails verification, 1 to 5
    explain: bool  # say which inputs moved the image
    cache_policy: CachePolicy | None  # whether an earlier image may be the answer
    request_id: str  # makes a repeat harmless, and can be cancelled; made up where left out


def build_image_request(
    product: str | Product, **options: Unpack[ImageOptions]
) -> pb.GenerateImageRequest:
    """Raises InvalidArgument naming every value that no request can hold."""
    request = pb.GenerateImageRequest()
    if isinstance(product, Product):
        request.inline_product.CopyFrom(_inline(product))
    elif isinstance(product, str):
        request.product_id = product
    else:
        raise TypeError(f"product: expected an id or a Product, got {type(product).__name__}")
    _fill(request, **options)
    request.request_id = request.request_id or uuid.uuid4().hex
    return request


def build_stream_request(
    product: str | Product, preview_side: int, **options: Unpack[ImageOptions]
) -> pb.StreamImageRequest:
    request = pb.StreamImageRequest(image=build_image_request(product, **options))
    put([(request, "preview_side", preview_side)])
    return request


def build_slate_request(
    products: Sequence[str], **options: Unpack[ImageOptions]
) -> pb.GenerateSlateRequest:
    if isinstance(products, str):
        raise TypeError("products: expected a sequence of ids, got a single string")
    template = pb.GenerateImageRequest()
    _fill(template, **options)
    request_id = template.request_id or uuid.uuid4().hex
    template.ClearField("request_id")
    return pb.GenerateSlateRequest(product_ids=products, template=template, request_id=request_id)


def build_explain_request(
    product: str | Product, map_side: int | None, **options: Unpack[ImageOptions]
) -> pb.ExplainImageRequest:
    request = pb.ExplainImageRequest(image=build_image_request(product, **options))
    put([(request, "map_side", map_side)])
    return request


def build_cancel_request(request_id: str) -> pb.CancelImageRequest:
    request = pb.CancelImageRequest()
    put([(request, "request_id", request_id)])
    return request


def _inline(product: Product) -> pb.InlineProduct:
    return pb.InlineProduct(
        title=product.title,
        packshot=read_picture(product.packshot),
        attributes=product.attributes,
        control_map=read_picture(product.control_map),
        mask=read_picture(product.mask),
    )


def read_picture(picture: bytes | str | os.PathLike[str]) -> bytes:
    return picture if isinstance(picture, bytes) else Path(picture).read_bytes()


def _fill(
    request: pb.GenerateImageRequest,
    *,
    user: str = "",
    strength: float | None = None,
    product_scale: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    sampler: str | None = None,
    num_images: int = 1,
    mode: str = "preserve",
    locale: str = "en",
    format: str | None = None,
    quality: int | None = None,
    longest_side: int | None = None,
    aspect_ratio: float | None = None,
    deadline_policy: str | None = None,
    session: str = "",
    arm: str | None = None,
    experiment: str = "",
    model: str | None = None,
    sigmas: str | None = None,
    style: str = "",
    reuse: bool = False,
    scene: Scene | None = None,
    diversity: float | None = None,
    localization: Localization | None = None,
    caption: Caption | None = None,
    placement: str | None = None,
    layout: Layout | None = None,
    brand_kit: str = "",
    max_tries: int | None = None,
    explain: bool = False,
    cache_policy: str | None = None,
    request_id: str = "",
) -> None:
    put(
        [
            (request, "request_id", request_id),
            (request, "user_id", user),
            (request, "mode", mode),
            (request, "locale", locale),
            (request, "num_images", num_images),
            (request, "seed", seed),
            (request, "steps", steps),
            (request.guidance, "product_scale", product_scale),
            (request.guidance, "strength", strength),
            (request.output, "format", format),
            (request.output, "quality", quality),
            (request.output, "longest_side", longest_side),
            (request.output, "aspect_ratio", aspect_ratio),
            (request, "deadline_policy", deadline_policy),
            (request, "session_id", session or None),
            (request.experiment, "arm", arm),
            (request.experiment, "experiment", experiment or None),
            (request, "sampler", sampler),
            (request, "model", model),
            (request, "sigmas", sigmas),
            (request, "style", style),
            (request, "reuse_predictions", reuse),
            (request, "diversity", diversity),
            (request, "placement", placement),
            (request, "brand_kit", brand_kit),
            (request, "max_tries", max_tries),
            (request, "explain", explain),
            (request, "cache_policy", cache_policy),
            (request, "scene", scene and (build_scene, scene)),
            (request, "localization", localization and (build_localization, localization)),
            (request, "caption", caption and (build_caption, caption)),
            (request, "layout", layout and (build_layout, layout)),
        ]
    )


def put(fields: Sequence[tuple[Any, str, Any]]) -> None:
    violations = []
    for message, name, value in fields:
        if value is None:
            continue
        try:
            if isinstance(value, tuple):
                build, part = value
                getattr(message, name).CopyFrom(build(part))
            elif isinstance(value, list):
                getattr(message, name).extend(_encode(message, name, each) for each in value)
            else:
                setattr(message, name, _encode(message, name, value))
        except (TypeError, ValueError) as error:
            violations.append(Violation(name, str(error)))
    if violations:
        text = "; ".join(f"{wrong.field}: {wrong.description}" for wrong in violations)
        raise InvalidArgument(
            text,
            code="INVALID_ARGUMENT",
            reason="INVALID_REQUEST",
            violations=tuple(violations),
        )


def _encode(message: Any, name: str, value: Any) -> Any:
    enum = message.DESCRIPTOR.fields_by_name[name].enum_type
    if enum is None:
        return value
    word_to_number = {
        item.name.removeprefix(enum.values[0].name.removesuffix("UNSPECIFIED")).lower(): item.number
        for item in enum.values[1:]
    }
    if value not in word_to_number:
        raise ValueError(f"{value!r} is none of {', '.join(word_to_number)}")
    return word_to_number[value]
