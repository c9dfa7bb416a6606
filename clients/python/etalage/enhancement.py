"""Diagnosis and repair of packshots: what is asked, and what comes back, without protobuf."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from etalage.replies import read_image, read_model, read_seconds, read_word
from etalage.requests import put, read_picture
from etalage.results import Image, ModelInfo
from etalage.v1 import enhancement_pb2 as pb

Repair = Literal[
    "restore", "exposure", "colour", "inpaint", "white_background", "recentre", "upscale"
]


class EnhanceOptions(TypedDict, total=False):
    """What `enhance` takes by name; what is left out is what the diagnosis asks for."""

    repairs: Sequence[Repair]  # what may be done
    diagnose_only: bool
    defect_mask: str | os.PathLike[str] | bytes  # white where something must be painted anew
    steps: int
    upscale_factor: int  # 2 to 4
    format: Literal["png", "webp", "jpeg"]
    quality: int
    request_id: str


@dataclass(frozen=True)
class Finding:
    """How bad one kind of defect is, from 0 (none) to 1 (unusable); `measured` is for a person."""

    defect: str
    score_before: float
    score_after: float | None
    is_found: bool
    measured: str


@dataclass(frozen=True)
class Enhanced:
    """`image` is None where only a diagnosis was asked for. `difference` is white where the picture
    changed, None where its size did or nothing was done; `repairs` are in the order done.
    `mask_source` is what told where the product is, as in `Fidelity`."""

    image: Image | None
    findings: tuple[Finding, ...]
    repairs: tuple[str, ...] = ()
    difference: Image | None = None
    model: ModelInfo | None = None
    mask_uncertainty: float | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    request_id: str = ""
    mask_source: str = ""

    @property
    def found(self) -> tuple[Finding, ...]:
        """Only what is bad enough to act on."""
        return tuple(each for each in self.findings if each.is_found)


def build_enhance_request(
    source: str | os.PathLike[str] | bytes,
    *,
    repairs: Sequence[Repair] = (),
    diagnose_only: bool = False,
    defect_mask: str | os.PathLike[str] | bytes = b"",
    steps: int | None = None,
    upscale_factor: int | None = None,
    format: str | None = None,
    quality: int | None = None,
    request_id: str = "",
) -> pb.EnhanceImageRequest:
    """A text is a product's id, a path or bytes are a picture.

    Raises InvalidArgument naming every value that no request can hold, and OSError for a file.
    """
    request = pb.EnhanceImageRequest()
    is_product = isinstance(source, str)
    put(
        [
            (request, "request_id", request_id),
            (request, "product_id", source if is_product else None),
            (request, "image", None if is_product else read_picture(source)),
            (request, "diagnose_only", diagnose_only),
            (request, "defect_mask", read_picture(defect_mask) if defect_mask else b""),
            (request, "steps", steps),
            (request, "upscale_factor", upscale_factor),
            (request.output, "format", format),
            (request.output, "quality", quality),
            (request, "repairs", list(repairs)),
        ]
    )
    return request


def read_enhanced(reply: pb.EnhanceImageResponse) -> Enhanced:
    return Enhanced(
        image=read_image(reply.image) if reply.HasField("image") else None,
        findings=tuple(map(_read_finding, reply.findings)),
        repairs=tuple(_word(pb.Repair, each) for each in reply.repairs),
        difference=read_image(reply.difference) if reply.HasField("difference") else None,
        model=read_model(reply.model) if reply.HasField("model") else None,
        mask_uncertainty=reply.mask_uncertainty if reply.HasField("mask_uncertainty") else None,
        timings_ms={each.stage: read_seconds(each.duration) * 1e3 for each in reply.timings},
        warnings=tuple(reply.warnings),
        request_id=reply.request_id,
        mask_source=read_word(reply, "mask_source") if reply.mask_source else "",
    )


def _read_finding(told: pb.EnhanceImageResponse.Finding) -> Finding:
    return Finding(
        _word(pb.Defect, told.defect),
        told.score_before,
        told.score_after if told.HasField("score_after") else None,
        told.is_found,
        told.measured,
    )


def _word(enum: Any, number: int) -> str:
    """REPAIR_WHITE_BACKGROUND → white_background; a newer server's stays a number."""
    known = number in enum.values()
    return enum.Name(number).partition("_")[2].lower() if known else str(number)
