"""A picture on its way through the repairs, and what is told of it in the end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from diffusion.cutout import Cutout, MaskSource, Matte
from server.core import ImageFormat, ModelCard, OutputSpec
from server.enhancement import repairs
from server.enhancement.bench import Bench
from server.enhancement.nouns import (
    Diagnosis,
    EnhanceRequest,
    EnhanceResult,
    Finding,
    Mask,
    Picture,
    Repair,
)
from server.imaging.encode import encode
from server.provenance.origin import Making, SourceType, write_xmp
from server.provenance.sealing import Sealer


@dataclass(slots=True)
class Job:
    """A picture on its way; `matte` is where a model saw the product, if one was asked."""

    request: EnhanceRequest
    bench: Bench
    picture: Picture
    mask: Mask | None
    diagnosis: Diagnosis
    matte: Matte | None
    done: list[Repair] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    model: ModelCard | None = None
    uncertainty: float | None = None
    mask_source: MaskSource | None = None

    def note_source(self, found: Cutout) -> None:
        """What told the product: once its background is gone, any border does."""
        if Repair.WHITE_BACKGROUND in self.done:
            return
        self.mask_source = found.source
        if found.source not in (MaskSource.ALPHA, MaskSource.WHOLE_PICTURE):
            self.uncertainty = found.uncertainty


def is_same(one: Picture, other: Picture) -> bool:
    return np.array_equal(one.pixels(), other.pixels())


def report(job: Job, before: Diagnosis) -> EnhanceResult:
    is_only_told = job.request.is_diagnosed_only
    return EnhanceResult(
        image=None,
        findings=tuple(
            Finding(
                defect,
                measure.score,
                None if is_only_told else job.diagnosis[defect].score,
                measure.is_found,
                measure.words,
            )
            for defect, measure in before.items()
        ),
        repairs=tuple(job.done),
        model=job.model,
        mask_uncertainty=job.uncertainty,
        warnings=tuple(dict.fromkeys(job.warnings)),
        request_id=job.request.request_id,
        mask_source=job.mask_source,
    )


def encode_result(result: EnhanceResult, before: Picture, job: Job) -> EnhanceResult:
    """With the picture, and where it changed, as files."""
    output, picture = job.request.output, job.picture
    pixels = picture.shown() if output.format is ImageFormat.JPEG else picture.pixels()
    if not job.done:
        return replace(result, image=encode(pixels, output))
    moved, xmp = repairs.draw_difference(before, picture), write_xmp(find_source(result))
    difference = None if moved is None else encode(moved, OutputSpec())
    return replace(result, image=encode(pixels, output, xmp=xmp), difference=difference)


def seal_result(result: EnhanceResult, sealer: Sealer) -> EnhanceResult:
    """With what was done to it in the file, signed; a picture left as it is says nothing. Raises
    Unavailable where it has to be signed and can't be."""
    if result.image is None or not result.repairs:
        return result
    name, digest = ("", "") if result.model is None else (result.model.name, result.model.digest)
    done = tuple(repair.value for repair in result.repairs)
    made = Making(find_source(result), name, digest, repairs=done)
    image, warnings = sealer.sign(result.image, made)
    return replace(result, image=image, warnings=(*result.warnings, *warnings))


def find_source(result: EnhanceResult) -> SourceType:
    """A model that restored may have drawn what was not there."""
    return SourceType.ENHANCED if result.model is None else SourceType.COMPOSITE
