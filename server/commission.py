"""What one request comes down to, once it is known who asks and for what."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diffusion.composition import crop_to_product
from diffusion.cutout import MaskSource
from diffusion.image_model import ImageModel
from server.core import ImageRequest, ModelCard
from server.creative import Kind
from server.experiments.assignment import Assignment
from server.image_cache.names import Circumstances, name_image, spell_settings
from server.image_cache.tastes import quantize_taste
from server.imaging.frame import Frame, find_size
from server.imaging.placements import PRESETS
from server.personalization import Taste
from server.products import PreparedProduct
from server.rows import Defaults, choose_seeds, choose_style, point
from server.rulebook import Agreement
from server.sensitivity import LEFT_OUT

UNTOLD = "the product could not be told from its background: the whole picture is taken for it"


@dataclass(frozen=True)
class Commission:
    """All that the images of a request depend on."""

    agreed: Agreement
    assignment: Assignment
    taste: Taste
    model: ImageModel
    product: PreparedProduct

    @property
    def request(self) -> ImageRequest:
        return self.agreed.request

    @property
    def card(self) -> ModelCard:
        return ModelCard(self.model.name, self.model.digest)

    @cached_property
    def style(self) -> str:
        return choose_style(self.request, self.taste, self.model)

    @cached_property
    def seeds(self) -> Sequence[int]:
        return choose_seeds(self.request, self.taste, self.product)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture that is wanted."""
        return find_size(self.request.output.longest_side, find_proportions(self.request))

    @property
    def is_written_on(self) -> bool:
        """Whether a layout belongs to the picture."""
        request, kit = self.request, self.agreed.kit
        has_logo = kit is not None and kit.logo is not None
        is_laid_out = request.layout is not None or request.placement is not None
        return is_laid_out or not request.caption.is_empty or has_logo

    @cached_property
    def frame(self) -> Frame:
        return self.find_frame(self.product.cutout)

    def find_frame(self, packshot: NDArray[np.uint8] | None) -> Frame:
        """The picture that is wanted, mirrored where its texts run from the right. The packshot
        [H, W, 3 or 4] that will stand in it matters to layouts alone: one may come from another."""
        request = self.request
        is_mirrored = self.agreed.occasion.is_right_to_left and not request.caption.is_empty
        if (layout := request.layout) is not None:
            is_mirrored = layout.is_mirrored
            for element in layout.elements:
                if element.kind is Kind.PRODUCT:
                    return Frame.holding(
                        element.box,
                        (layout.width, layout.height),
                        find_shape(packshot),
                        self.size,
                        is_mirrored=is_mirrored,
                    )
        if request.placement is None:
            return Frame.around(*self.size, is_mirrored=is_mirrored)
        preset = PRESETS[request.placement]
        x = 1 - preset.product_x if is_mirrored else preset.product_x
        return Frame(*self.size, x, preset.product_ground, preset.product_size, is_mirrored)

    @property
    def warnings(self) -> tuple[str, ...]:
        title, packshot = self.product.title, self.product.packshot
        told = list(self.agreed.warnings)
        if title.is_fallback and isinstance(self.request.product, str):
            asked = self.request.locale
            told.append(f"no title in {asked}: the one in {title.language} is used")
        if packshot is not None and packshot.source is MaskSource.WHOLE_PICTURE:
            told.append(UNTOLD)
        return tuple(told)

    @property
    def warnings_for_asker(self) -> tuple[str, ...]:
        """Of the shopper: whoever else gets the same images is not told."""
        shopper, model = self.taste.shopper, self.model
        is_read = model.max_interests > 0 or len(model.styles) > 0
        return (LEFT_OUT,) if shopper is not None and shopper.withheld and is_read else ()

    def due(self, deadline_s: float | None) -> Commission:
        request = replace(self.request, deadline_s=deadline_s)
        return replace(self, agreed=replace(self.agreed, request=request))

    def unlabelled(self) -> Commission:
        """For the merchant's own picture: no machine made that."""
        request, layout = self.request, self.request.layout
        if layout is not None:
            kept = tuple(each for each in layout.elements if each.kind is not Kind.LABEL)
            layout = replace(layout, elements=kept)
        request = replace(request, layout=layout, caption=replace(request.caption, label=False))
        return replace(self, agreed=replace(self.agreed, request=request, label=None))

    def name_kind(self) -> Hashable:
        """What two answers must agree on, but for the shopper."""
        request, known = self.request, self.product
        told = request.scene, request.diversity, request.caption, request.placement, request.layout
        asked = request.mode, request.output, request.num_images, self.style, request.brand_kit
        return known.digest, known.title.text, self.card, *asked, *told

    def name(self, feature_fingerprint: str, defaults: Defaults) -> str:
        """What its images are kept under."""
        shopper, model = self.taste.shopper, self.model
        return name_image(
            self.request,
            Circumstances(
                product=self.product.digest,
                title=self.product.title.text,
                taste=quantize_taste(
                    point(self.taste),
                    model.buckets,
                    () if shopper is None else shopper.interests[: model.max_interests],
                ),
                arm=self.assignment.arm.value,
                strength=0.0 if shopper is None else self.assignment.strength,
                model=self.card,
                style=self.style,
                seeds=tuple(self.seeds),
                feature_fingerprint=feature_fingerprint,
                brand_kit=b"" if self.agreed.kit is None else self.agreed.kit.digest,
                day=self.agreed.occasion.day.isoformat()
                if self.request.localization.occasion
                else "",
                defaults=spell_settings(model.preset, defaults, self.agreed.label),
            ),
        )


def find_proportions(request: ImageRequest) -> float:
    """Width over height of the picture that is wanted."""
    if request.placement is not None:
        return PRESETS[request.placement].aspect_ratio
    if request.layout is not None:
        return request.layout.width / request.layout.height
    return request.output.aspect_ratio


def find_shape(packshot: NDArray[np.uint8] | None) -> float:
    """Width over height of what can be seen of a packshot [H, W, 3 or 4]."""
    if packshot is None:
        return 1.0
    shown = packshot if packshot.shape[2] == 3 else crop_to_product(packshot)
    height, width = shown.shape[:2]
    return float(width / height)
