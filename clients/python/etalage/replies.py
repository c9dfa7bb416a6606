"""From response messages to results: one reader for both clients."""

from __future__ import annotations

from typing import Any

import grpc

from etalage.creatives import (
    Box,
    Element,
    Explanation,
    Fidelity,
    Influence,
    Layout,
    TextStyle,
    Try,
)
from etalage.errors import CODE_TO_ERROR, ServerError
from etalage.results import (
    Accepted,
    Answer,
    Cancellation,
    Enrolment,
    Event,
    Image,
    ModelInfo,
    Personalization,
    Progress,
    Result,
    SlateItem,
)
from etalage.v1 import images_pb2 as pb
from etalage.v1 import layouts_pb2

_NUMBER_TO_CODE = {code.value[0]: code for code in grpc.StatusCode}


def read_result(reply: pb.GenerateImageResponse) -> Result:
    return Result(
        images=tuple(read_image(image) for image in reply.images),
        source=read_word(reply, "source"),
        personalization=_read_personalization(reply.personalization),
        arm=reply.arm,
        model=read_model(reply.model) if reply.HasField("model") else None,
        sampler=read_word(reply, "sampler") if reply.sampler else None,
        steps=reply.steps,
        timings_ms={timing.stage: read_seconds(timing.duration) * 1e3 for timing in reply.timings},
        request_id=reply.request_id,
        degradation=read_word(reply, "degradation") if reply.degradation else "none",
        num_forward_rows=reply.num_forward_rows,
        num_shared_steps=reply.num_shared_steps,
        warnings=tuple(reply.warnings),
        style=reply.style,
        tries=tuple(Try(each.seed, tuple(each.reasons)) for each in reply.tries),
        explanation=read_explanation(reply.explanation) if reply.HasField("explanation") else None,
        title_language=reply.title_language,
        enrolment=_read_enrolment(reply.experiment) if reply.HasField("experiment") else None,
    )


def read_answer(reply: pb.ExplainImageResponse) -> Answer:
    return Answer(
        read_explanation(reply.explanation),
        _read_personalization(reply.personalization),
        reply.arm,
        read_model(reply.model) if reply.HasField("model") else None,
    )


def read_explanation(told: pb.Explanation) -> Explanation:
    influences = tuple(
        Influence(each.input, each.description, each.share, each.change) for each in told.influences
    )
    return Explanation(
        influences, told.text, told.sigma, told.shopper_effect, told.shopper_map.data
    )


def read_event(reply: pb.StreamImageResponse) -> Event | None:
    """None for news that this version does not know."""
    kind = reply.WhichOneof("event")
    if kind == "accepted":
        return Accepted(request_id=reply.accepted.request_id)
    if kind == "progress":
        return _read_progress(reply.progress)
    if kind == "result":
        return read_result(reply.result)
    return None


def read_slate_item(reply: pb.GenerateSlateResponse) -> SlateItem:
    if reply.WhichOneof("outcome") == "result":
        return SlateItem(reply.rank, reply.product_id, result=read_result(reply.result))
    code = _NUMBER_TO_CODE.get(reply.error.code, grpc.StatusCode.UNKNOWN)
    error = CODE_TO_ERROR.get(code, ServerError)(
        reply.error.message, code=code.name, reason=reply.error.reason
    )
    return SlateItem(reply.rank, reply.product_id, error=error)


def read_cancellation(reply: pb.CancelImageResponse) -> Cancellation:
    return Cancellation(reply.num_cancelled, reply.is_remembered)


def read_image(image: pb.Image) -> Image:
    return Image(
        image.data,
        image.mime_type,
        image.width,
        image.height,
        image.seed,
        _read_fidelity(image.fidelity) if image.HasField("fidelity") else None,
        tuple(image.look),
        image.is_original,
        _read_layout(image.layout) if image.HasField("layout") else None,
        image.exposure_token,
        image.is_signed,
        image.is_watermarked,
    )


def _read_fidelity(told: pb.Fidelity) -> Fidelity:
    return Fidelity(
        told.max_difference if told.HasField("max_difference") else None,
        told.growth_percent if told.HasField("growth_percent") else None,
        told.mask_uncertainty,
        told.sharpness,
        read_word(told, "mask_source") if told.mask_source else "",
    )


def _read_layout(layout: layouts_pb2.Layout) -> Layout:
    return Layout(
        layout.width,
        layout.height,
        _read_box(layout.safe_area),
        tuple(map(_read_element, layout.elements)),
        layout.is_mirrored,
    )


def _read_element(element: layouts_pb2.Layout.Element) -> Element:
    style = _read_style(element.style) if element.HasField("style") else None
    return Element(read_word(element, "kind"), _read_box(element.box), element.text, style)


def _read_style(style: layouts_pb2.TextStyle) -> TextStyle:
    return TextStyle(
        style.font,
        style.size,
        style.colour,
        style.background,
        style.is_right_to_left,
        style.language,
    )


def _read_box(box: layouts_pb2.Box) -> Box:
    return Box(box.left, box.top, box.width, box.height)


def _read_progress(progress: pb.Progress) -> Progress:
    preview = read_image(progress.preview) if progress.HasField("preview") else None
    return Progress(progress.step, progress.total_steps, preview)


def read_model(model: pb.Model) -> ModelInfo:
    return ModelInfo(name=model.name, digest=model.digest)


def _read_enrolment(told: pb.ExperimentEnrolment) -> Enrolment:
    return Enrolment(told.experiment, told.arm, told.propensity, told.is_override)


def _read_personalization(message: pb.Personalization) -> Personalization:
    return Personalization(
        applied=message.applied,
        reason=read_word(message, "reason"),
        feature_service=message.feature_service,
        feature_fingerprint=message.feature_fingerprint,
        feature_ages_s={view: read_seconds(age) for view, age in message.feature_ages.items()},
    )


def read_word(message: Any, name: str) -> str:
    """The value of an enum field in lower case without its prefix; a newer server's as a number."""
    enum = message.DESCRIPTOR.fields_by_name[name].enum_type
    value = enum.values_by_number.get(getattr(message, name))
    if value is None:
        return str(getattr(message, name))
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    return str(value.name.removeprefix(prefix).lower())


def read_seconds(duration: Any) -> float:
    return float(duration.seconds + duration.nanos / 1e9)
