"""What is told of the images of a commission, but for what only their asker is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from server.commission import Commission
from server.core import Arm, Degradation, ImageResult, SamplerName, Source
from server.finishing import Delivered
from server.studio import Creation


def tell(commission: Commission, creation: Creation, delivered: Sequence[Delivered]) -> ImageResult:
    """Of what was made, which may be the packshot only."""
    warnings = list(creation.warnings)
    if num_missing := len(creation.seeds) - len(delivered):
        warnings.append(f"left out, as no try was good enough: {num_missing} of the images")
    result = replace(
        _tell_packshot(commission, delivered, warnings),
        num_forward_rows=creation.num_forward_rows,
        num_shared_steps=creation.num_shared_steps,
        tries=tuple(creation.tries),
        num_missing=num_missing,
    )
    if all(each.image.is_original for each in delivered):
        return result
    request, model = commission.request, commission.model
    return replace(
        result,
        source=Source.GENERATED,
        model=commission.card,
        sampler=request.sampler or SamplerName(model.preset.sampler),
        steps=creation.num_steps,
        degradation=Degradation.NONE if creation.is_whole else Degradation.FEWER_STEPS,
        style=commission.style,
    )


def tell_original(commission: Commission, original: Delivered) -> ImageResult:
    """Of the packshot, made into a file once however many images are asked for."""
    is_asked = commission.assignment.arm is Arm.ORIGINAL
    return replace(
        _tell_packshot(commission, [original.of(seed) for seed in commission.seeds]),
        degradation=Degradation.NONE if is_asked else Degradation.ORIGINAL,
    )


def _tell_packshot(
    commission: Commission, delivered: Sequence[Delivered], warnings: Sequence[str] = ()
) -> ImageResult:
    """What is true whatever is shown, as if that were the packshot."""
    told = [*commission.warnings, *warnings, *(t for each in delivered for t in each.warnings)]
    return ImageResult(
        images=tuple(each.image for each in delivered),
        source=Source.ORIGINAL,
        personalization=commission.taste.account,
        arm=commission.assignment.arm,
        model=None,
        sampler=None,
        steps=0,
        timings_s={},
        warnings=tuple(dict.fromkeys(told)),
        title_language=commission.product.title.language,
    )
