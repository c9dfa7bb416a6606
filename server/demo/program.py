"""What the demonstration asks: rows of shots, each one image for one shopper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# From the part of the catalogue that the embedded model has not seen in training.
PRODUCT = "handbag"
SLATE = ("bicycle", "headphone", "fountain-pen", "pineapple", "bouquet", "croissant")
SEED = 7
"""One seed for all of a row, so that only the shopper differs."""

STRENGTH = 0.75
NUM_SHOPPERS = 4

Mode = Literal["preserve", "restyle"]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is looking: a shopper of the embedded world, or nobody in particular.

    `likes` is the palette and the setting that a simulated shopper was given to like.
    """

    user_id: str
    label: str
    likes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cast:
    """Shoppers of clearly different tastes, and two whose taste must not or can't take part."""

    shoppers: tuple[Viewer, ...]
    no_consent: Viewer
    cold_start: Viewer


@dataclass(frozen=True, slots=True)
class Shot:
    """One image to ask for; `name` is its file's stem, `arm` is forced where it is set."""

    name: str
    product_id: str
    caption: str
    user_id: str = ""
    mode: Mode = "preserve"
    strength: float = STRENGTH
    arm: str | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """The shots that are asked one by one, and one slate for its first shopper."""

    packshot: Shot
    preserve: tuple[Shot, ...]
    restyle: tuple[Shot, ...]
    slate: tuple[Shot, ...]

    @property
    def singles(self) -> tuple[Shot, ...]:
        return (self.packshot, *self.preserve, *self.restyle)

    @property
    def shots(self) -> tuple[Shot, ...]:
        return (*self.singles, *self.slate)


def write_program(cast: Cast) -> Program:
    """Raises ValueError where there are fewer than four shoppers to show."""
    if len(cast.shoppers) < NUM_SHOPPERS:
        raise ValueError(f"the demonstration needs {NUM_SHOPPERS} shoppers: {cast.shoppers}")
    first = cast.shoppers[0]
    return Program(
        packshot=Shot("packshot", PRODUCT, "the packshot", arm="original"),
        preserve=(
            *_row("preserve", cast),
            Shot("preserve-anonymous", PRODUCT, "nobody in particular"),
            Shot("preserve-strength-zero", PRODUCT, "strength 0", first.user_id, strength=0.0),
        ),
        restyle=(
            *_row("restyle", cast),
            _shot("restyle-no-consent", cast.no_consent, "restyle"),
            _shot("restyle-cold-start", cast.cold_start, "restyle"),
        ),
        slate=tuple(
            Shot(f"slate-{rank}-{product}", product, title(product), first.user_id)
            for rank, product in enumerate(SLATE, start=1)
        ),
    )


def title(product_id: str) -> str:
    return product_id.replace("-", " ")


def _row(mode: Mode, cast: Cast) -> tuple[Shot, ...]:
    return tuple(
        _shot(f"{mode}-shopper-{number}", viewer, mode)
        for number, viewer in enumerate(cast.shoppers[:NUM_SHOPPERS], start=1)
    )


def _shot(name: str, viewer: Viewer, mode: Mode) -> Shot:
    return Shot(name, PRODUCT, viewer.label, viewer.user_id, mode)
