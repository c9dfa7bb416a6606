"""From pictures to the contact sheet: which strip shows what, in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from server.demo.asking import Picture
from server.demo.contact_sheet import Sheet, Strip, Tile
from server.demo.program import PRODUCT, Program, Shot, title

TITLE = "Etalage"
SUBTITLE = "a shop window that rearranges itself for whoever walks past"


def lay_out(program: Program, pictures: Sequence[Picture]) -> Sheet:
    by_name = {picture.shot.name: picture for picture in pictures}
    packshot = by_name[program.packshot.name].result.image.data
    product, shopper = title(PRODUCT), program.preserve[0].caption
    return Sheet(
        TITLE,
        SUBTITLE,
        (
            Strip(
                f"One {product}",
                "Same product, same seed; only the shopper changes. The product's own pixels stay.",
                _tiles(program.preserve, by_name),
                packshot,
            ),
            Strip(
                "Drawn anew",
                f"The same {product}, restyled to each shopper's taste.",
                _tiles(program.restyle, by_name),
            ),
            Strip(
                "One slate",
                f"Six products as the recommender ranked them, all for {shopper}.",
                _tiles(program.slate, by_name),
            ),
        ),
        tell_origin(pictures),
    )


def _tiles(shots: Sequence[Shot], by_name: Mapping[str, Picture]) -> tuple[Tile, ...]:
    return tuple(_tile(by_name[shot.name]) for shot in shots)


def _tile(picture: Picture) -> Tile:
    result, caption = picture.result, picture.shot.caption
    if result.image.is_original:
        return Tile(result.image.data, caption, "the merchant's own picture", False)
    reason = result.personalization.reason.replace("_", " ")
    note = f"{reason} · {result.steps} steps · {sum(result.timings_ms.values()):.0f} ms"
    return Tile(result.image.data, caption, note, result.personalization.applied)


def tell_origin(pictures: Sequence[Picture]) -> str:
    """The model and the features behind it all, from the first answer that has both."""
    facts = ["the shoppers are simulated"]
    for result in (picture.result for picture in pictures):
        if result.model is not None and result.personalization.applied:
            features = result.personalization
            facts[:0] = [
                f"model {result.model.name} {result.model.digest}",
                f"sampler {result.sampler}",
                f"features {features.feature_service} {features.feature_fingerprint}",
            ]
            break
    return "   ·   ".join(facts)
