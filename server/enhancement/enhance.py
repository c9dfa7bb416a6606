"""The way of an EnhanceImage request, told once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np

from diffusion.composition import Pixels
from diffusion.cutout import MaskSource, Matte
from diffusion.finding import FindMatte, find_product
from diffusion.matting import MattingModel
from diffusion.pictures import MAX_PIXELS, PictureUnusable, open_mask, open_picture
from features.packshots import PackshotUnusable, open_merchants_picture, read_packshot
from features.records import Products, Shopper
from server.core import ImageFormat, ModelCard, OutputSpec
from server.enhancement import repairs
from server.enhancement.diagnosis import diagnose
from server.enhancement.framing import has_plain_ground
from server.enhancement.nouns import (
    Diagnosis,
    EnhanceRequest,
    EnhanceResult,
    Finding,
    Mask,
    Picture,
    Repair,
)
from server.enhancement.overlay import find_overlay
from server.enhancement.planning import ORDER, is_wanted, is_worse
from server.enhancement.restoring import Restoring, TooLarge, card_of
from server.errors import DeadlineExceeded, InvalidRequest, Unavailable, Violation
from server.imaging.encode import encode
from server.stopwatch import Stopwatch

T = TypeVar("T")

MAX_UNCERTAINTY = 0.35
"""Share of a matte's product that may be undecided: the other way is to leave the picture alone."""


class Reader(Protocol):
    """What is asked of features/reader.py."""

    async def read(
        self, user_id: str | None, product_ids: Sequence[str], *, timeout_s: float
    ) -> tuple[Shopper | None, Products]: ...


class DiagnosisObserver(Protocol):
    def repaired(self, defects: Sequence[str], repairs: Sequence[str]) -> None:
        """What was found in a picture, and what was done."""


@dataclass(slots=True)
class Job:
    """A picture on its way; `matte` is where a model saw the product, if one was asked."""

    request: EnhanceRequest
    picture: Picture
    mask: Mask | None
    diagnosis: Diagnosis
    matte: Matte | None
    done: list[Repair] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    model: ModelCard | None = None
    uncertainty: float | None = None


class Enhancer:
    def __init__(
        self,
        reader: Reader,
        restoring: Restoring | None,
        matting: MattingModel | None,
        workers: Executor,
        read_timeout_s: float = 0.5,
        observer: DiagnosisObserver | None = None,
    ) -> None:
        """Without `restoring` nothing is restored, without `matting` a product is found by its own
        alpha or a plain border alone; either is said in the warnings where it matters."""
        self._reader, self._restoring, self._matting = reader, restoring, matting
        self._workers, self._read_timeout_s = workers, read_timeout_s
        self._observer = observer

    async def enhance(self, request: EnhanceRequest) -> EnhanceResult:
        """Answers one request; cancelling the awaiting task frees what it holds.

        Raises server.errors.EtalageError, features.records.ProductUnknown or FeaturesUnavailable.
        """
        watch = Stopwatch()
        with watch.stage("read"):
            packshot = await self._read(request)
        with watch.stage("open"):
            picture, mask = await self._run(open_source, request, packshot)
        with watch.stage("diagnose"):
            diagnosis, matte = await self._run(self._look, picture)
        job = Job(request, picture, mask, diagnosis, matte)
        if matte is not None:
            job.uncertainty = matte.uncertainty
        if mask is not None and not mask.any():
            job.warnings.append("defect_mask: marks nothing")
        if not request.is_diagnosed_only:
            for repair in ORDER:
                await self._attempt(repair, job, watch)
        result = report(job, diagnosis)
        if not request.is_diagnosed_only:
            with watch.stage("encode"):
                result = await self._run(encode_result, result, picture, job)
        if self._observer is not None:
            found = [each.defect.value for each in result.findings if each.is_found]
            self._observer.repaired(found, [each.value for each in result.repairs])
        return replace(result, timings_s=watch.timings_s)

    async def _read(self, request: EnhanceRequest) -> bytes:
        if isinstance(request.source, bytes):
            return request.source
        timeout_s = self._read_timeout_s
        if request.deadline_s is not None:
            timeout_s = min(timeout_s, max(0.0, request.deadline_s - time.monotonic()))
        _, products = await self._reader.read(None, [request.source], timeout_s=timeout_s)
        found = products[request.source]
        if isinstance(found, Exception):
            raise found
        try:
            return await self._run(read_packshot, found.packshot)
        except PackshotUnusable as error:
            raise Unavailable("its packshot can't be read", "PACKSHOT_UNAVAILABLE") from error

    async def _attempt(self, repair: Repair, job: Job, watch: Stopwatch) -> None:
        """Does one repair where it is wanted, and undoes it where it did harm."""
        if not is_wanted(repair, job.request, job.diagnosis):
            return
        deadline_s = job.request.deadline_s
        if deadline_s is not None and time.monotonic() >= deadline_s:
            raise DeadlineExceeded("the deadline passed while the picture was repaired")
        with watch.stage(repair.value):
            better = await self._repair(repair, job)
        if better is None or is_same(better, job.picture):
            return
        with watch.stage("diagnose"):
            diagnosis, matte = await self._run(self._look, better)
        if is_worse(repair, job.diagnosis, diagnosis):
            job.warnings.append(f"{repair.value}: undone, since the picture was worse after it")
            return
        job.picture, job.diagnosis, job.matte = better, diagnosis, matte
        job.done.append(repair)

    async def _repair(self, repair: Repair, job: Job) -> Picture | None:
        """The picture after one repair, None where nothing could be done."""
        picture = job.picture
        match repair:
            case Repair.EXPOSURE:
                return await self._run(repairs.correct_exposure, picture)
            case Repair.COLOUR:
                return await self._run(repairs.correct_cast, picture)
            case Repair.RESTORE:
                return await self._restore(job, picture)
            case Repair.INPAINT:
                return await self._inpaint(job)
            case Repair.WHITE_BACKGROUND:
                rgba = await self._run(self._cut_out, job)
                return None if rgba is None else repairs.put_on_white(rgba)
            case Repair.RECENTRE:
                return await self._recentre(job)
            case Repair.UPSCALE:
                larger = await self._run(repairs.enlarge, picture, job.request.upscale_factor)
                return await self._restore(job, larger) or larger

    async def _restore(
        self, job: Job, picture: Picture, mask: Mask | None = None
    ) -> Picture | None:
        if self._restoring is None:
            job.warnings.append("restore: not done, this server has no restorer")
            return None
        request = job.request
        colour = await self._run(repairs.fill_hidden, picture)
        try:
            rgb = await self._restoring.restore(colour, mask, request.steps, request.deadline_s)
        except TooLarge:
            job.warnings.append("restore: not done, the picture is too large for it")
            return None
        job.model = card_of(await self._restoring.open())
        return Picture(rgb, picture.alpha)

    async def _inpaint(self, job: Job) -> Picture | None:
        """What is marked, or was found, is continued from around it; the model paints it anew where
        that is more than a plain background."""
        picture, mask = job.picture, job.mask
        if mask is None:
            mask = await self._run(find_overlay, picture)
        if mask is None:
            return None
        filled = await self._run(repairs.fill_marked, picture, mask)
        rest = await self._run(repairs.find_unfinished, filled, mask)
        painted = await self._restore(job, filled, rest) if rest.any() else None
        return filled if painted is None else Picture(painted.rgb, filled.alpha)

    async def _recentre(self, job: Job) -> Picture | None:
        is_plain = await self._run(has_plain_ground, job.picture)
        rgba = await self._run(self._cut_out, job) if is_plain else None
        if rgba is None:
            job.warnings.append(
                "recentre: not done, nothing is known of what lies beside the frame"
            )
            return None
        return await self._run(repairs.recentre, job.picture, rgba[..., 3])

    def _cut_out(self, job: Job) -> Pixels | None:
        picture, find_matte = job.picture, self._choose_finder(job)
        found = find_product(picture.rgb, picture.alpha, find_matte, MAX_UNCERTAINTY)
        if found.source is MaskSource.WHOLE_PICTURE:
            job.warnings.append("the product could not be told from its background")
            return None
        if found.source is not MaskSource.ALPHA:
            job.uncertainty = found.uncertainty
        return found.pixels

    def _choose_finder(self, job: Job) -> FindMatte | None:
        """Who is asked where the product is: nobody twice."""
        if (matte := job.matte) is not None:
            return lambda rgb: matte
        return None if self._matting is None else self._matting.find_alpha

    def _look(self, picture: Picture) -> tuple[Diagnosis, Matte | None]:
        if self._matting is None or has_plain_ground(picture):
            return diagnose(picture), None
        matte = self._matting.find_alpha(picture.rgb)
        alpha = matte.alpha if matte.is_sure(MAX_UNCERTAINTY) else None
        return diagnose(picture, alpha), matte

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        """Pixel work, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *arguments)


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
    )


def encode_result(result: EnhanceResult, before: Picture, job: Job) -> EnhanceResult:
    """With the picture, and where it changed, as files."""
    output, picture = job.request.output, job.picture
    pixels = picture.shown() if output.format is ImageFormat.JPEG else picture.pixels()
    difference = None
    if job.done and (moved := repairs.draw_difference(before, picture)) is not None:
        difference = encode(moved, OutputSpec())
    return replace(result, image=encode(pixels, output), difference=difference)
