"""Opens what a request brings: the picture, and the mask of what is damaged."""

from __future__ import annotations

import numpy as np

from diffusion.pictures import MAX_PIXELS, PictureUnusable, open_mask, open_picture
from features.packshots import PackshotUnusable, open_merchants_picture
from server.enhancement.nouns import EnhanceRequest, Mask, Picture, Repair
from server.errors import InvalidRequest, Unavailable, Violation


def open_source(request: EnhanceRequest, data: bytes) -> tuple[Picture, Mask | None]:
    """Raises InvalidRequest, or Unavailable where a product's own packshot is no picture."""
    try:
        is_own = isinstance(request.source, bytes)
        image = open_picture(data) if is_own else open_merchants_picture(data)
    except PictureUnusable as error:
        raise InvalidRequest(Violation("image", str(error))) from error
    except PackshotUnusable as error:
        raise Unavailable("its packshot can't be read", "PACKSHOT_UNAVAILABLE") from error
    if Repair.UPSCALE in request.repairs:
        check_growth(image.width * image.height, request.upscale_factor)
    mask = None
    if request.defect_mask:
        try:
            mask = np.asarray(open_mask(request.defect_mask, image.size)) > 127
        except PictureUnusable as error:
            raise InvalidRequest(Violation("defect_mask", str(error))) from error
    alpha = np.asarray(image.getchannel("A")) if image.mode == "RGBA" else None
    return Picture(np.asarray(image.convert("RGB")), alpha), mask


def check_growth(num_pixels: int, factor: int) -> None:
    """Raises InvalidRequest."""
    if num_pixels * factor**2 > MAX_PIXELS:
        most = MAX_PIXELS // 1_000_000
        text = f"is {factor}, which makes the picture larger than {most} megapixels"
        raise InvalidRequest(Violation("upscale_factor", text))
