"""How often defects are found where they are, and where not: `python -m benchmarks.diagnosis`.

Held-out packshots as they are, on white and with alpha, must be free of everything; the same with
one defect of a random strength must show that defect. For information: packshots on a pale colour,
and which other defects are found beside the one that was made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from benchmarks.measurement import Report, parse_options
from benchmarks.restoration_cases import (
    draw_on,
    load_cutouts,
    pick,
    put_on_white,
    seed_of,
)
from diffusion.composition import find_box, to_linear, to_srgb
from diffusion.training.damage import (
    Random,
    add_noise,
    blur,
    downscale,
    quantize,
    save_as_jpeg,
)
from features.simulate import WORLD
from server.enhancement.diagnosis import diagnose
from server.enhancement.nouns import Defect, Picture

Pixels = NDArray[np.uint8]
Cutouts = dict[str, Pixels]

MIN_FOUND, MAX_FALSE = 90.0, 3.0  # % of the pictures
MAX_SIDE = 512
WORDS = ("www.example.com", "SAMPLE PHOTO", "© Example Shop", "SALE -50%", "PREVIEW ONLY")


@dataclass(frozen=True, slots=True)
class Case:
    """One way to make a defect: the picture of a product by its name."""

    defect: Defect
    make: Callable[[str, Cutouts, Random], Picture]


def on_white(name: str, cutouts: Cutouts) -> Pixels:
    return put_on_white(cutouts[name], MAX_SIDE)


def with_alpha(name: str, cutouts: Cutouts) -> Picture:
    rgba = cutouts[name]
    return Picture(rgba[..., :3], rgba[..., 3])


def on_colour(name: str, cutouts: Cutouts) -> Picture:
    """Pale, as shops have them: nobody's cast."""
    rng, rgba = seed_of(name, "ground"), cutouts[name]
    pale = rng.uniform(215, 245) + rng.uniform(-22, 0, 3)
    share = rgba[..., 3:] / 255
    return Picture(quantize(rgba[..., :3] * share + pale * (1 - share)))


CLEAN: Mapping[str, Callable[[str, Cutouts], Picture]] = {
    "white": lambda name, cutouts: Picture(on_white(name, cutouts)),
    "alpha": with_alpha,
    "colour": on_colour,
}


def spoil(change: Callable[[Pixels, Random], Pixels]) -> Callable[[str, Cutouts, Random], Picture]:
    """Of the packshot on white."""
    return lambda name, cutouts, rng: Picture(change(on_white(name, cutouts), rng))


def shrink_to_thumbnail(pixels: Pixels, rng: Random) -> Pixels:
    side = int(rng.integers(64, 190))
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))


def expose(pixels: Pixels, stops: float) -> Pixels:
    """More light or less, as a camera has it: in linear light, cut off at white."""
    return to_srgb((to_linear(pixels) * 2**stops).astype(np.float32))


def flatten(pixels: Pixels, rng: Random) -> Pixels:
    """Haze: black becomes grey, and white less than it was."""
    black, white = rng.uniform(70, 100), rng.uniform(150, 185)
    return quantize(black + pixels.astype(np.float32) / 255 * (white - black))


def tint(pixels: Pixels, rng: Random) -> Pixels:
    """Lamps, shade or tubes: too little of one channel or two."""
    less = 1 - rng.uniform(0.15, 0.45)
    gains = ((1, (1 + less) / 2, less), (less, (1 + less) / 2, 1), (less, 1, less))
    gain = np.array(gains[int(rng.integers(3))], np.float32)
    return to_srgb(to_linear(pixels) * gain)


def move_aside(pixels: Pixels, rng: Random) -> Pixels:
    """A smaller product, entirely in the frame, but well beside its middle."""
    side, small = len(pixels), round(len(pixels) * 0.6)
    image = Image.fromarray(pixels).resize((small, small), Image.Resampling.LANCZOS)
    far, angle = rng.uniform(0.13, 0.2) * side, rng.uniform(0, 2 * np.pi)
    aim = max(abs(np.cos(angle)), abs(np.sin(angle)))
    middle = (side - small) / 2
    at = (round(middle + far * np.cos(angle) / aim), round(middle + far * np.sin(angle) / aim))
    frame = Image.new("RGB", (side, side), "white")
    frame.paste(image, at)
    return np.asarray(frame)


def cut_off(pixels: Pixels, rng: Random) -> Pixels:
    """By the frame, a fifth to two fifths of the product's width or height; which the frame's edge
    cuts where it is widest, for a handle alone may lie outside."""
    solid = np.asarray((pixels < 245).any(axis=-1))
    share = rng.uniform(0.2, 0.4)
    turned = int(rng.integers(4))
    spoilt = np.rot90(pixels, turned)
    rows, _ = find_box(np.rot90(solid, turned))
    stop = rows.stop - round(share * (rows.stop - rows.start))
    return np.ascontiguousarray(np.rot90(spoilt[:stop], -turned))


def write_over(pixels: Pixels, rng: Random, is_askew: bool = False) -> Pixels:
    """A watermark, an address or a price above or below a product with margins, or askew across
    its middle."""
    side, small = len(pixels), round(len(pixels) * 0.72)
    product = Image.fromarray(pixels).resize((small, small), Image.Resampling.LANCZOS)
    frame = Image.new("RGB", (side, side), "white")
    frame.paste(product, ((side - small) // 2, (side - small) // 2))
    framed = np.asarray(frame)
    word, size = str(rng.choice(WORDS)), float(rng.uniform(0.05, 0.085) * side)
    font = ImageFont.load_default(size)
    layer = Image.new("L", (side, side))
    pen = ImageDraw.Draw(layer)
    strength = int(rng.uniform(90, 255))
    left = float(rng.uniform(0.02, 0.2) * side)
    height = 0.5 * side - size / 2 if is_askew else float(rng.choice((0.03, 0.87)) * side)
    pen.text((left, height), word, fill=strength, font=font)
    if is_askew:
        layer = layer.rotate(float(rng.uniform(20, 45)), Image.Resampling.BICUBIC)
    ink = ((40, 40, 40), (120, 120, 120), (200, 20, 30), (20, 60, 160))[int(rng.integers(4))]
    coloured = Image.new("RGB", (side, side), ink)
    return np.asarray(Image.composite(coloured, Image.fromarray(framed), layer))


def clutter(name: str, cutouts: Cutouts, rng: Random) -> Picture:
    return Picture(draw_on("clutter", name, cutouts, MAX_SIDE)[0])


DAMAGED: Mapping[str, Case] = {
    "blur": Case(Defect.BLUR, spoil(lambda pixels, rng: blur(pixels, rng.uniform(1.2, 3)))),
    "noise": Case(
        Defect.NOISE, spoil(lambda pixels, rng: add_noise(pixels, rng.uniform(6, 40), rng))
    ),
    "jpeg": Case(
        Defect.JPEG_BLOCKS,
        spoil(lambda pixels, rng: save_as_jpeg(pixels, int(rng.integers(8, 61)))),
    ),
    "downscaled": Case(
        Defect.LOW_RESOLUTION, spoil(lambda pixels, rng: downscale(pixels, rng.uniform(1.8, 3.5)))
    ),
    "thumbnail": Case(Defect.LOW_RESOLUTION, spoil(shrink_to_thumbnail)),
    "dark": Case(Defect.EXPOSURE, spoil(lambda pixels, rng: expose(pixels, rng.uniform(-3, -1.5)))),
    "flat": Case(Defect.EXPOSURE, spoil(flatten)),
    "bright": Case(Defect.EXPOSURE, spoil(lambda pixels, rng: expose(pixels, rng.uniform(1.5, 3)))),
    "cast": Case(Defect.COLOUR_CAST, spoil(tint)),
    "clutter": Case(Defect.CLUTTERED_BACKGROUND, clutter),
    "off_centre": Case(Defect.OFF_CENTRE, spoil(move_aside)),
    "cut_off": Case(Defect.CUT_OFF, spoil(cut_off)),
    "overlay": Case(Defect.OVERLAY, spoil(write_over)),
    "overlay_across": Case(
        Defect.OVERLAY, spoil(lambda pixels, rng: write_over(pixels, rng, is_askew=True))
    ),
}


def find(picture: Picture) -> set[Defect]:
    return {defect for defect, measure in diagnose(picture).items() if measure.is_found}


def measure_clean(report: Report, names: Sequence[str], cutouts: Cutouts) -> None:
    for ground, make in CLEAN.items():
        found = [find(make(name, cutouts)) for name in tqdm(names, ground, leave=False)]
        target = None if ground == "colour" else 100 - MAX_FALSE
        for defect in Defect:
            share = 100 * float(np.mean([defect not in each for each in found]))
            report.add(f"free_{ground}.{defect.value}", [share], "%", target=target)


def measure_damaged(report: Report, names: Sequence[str], cutouts: Cutouts) -> None:
    for title, case in DAMAGED.items():
        found = [
            find(case.make(name, cutouts, seed_of(name, title)))
            for name in tqdm(names, title, leave=False)
        ]
        share = 100 * float(np.mean([case.defect in each for each in found]))
        report.add(f"found.{title}", [share], "%", target=MIN_FOUND)
        beside = Counter(defect for each in found for defect in each - {case.defect})
        for defect, count in sorted(beside.items(), key=lambda told: told[0].value):
            report.add(f"beside.{title}.{defect.value}", [100 * count / len(names)], "%")


def measure(report: Report, num_products: int, world: Path) -> None:
    cutouts = load_cutouts(world)
    names = list(pick(cutouts, num_products))
    measure_clean(report, names, cutouts)
    measure_damaged(report, names, cutouts)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options("How often defects of packshots are found.", arguments)
    report = Report("diagnosis", options)
    measure(report, 8 if options.quick else 58, WORLD)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
