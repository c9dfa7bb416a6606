"""What it costs to sign an image, and what the watermark outlives: `python -m
benchmarks.reliability_provenance [--quick]`.

Creatives as `fast` makes them, and packshots on white, where the mark can only darken. Detection is
told by what was done to the picture; what no shop does to one without harm has no target.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.creation_pictures import PlannedOrder
from benchmarks.measurement import ROOT, Options, Report, parse_options
from diffusion.checkpoint import DEFAULT_CHECKPOINT, FAST_CHECKPOINT
from diffusion.evaluation.generation import generate
from diffusion.image_model import Wish
from diffusion.model import ProductDiffusion
from server.core import ImageFormat, Mode, OutputSpec, Pixels
from server.imaging.compose import compose_in, compose_on_white
from server.imaging.encode import encode, show_packshot
from server.imaging.frame import Frame
from server.provenance.credentials import load_development
from server.provenance.origin import Making, SourceType, write_xmp
from server.provenance.signing import FileSigner
from server.provenance.watermark import Mask, Watermark

PACKSHOTS = ROOT / "features" / "world" / "packshots"
SIGN_TARGET_MS = 5.0
FOUND_TARGET, PSNR_TARGET_DB = 95.0, 40.0
SIDE = 512
STRIDE = 23  # from one product of the catalogue to the next
MADE = Making(SourceType.COMPOSITE, "etalage", "0" * 16, "personalized", "preserve", 7, 20)

Attack = Callable[[Pixels], Pixels]


@dataclass(frozen=True, slots=True)
class Picture:
    """[H, W, 3], and where it has the product's own pixels."""

    pixels: Pixels
    own: Mask


def measure(report: Report, is_quick: bool) -> None:
    num_pictures = 4 if is_quick else 24
    cutouts = open_cutouts(num_pictures)
    creatives = make_creatives(cutouts, SIDE)
    measure_signing(report, make_creatives(cutouts[:4], 1024), 20 if is_quick else 200)
    mark = Watermark([b"benchmark key 16"])
    measure_mark(report, mark, "creatives", creatives)
    measure_mark(report, mark, "packshots", make_packshots(cutouts, SIDE))
    measure_false_alarms(report, [each.pixels for each in creatives], 5 if is_quick else 50)


def open_cutouts(count: int) -> list[NDArray[np.uint8]]:
    """Packshots [H, W, 4] from all over the catalogue."""
    paths = sorted(PACKSHOTS.glob("*.webp"))[::STRIDE]
    return [np.asarray(Image.open(path).convert("RGBA")) for path in paths[:count]]


def make_creatives(cutouts: Sequence[NDArray[np.uint8]], side: int) -> list[Picture]:
    """In surroundings of all looks, by the student of four steps."""
    model = ProductDiffusion.load_student(
        FAST_CHECKPOINT, ProductDiffusion.load(DEFAULT_CHECKPOINT)
    )
    shown = np.stack([show_packshot(cutout, 128) for cutout in map(square, cutouts)])
    images = model.encoders.encode_images(shown)
    titles = model.encoders.encode_texts(["a product"] * len(cutouts))
    orders = []
    for number, vectors in enumerate(zip(images, titles, strict=True)):
        known = model.prepare_product(cutouts[number], *vectors)
        wish = Wish("preserve", num_steps=4, diversity=1.0)
        route = model.plan(known, None, wish, number)
        order = PlannedOrder(
            known, None, "preserve", 0.0, 4, number, route_plan=route.plan, route_walk=route.walk
        )
        orders.append(order)
    pictures = []
    for drawn, cutout in zip(generate(model, orders), cutouts, strict=True):
        made = compose_in(drawn, cutout, Frame.around(side, side), Mode.PRESERVE)
        assert made.layers is not None
        own = np.zeros((side, side), bool)
        own[made.layers.placed.box] = made.layers.placed.alpha > 0
        pictures.append(Picture(made.pixels, own))
    return pictures


def square(cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(cutout).resize((256, 256)))


def make_packshots(cutouts: Sequence[NDArray[np.uint8]], side: int) -> list[Picture]:
    """On pure white, which alone may be marked."""
    shown = (compose_on_white(cutout, Frame.around(side, side)).pixels for cutout in cutouts)
    return [Picture(pixels, pixels.min(axis=2) < 255) for pixels in shown]


def measure_signing(report: Report, pictures: Sequence[Picture], num_times: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        signer = FileSigner(load_development(Path(folder) / "provenance"))
    for format in ImageFormat:
        output = OutputSpec(format, longest_side=1024)
        files = [encode(each.pixels, output, xmp=write_xmp(MADE.source)) for each in pictures]
        times_ms, cpu_ms, sizes = [], [], []
        for number in range(num_times):
            image = files[number % len(files)]
            begun_s, cpu_s = time.perf_counter(), time.thread_time()
            signed = signer.sign(image.data, image.mime_type, MADE)
            times_ms.append(1e3 * (time.perf_counter() - begun_s))
            cpu_ms.append(1e3 * (time.thread_time() - cpu_s))
            sizes.append((len(signed) - len(image.data)) / 1024)
        target: Mapping[str, Any] = {"target": SIGN_TARGET_MS} if format is ImageFormat.PNG else {}
        name = f"provenance.sign_{format.value}_1024"
        p99_ms = statistics.quantiles(times_ms, n=100)[98]
        report.add(f"{name}_p50_ms", times_ms, "ms", **target, better="lower")
        report.add(f"{name}_p99_ms", [p99_ms], "ms", **target, better="lower")
        report.add(f"{name}_cpu_ms", cpu_ms, "ms", better="lower")
    report.add("provenance.manifest_kib", sizes, "KiB", better="lower")


def measure_mark(report: Report, mark: Watermark, name: str, pictures: Sequence[Picture]) -> None:
    marked, times_ms = [], []
    for each in pictures:
        begun_s = time.thread_time()
        marked.append(mark.mark(each.pixels, each.own))
        times_ms.append(1e3 * (time.thread_time() - begun_s))
    report.add(f"watermark.{name}.mark_cpu_ms", times_ms, "ms", better="lower")
    changed = [int((m != p.pixels)[p.own].sum()) for m, p in zip(marked, pictures, strict=True)]
    report.add(f"watermark.{name}.own_pixels_changed", changed, "", target=0, better="lower")
    noise = [find_psnr(m, p) for m, p in zip(marked, pictures, strict=True)]
    report.add(f"watermark.{name}.psnr", noise, "dB", target=PSNR_TARGET_DB)
    for attack, (change, has_target) in ATTACKS.items():
        times_ms, found = [], []
        for pixels in map(change, marked):
            begun_s = time.thread_time()
            found.append(100.0 * mark.find(pixels).is_marked)
            times_ms.append(1e3 * (time.thread_time() - begun_s))
        target = FOUND_TARGET if has_target else None
        rate = [statistics.mean(found)]
        report.add(f"watermark.{name}.found.{attack}", rate, "%", target=target)
    report.add(f"watermark.{name}.find_cpu_ms", times_ms, "ms", better="lower")


def measure_false_alarms(report: Report, pictures: Sequence[Pixels], num_keys: int) -> None:
    """The highest score of any place, of pictures without a mark, for many keys each."""
    keys = [f"key {number:013}".encode() for number in range(num_keys)]
    alone = Watermark(keys[:1]).find(pictures[0]).threshold
    scores = []
    for number, pixels in enumerate(pictures):
        change = list(ATTACKS.values())[number % len(ATTACKS)][0]
        scores.append(Watermark(keys).find(change(pixels)).value)
    report.add("watermark.unmarked.searches", [len(pictures) * num_keys], "")
    report.add("watermark.unmarked.highest", [max(scores)], "σ", target=alone, better="lower")


def find_psnr(marked: Pixels, picture: Picture) -> float:
    """Of what may be marked: the product would flatter it."""
    difference = (marked.astype(float) - picture.pixels)[~picture.own]
    return float(10 * np.log10(255**2 / np.mean(difference**2)))


def reencode(pixels: Pixels, kind: str, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def crop(pixels: Pixels, share: float) -> Pixels:
    """So much less of width and height, unevenly from the sides."""
    height, width = pixels.shape[:2]
    tall, wide = round((1 - share) * height), round((1 - share) * width)
    top, left = round(0.3 * (height - tall)), round(0.8 * (width - wide))
    return pixels[top : top + tall, left : left + wide]


def resize(pixels: Pixels, scale: float) -> Pixels:
    height, width = pixels.shape[:2]
    size = round(width * scale), round(height * scale)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


ATTACKS: Mapping[str, tuple[Attack, bool]] = {
    "untouched": (lambda p: p, True),
    "jpeg_75": (lambda p: reencode(p, "JPEG", 75), True),
    "webp_80": (lambda p: reencode(p, "WEBP", 80), True),
    "crop_10": (lambda p: crop(p, 0.1), True),
    "crop_20": (lambda p: crop(p, 0.2), True),
    "resize_75": (lambda p: resize(p, 0.75), True),
    "resize_50": (lambda p: resize(p, 0.5), True),
    "crop_20_jpeg_75": (lambda p: reencode(crop(p, 0.2), "JPEG", 75), False),
    "resize_50_jpeg_75": (lambda p: reencode(resize(p, 0.5), "JPEG", 75), False),
    "crop_15_resize_60_webp_80": (
        lambda p: reencode(resize(crop(p, 0.15), 0.6), "WEBP", 80),
        False,
    ),
    "jpeg_50": (lambda p: reencode(p, "JPEG", 50), False),
}
"""What shops do to a picture, and whether the mark has to be found after it."""


def main(options: Options) -> int:
    report = Report("reliability", options)
    measure(report, options.quick)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options("What signing costs, and what the watermark outlives.")))
