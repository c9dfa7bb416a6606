"""Finds every wrong field of a request, and names each by its path in the message.

These functions look at messages only; whether packshot bytes are an image is found in packshots.py,
because that takes long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from etalage.v1 import images_pb2 as pb
from server.core import MAX_SLATE, MAX_STEPS, QUALITY, Arm
from server.doors.fields import Violations, check_enum, check_number, check_text
from server.doors.locales import is_language_tag
from server.doors.wishes import check_wishes
from server.errors import Violation

Models = Collection[str]

MAX_REQUEST_ID = 128
MAX_ID = 256
MAX_TITLE = 512
MAX_ATTRIBUTES = 32
MAX_ATTRIBUTE = 256
MAX_IMAGES = 8
_MAX_SEED = 2**64 - 1


def check_image(
    request: pb.GenerateImageRequest,
    at: str = "",
    models: Models = (QUALITY,),
    brand_kits: Collection[str] = (),
) -> Violations:
    """Wrong fields of what to make; `at` is where it lies in the whole message, e.g. "image.".

    `models` and `brand_kits` are the names that the server knows.
    """
    yield from _check_product(request, at)
    yield from check_text(request.request_id, MAX_REQUEST_ID, f"{at}request_id")
    yield from _check_options(request, at)
    yield from check_wishes(request, at, brand_kits)
    yield from _check_model(request.model, models, at)


def check_stream(
    request: pb.StreamImageRequest,
    models: Models = (QUALITY,),
    brand_kits: Collection[str] = (),
) -> Violations:
    yield from check_image(request.image, "image.", models, brand_kits)
    yield from check_number(request, "preview_side", 0, 256)


def check_explain(
    request: pb.ExplainImageRequest,
    models: Models = (QUALITY,),
    brand_kits: Collection[str] = (),
) -> Violations:
    image = request.image
    yield from check_image(image, "image.", models, brand_kits)
    if image.HasField("num_images") and image.num_images != 1:
        yield Violation("image.num_images", f"is {image.num_images}; must be 1 or unset")
    yield from check_number(request, "map_side", 0, 1024)


def check_cancel(request: pb.CancelImageRequest) -> Violations:
    if not request.request_id:
        yield Violation("request_id", "is empty; it says what to cancel")
    yield from check_text(request.request_id, MAX_REQUEST_ID, "request_id")


def check_slate(
    request: pb.GenerateSlateRequest,
    models: Models = (QUALITY,),
    brand_kits: Collection[str] = (),
) -> Violations:
    yield from check_text(request.request_id, MAX_REQUEST_ID, "request_id")
    yield from _check_ranking(request.product_ids)
    template = request.template
    if template.WhichOneof("product") is not None:
        field = template.WhichOneof("product")
        yield Violation(f"template.{field}", "must be unset: the slate's product_ids say it")
    if template.request_id:
        yield Violation("template.request_id", "must be unset: the slate has its own")
    if template.HasField("num_images") and template.num_images != 1:
        yield Violation("template.num_images", f"is {template.num_images}; must be 1 or unset")
    yield from _check_options(template, "template.", is_slate=True)
    yield from check_wishes(template, "template.", brand_kits)
    yield from _check_model(template.model, models, "template.")


def _check_ranking(product_ids: Iterable[str]) -> Violations:
    ids = list(product_ids)
    if not 1 <= len(ids) <= MAX_SLATE:
        yield Violation("product_ids", f"has {len(ids)} products; must have 1 to {MAX_SLATE}")
    first_rank: dict[str, int] = {}
    for rank, product_id in enumerate(ids[:MAX_SLATE]):
        field = f"product_ids[{rank}]"
        if not product_id:
            yield Violation(field, "is empty")
        elif product_id in first_rank:
            yield Violation(field, f"repeats product_ids[{first_rank[product_id]}]")
        yield from check_text(product_id, MAX_ID, field)
        first_rank.setdefault(product_id, rank)


def _check_product(request: pb.GenerateImageRequest, at: str) -> Violations:
    form = request.WhichOneof("product")
    if form == "inline_product":
        is_created = request.mode == pb.MODE_CREATE
        yield from _check_inline(request.inline_product, f"{at}inline_product.", is_created)
    elif not request.product_id:
        yield Violation(f"{at}product", "exactly one of product_id and inline_product is required")
    else:
        yield from check_text(request.product_id, MAX_ID, f"{at}product_id")


def _check_inline(product: pb.InlineProduct, at: str, is_created: bool) -> Violations:
    if not product.title.strip():
        yield Violation(f"{at}title", "is empty")
    yield from check_text(product.title, MAX_TITLE, f"{at}title")
    if not product.packshot and not is_created:
        yield Violation(f"{at}packshot", "is empty; an image is required but in MODE_CREATE")
    if len(product.attributes) > MAX_ATTRIBUTES:
        text = f"has {len(product.attributes)} entries; at most {MAX_ATTRIBUTES} are allowed"
        yield Violation(f"{at}attributes", text)
        return
    for name, value in product.attributes.items():
        if max(len(name), len(value)) > MAX_ATTRIBUTE:
            text = f"has an entry of more than {MAX_ATTRIBUTE} characters: {name[:20]!r}"
            yield Violation(f"{at}attributes", text)


def _check_options(request: pb.GenerateImageRequest, at: str, is_slate: bool = False) -> Violations:
    yield from check_text(request.user_id, MAX_ID, f"{at}user_id")
    yield from check_text(request.session_id, MAX_ID, f"{at}session_id")
    for field in ("mode", "deadline_policy", "sampler", "sigmas"):
        yield from check_enum(request, field, at)
    if request.locale and not is_language_tag(request.locale):
        text = f"{request.locale[:40]!r} is no BCP 47 language tag such as 'pt-BR'"
        yield Violation(f"{at}locale", text)
    if not is_slate:
        yield from check_number(request, "num_images", 1, MAX_IMAGES, at)
    yield from check_number(request, "steps", 1, MAX_STEPS, at)
    yield from _check_seed(request, at)
    yield from check_number(request.guidance, "product_scale", 0, 30, f"{at}guidance.")
    yield from check_number(request.guidance, "strength", 0, 1, f"{at}guidance.")
    yield from check_enum(request.output, "format", f"{at}output.")
    yield from check_number(request.output, "quality", 1, 100, f"{at}output.")
    yield from check_number(request.output, "longest_side", 32, 2048, f"{at}output.")
    yield from check_number(request.output, "aspect_ratio", 0.25, 4, f"{at}output.")
    yield from check_text(request.style, MAX_ID, f"{at}style")
    if request.HasField("experiment") and not request.experiment.experiment:
        arms = [arm.value for arm in Arm]  # those of an experiment are for who assigns them
        if request.experiment.arm not in arms:
            text = f"{request.experiment.arm[:40]!r} is none of {', '.join(arms)}"
            yield Violation(f"{at}experiment.arm", text)


def _check_model(model: str, models: Models, at: str) -> Violations:
    if model and model not in models:
        text = f"{model[:40]!r} is none of this server's models: {', '.join(models)}"
        yield Violation(f"{at}model", text)


def _check_seed(request: pb.GenerateImageRequest, at: str) -> Violations:
    num_more = max(0, min(request.num_images, MAX_IMAGES) - 1)
    if request.HasField("seed") and request.seed + num_more > _MAX_SEED:
        yield Violation(f"{at}seed", "the seeds of the further images pass 2^64 - 1")
