"""What restoring and cutting out are worth: `python -m benchmarks.restoration`.

Held-out packshots are damaged in known ways and restored; PSNR is of the whole picture on white,
and of the product alone for information. "Looks nearer" is the share of pictures whose distance to
the truth after DISTS is smaller than the input's. The same goes through `EnhanceImage` as a
customer's picture does ("served"), beside packshots that nothing was done to. Matting is measured
on the same products before five kinds of ground. A contact sheet lies beside the report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from benchmarks.measurement import Options, Report, parse_options
from benchmarks.restoration_cases import (
    DAMAGES,
    GROUNDS,
    Damage,
    draw_on,
    load_cutouts,
    measure_psnr,
    pick,
    put_on_white,
    scratch,
    seed_of,
)
from benchmarks.restoration_served import measure_served
from diffusion.evaluation.judge import load_judge
from diffusion.evaluation.perception import TextureDistance, measure_ms_ssim
from diffusion.filling import fill_holes
from diffusion.matting import Matting
from diffusion.restoration import Restorer
from features.simulate import WORLD

Pixels = NDArray[np.uint8]

STEPS = (1, 2, 4)
SOLID = 0.5


@dataclass(frozen=True, slots=True)
class Size:
    """How many products at which side; the walk's length is compared on fewer of them."""

    products: int
    side: int
    compared: int
    damages: Sequence[Damage] = DAMAGES
    mattes: int = 58
    served: int = 58


@dataclass(frozen=True, slots=True)
class Case:
    """One picture: before, after and as it was."""

    damaged: Pixels
    restored: Pixels
    truth: Pixels


def measure_damage(
    report: Report,
    damage: Damage,
    truths: dict[str, Pixels],
    restorer: Restorer,
    distance: TextureDistance,
) -> list[Case]:
    cases = []
    for name, truth in tqdm(truths.items(), damage.name, leave=False):
        damaged = damage.apply(truth, seed_of(name, damage.name))
        cases.append(Case(damaged, restorer.restore(damaged), truth))
    pairs = [(measure_psnr(c.damaged, c.truth), measure_psnr(c.restored, c.truth)) for c in cases]
    report.add(f"{damage.name}.input_psnr", [before for before, _ in pairs], "dB")
    report.add(f"{damage.name}.output_psnr", [after for _, after in pairs], "dB")
    gains = [after - before for before, after in pairs]
    report.add(f"{damage.name}.gain", gains, "dB", target=damage.min_gain_db)
    report.add(f"{damage.name}.gain_on_product", [_gain_on_product(c) for c in cases], "dB")
    nearer = [
        distance.measure(c.restored, c.truth) < distance.measure(c.damaged, c.truth) for c in cases
    ]
    asked = None if damage.min_gain_db is None else 90.0
    report.add(f"{damage.name}.looks_nearer", [100 * float(np.mean(nearer))], "%", target=asked)
    rises = [
        measure_ms_ssim(c.restored, c.truth) > measure_ms_ssim(c.damaged, c.truth) for c in cases
    ]
    report.add(f"{damage.name}.ms_ssim_better", [100 * float(np.mean(rises))], "%")
    return cases


def _gain_on_product(case: Case) -> float:
    """Where the truth is not white."""
    shown = np.asarray((case.truth < 250).any(axis=2))
    found = measure_psnr(case.restored, case.truth, shown)
    return found - measure_psnr(case.damaged, case.truth, shown)


def measure_holes(report: Report, truths: dict[str, Pixels], restorer: Restorer) -> list[Case]:
    """Under the mask alone, and beside what is only filled from around."""
    cases, found, filled = [], [], []
    for name, truth in tqdm(truths.items(), "holes", leave=False):
        holed, mask = scratch(truth, name)
        if not mask.any():
            continue
        painted = np.where(mask[..., None], restorer.restore(holed, mask), truth).astype(np.uint8)
        cases.append(Case(holed, painted, truth))
        found.append(measure_psnr(painted, truth, mask))
        filled.append(measure_psnr(fill_holes(holed, mask), truth, mask))
    report.add("holes.painted_psnr", found, "dB")
    gains = [own - plain for own, plain in zip(found, filled, strict=True)]
    report.add("holes.gain_over_filling", gains, "dB")
    return cases


def compare_steps(
    report: Report, truths: dict[str, Pixels], restorer: Restorer, distance: TextureDistance
) -> None:
    """What one, two and four steps make of all that is asked for."""
    asked = [damage for damage in DAMAGES if damage.min_gain_db is not None]
    for num_steps in STEPS:
        gains, distances = [], []
        for damage in asked:
            for name, truth in tqdm(truths.items(), f"{num_steps} steps", leave=False):
                damaged = damage.apply(truth, seed_of(name, damage.name))
                restored = restorer.restore(damaged, num_steps=num_steps)
                gains.append(measure_psnr(restored, truth) - measure_psnr(damaged, truth))
                distances.append(distance.measure(restored, truth))
        report.add(f"steps_{num_steps}.gain", gains, "dB")
        report.add(f"steps_{num_steps}.distance", distances, "of 1", better="lower")


def measure_matting(
    report: Report, cutouts: dict[str, Pixels], matting: Matting, size: Size
) -> list[Case]:
    """At the packshots' own resolution, and on creatives at 128 px."""
    sheet = []
    for side in (512, 128):
        for ground in GROUNDS:
            overlaps, errors, doubts = [], [], []
            for name in tqdm(list(pick(cutouts, size.mattes)), f"{ground} {side}", leave=False):
                picture, truth = draw_on(ground, name, cutouts, side)
                matte = matting.find_alpha(picture)
                found, solid = matte.alpha > SOLID, truth > SOLID
                overlaps.append(float((found & solid).sum() / max((found | solid).sum(), 1)))
                errors.append(float(np.abs(matte.alpha - truth).mean()))
                doubts.append(matte.uncertainty)
                if side == 512 and len(overlaps) == 1 + GROUNDS.index(ground):
                    sheet.append(Case(picture, as_picture(matte.alpha), as_picture(truth)))
            report.add(f"matting_{ground}_{side}.iou", overlaps, "of 1")
            report.add(f"matting_{ground}_{side}.mae", errors, "of 1", better="lower")
            report.add(f"matting_{ground}_{side}.uncertainty", doubts, "of 1", better="lower")
    return sheet


def as_picture(alpha: NDArray[np.float32]) -> Pixels:
    return np.repeat(np.rint(alpha * 255).astype(np.uint8)[..., None], 3, axis=2)


def draw_sheet(groups: Sequence[Sequence[Case]], side: int = 256) -> Image.Image:
    """A column for each case: damaged, restored, truth; groups below each other."""
    num_columns = max(len(group) for group in groups)
    sheet = Image.new("RGB", (num_columns * side, 3 * len(groups) * side), "white")
    for number, group in enumerate(groups):
        for column, case in enumerate(group):
            for row, pixels in enumerate((case.damaged, case.restored, case.truth)):
                image = Image.fromarray(pixels)
                if image.width != side:
                    image = image.resize((side, side), Image.Resampling.LANCZOS)
                sheet.paste(image, (column * side, (3 * number + row) * side))
    return sheet


def measure(report: Report, size: Size, restorer: Restorer, matting: Matting, world: Path) -> None:
    cutouts = load_cutouts(world)
    distance = TextureDistance(load_judge())
    truths = {name: put_on_white(cutouts[name], size.side) for name in pick(cutouts, size.products)}
    groups = []
    for damage in size.damages:
        cases = measure_damage(report, damage, truths, restorer, distance)
        if damage.min_gain_db is not None:
            groups.append(cases[:: max(1, len(cases) // 6)][:6])
    groups.append(measure_holes(report, truths, restorer)[:6])
    asked = [damage for damage in size.damages if damage.min_gain_db is not None]
    sent = {name: cutouts[name] for name in pick(cutouts, size.served)}
    asyncio.run(measure_served(report, sent, size.side, asked, restorer, matting))
    few = {name: truths[name] for name in list(truths)[: size.compared]}
    if few:
        compare_steps(report, few, restorer, distance)
    groups.append(measure_matting(report, cutouts, matting, size))
    report.options.out.mkdir(parents=True, exist_ok=True)
    draw_sheet(groups).save(report.options.out / "restoration.png")


def main(options: Options) -> int:
    report = Report("restoration", options)
    restorer, matting = Restorer.load(), Matting.load()
    size = Size(58, 256, compared=20)
    if options.quick:
        asked = [damage for damage in DAMAGES if damage.min_gain_db is not None]
        size = Size(6, 256, compared=0, damages=asked, mattes=6, served=3)
    report.environment |= {"side": size.side, "steps": restorer.preset.num_steps}
    report.environment |= {"restorer": restorer.digest, "matting": matting.digest}
    measure(report, size, restorer, matting, WORLD)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options(__doc__.splitlines()[0])))
