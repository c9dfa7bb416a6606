"""Between protobuf and the core's nouns, both ways. Requests have been validated before.

Absence becomes `None` or the default that the proto promises; an explicit zero stays a zero.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from etalage.v1 import images_pb2 as pb
from server.core import (
    Answer,
    Arm,
    CachePolicy,
    DeadlinePolicy,
    Degradation,
    EncodedImage,
    ImageFormat,
    ImageRequest,
    ImageResult,
    InlineProduct,
    Mode,
    OutputSpec,
    Personalization,
    Progress,
    Reason,
    SamplerName,
    Sigmas,
    Source,
)
from server.doors.creatives import (
    PLACEMENTS,
    caption_from_proto,
    explanation_to_proto,
    fidelity_to_proto,
    layout_from_proto,
    layout_to_proto,
    localization_from_proto,
    scene_from_proto,
)

_MODES = {
    pb.MODE_PRESERVE: Mode.PRESERVE,
    pb.MODE_RESTYLE: Mode.RESTYLE,
    pb.MODE_CREATE: Mode.CREATE,
}
_SAMPLERS = {
    pb.SAMPLER_EULER: SamplerName.EULER,
    pb.SAMPLER_HEUN: SamplerName.HEUN,
    pb.SAMPLER_DPMPP_2M: SamplerName.DPMPP_2M,
    pb.SAMPLER_EULER_ANCESTRAL: SamplerName.EULER_ANCESTRAL,
    pb.SAMPLER_LCM: SamplerName.LCM,
}
_SIGMAS = {pb.SIGMAS_UNIFORM: Sigmas.UNIFORM, pb.SIGMAS_KARRAS: Sigmas.KARRAS}
_FORMATS = {
    pb.IMAGE_FORMAT_PNG: ImageFormat.PNG,
    pb.IMAGE_FORMAT_WEBP: ImageFormat.WEBP,
    pb.IMAGE_FORMAT_JPEG: ImageFormat.JPEG,
}
_POLICIES = {
    pb.DEADLINE_POLICY_STRICT: DeadlinePolicy.STRICT,
    pb.DEADLINE_POLICY_DEGRADE: DeadlinePolicy.DEGRADE,
}
_CACHE_POLICIES = {
    pb.CACHE_POLICY_USE: CachePolicy.USE,
    pb.CACHE_POLICY_REFRESH: CachePolicy.REFRESH,
    pb.CACHE_POLICY_BYPASS: CachePolicy.BYPASS,
}
_SOURCES: dict[Source, Any] = {
    source: pb.Source.Value(f"SOURCE_{source.name}") for source in Source
}
_REASONS: dict[Reason, Any] = {
    reason: pb.Personalization.Reason.Value(f"REASON_{reason.name}") for reason in Reason
}
_DEGRADATIONS: dict[Degradation, Any] = {
    Degradation.NONE: pb.DEGRADATION_UNSPECIFIED,
    Degradation.FEWER_STEPS: pb.DEGRADATION_FEWER_STEPS,
    Degradation.NEAREST_TASTE: pb.DEGRADATION_NEAREST_TASTE,
    Degradation.ORIGINAL: pb.DEGRADATION_ORIGINAL,
}
_SAMPLERS_BACK = {sampler: number for number, sampler in _SAMPLERS.items()}


def request_from_proto(
    request: pb.GenerateImageRequest,
    *,
    deadline_s: float | None,
    preview_side: int = 0,
) -> ImageRequest:
    """`deadline_s` is on the monotonic clock."""
    override, is_forced = request.experiment, request.HasField("experiment")
    locale, layout = request.locale or "en", None
    if request.HasField("layout"):
        layout = layout_from_proto(request.layout, locale)
    return ImageRequest(
        product=_product(request),
        user_id=request.user_id,
        request_id=request.request_id,
        mode=_MODES.get(request.mode, Mode.PRESERVE),
        locale=locale,
        num_images=_optional(request, "num_images", 1),
        seed=_optional(request, "seed"),
        steps=_optional(request, "steps"),
        sampler=_SAMPLERS.get(request.sampler),
        product_scale=_optional(request.guidance, "product_scale"),
        strength=_optional(request.guidance, "strength"),
        output=output_from_proto(request.output),
        deadline_policy=_POLICIES.get(request.deadline_policy, DeadlinePolicy.STRICT),
        arm=Arm(override.arm) if is_forced and not override.experiment else None,
        preview_side=preview_side,
        deadline_s=deadline_s,
        model=request.model,
        sigmas=_SIGMAS.get(request.sigmas),
        reuse_predictions=request.reuse_predictions,
        style=request.style,
        scene=scene_from_proto(request.scene),
        diversity=_optional(request, "diversity"),
        localization=localization_from_proto(request.localization),
        caption=caption_from_proto(request.caption),
        placement=PLACEMENTS.get(request.placement),
        layout=layout,
        brand_kit=request.brand_kit,
        max_tries=_optional(request, "max_tries"),
        is_explained=request.explain,
        cache_policy=_CACHE_POLICIES.get(request.cache_policy, CachePolicy.USE),
        session_id=request.session_id,
        experiment=override.experiment,
        arm_name=override.arm if override.experiment else "",
    )


def slate_from_proto(
    slate: pb.GenerateSlateRequest, *, deadline_s: float | None
) -> Iterator[ImageRequest]:
    """One request for each product, in the order of their ranks."""
    shared = request_from_proto(slate.template, deadline_s=deadline_s)
    if not slate.template.deadline_policy:  # a page would rather show a packshot than a gap
        shared = dataclasses.replace(shared, deadline_policy=DeadlinePolicy.DEGRADE)
    shared = dataclasses.replace(shared, slate_size=len(slate.product_ids))
    for rank, product_id in enumerate(slate.product_ids):
        yield dataclasses.replace(
            shared, product=product_id, request_id=slate.request_id, slate_rank=rank
        )


def result_to_proto(result: ImageResult, request_id: str) -> pb.GenerateImageResponse:
    response = pb.GenerateImageResponse(
        images=map(image_to_proto, result.images),
        source=_SOURCES[result.source],
        personalization=_personalization(result.personalization),
        arm=result.arm.value,
        steps=result.steps,
        timings=[
            pb.StageTiming(stage=stage, duration=duration_to_proto(seconds))
            for stage, seconds in result.timings_s.items()
        ],
        request_id=request_id,
        degradation=_DEGRADATIONS[result.degradation],
        num_forward_rows=result.num_forward_rows,
        num_shared_steps=result.num_shared_steps,
        warnings=result.warnings,
        style=result.style,
        tries=[pb.Try(seed=each.seed, reasons=each.reasons) for each in result.tries],
        title_language=result.title_language,
    )
    if result.explanation is not None:
        response.explanation.CopyFrom(explanation_to_proto(result.explanation))
    if (enrolment := result.enrolment) is not None:
        told = {name: getattr(enrolment, name) for name in ("experiment", "arm", "propensity")}
        response.experiment.CopyFrom(
            pb.ExperimentEnrolment(**told, is_override=enrolment.is_override)
        )
    if result.model is not None:
        response.model.CopyFrom(pb.Model(name=result.model.name, digest=result.model.digest))
    if result.sampler is not None:
        response.sampler = _SAMPLERS_BACK[result.sampler]
    return response


def answer_to_proto(answer: Answer) -> pb.ExplainImageResponse:
    message = pb.ExplainImageResponse(
        explanation=explanation_to_proto(answer.explanation),
        personalization=_personalization(answer.personalization),
        arm=answer.arm.value,
    )
    if answer.model is not None:
        message.model.CopyFrom(pb.Model(name=answer.model.name, digest=answer.model.digest))
    return message


def image_to_proto(image: EncodedImage) -> pb.Image:
    message = pb.Image(
        data=image.data,
        mime_type=image.mime_type,
        width=image.width,
        height=image.height,
        seed=image.seed,
        look=image.look,
        is_original=image.is_original,
        exposure_token=image.exposure_token,
        is_signed=image.is_signed,
        is_watermarked=image.is_watermarked,
    )
    if image.fidelity is not None:
        message.fidelity.CopyFrom(fidelity_to_proto(image.fidelity))
    if image.layout is not None:
        message.layout.CopyFrom(layout_to_proto(image.layout))
    return message


def progress_to_proto(progress: Progress) -> pb.Progress:
    message = pb.Progress(step=progress.step, total_steps=progress.total_steps)
    if progress.preview is not None:
        message.preview.CopyFrom(image_to_proto(progress.preview))
    return message


def source_of(message: object) -> str:
    """Where the images in a response come from, lower case; empty where there are none."""
    if isinstance(message, pb.StreamImageResponse | pb.GenerateSlateResponse):
        message = message.result if message.HasField("result") else None
    if not isinstance(message, pb.GenerateImageResponse):
        return ""
    return pb.Source.Name(message.source).removeprefix("SOURCE_").lower()


def _product(request: pb.GenerateImageRequest) -> str | InlineProduct:
    if request.WhichOneof("product") != "inline_product":
        return request.product_id
    inline = request.inline_product
    attributes = dict(inline.attributes)
    return InlineProduct(inline.title, inline.packshot, attributes, inline.control_map, inline.mask)


def output_from_proto(output: pb.OutputSpec) -> OutputSpec:
    default = OutputSpec()
    return OutputSpec(
        format=_FORMATS.get(output.format, default.format),
        quality=_optional(output, "quality", default.quality),
        longest_side=_optional(output, "longest_side", default.longest_side),
        aspect_ratio=_optional(output, "aspect_ratio", default.aspect_ratio),
    )


def _personalization(personalization: Personalization) -> pb.Personalization:
    return pb.Personalization(
        applied=personalization.applied,
        reason=_REASONS[personalization.reason],
        feature_service=personalization.feature_service,
        feature_fingerprint=personalization.feature_fingerprint,
        feature_ages={
            view: duration_to_proto(age_s) for view, age_s in personalization.feature_ages_s.items()
        },
    )


def duration_to_proto(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def _optional(message: Message, name: str, default: Any = None) -> Any:
    return getattr(message, name) if message.HasField(name) else default
