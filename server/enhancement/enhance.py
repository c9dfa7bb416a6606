"""The way of an EnhanceImage request, told once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Protocol

from diffusion.cutout import Cutout, MaskSource, Matte
from diffusion.finding import FindMatte, find_product
from diffusion.matting import MattingModel
from features.packshots import PackshotUnusable, read_packshot
from features.records import Products, Shopper
from server.enhancement import repairs
from server.enhancement.bench import Bench
from server.enhancement.cutting import loses_product
from server.enhancement.diagnosis import diagnose_in_parts
from server.enhancement.framing import has_plain_ground
from server.enhancement.job import Job, encode_result, is_same, report, seal_result
from server.enhancement.nouns import (
    Defect,
    Diagnosis,
    EnhanceRequest,
    EnhanceResult,
    Mask,
    Measure,
    Picture,
    Repair,
)
from server.enhancement.opening import open_source
from server.enhancement.overlay import find_overlay
from server.enhancement.planning import ORDER, is_wanted, is_worse
from server.enhancement.restoring import Restoring, TooLarge, card_of
from server.errors import Unavailable
from server.provenance.sealing import UNSEALED, Sealer
from server.stopwatch import Stopwatch

MAX_UNCERTAINTY = 0.35
"""Share of a matte's product that may be undecided: the other way is to leave the picture alone."""

WITHOUT_MODEL = {
    Repair.RESTORE: "restore: not done",
    Repair.INPAINT: "inpaint: continued from around it without the model",
    Repair.UPSCALE: "upscale: interpolated without the model",
}


class Reader(Protocol):
    """What is asked of features/reader.py."""

    async def read(
        self, user_id: str | None, product_ids: Sequence[str], *, timeout_s: float
    ) -> tuple[Shopper | None, Products]: ...


class DiagnosisObserver(Protocol):
    def repaired(self, defects: Sequence[str], repairs: Sequence[str]) -> None:
        """What was found in a picture, and what was done."""


class Enhancer:
    def __init__(
        self,
        reader: Reader,
        restoring: Restoring | None,
        matting: MattingModel | None,
        workers: Executor,
        read_timeout_s: float = 0.5,
        observer: DiagnosisObserver | None = None,
        sealer: Sealer = UNSEALED,
    ) -> None:
        """Without `restoring` nothing is restored, without `matting` a product is found by its own
        alpha or a plain border alone; either is said in the warnings where it matters. `sealer`
        says of pictures what was done to them."""
        self._reader, self._restoring, self._matting = reader, restoring, matting
        self._workers, self._read_timeout_s = workers, read_timeout_s
        self._observer, self._sealer = observer, sealer

    async def enhance(self, request: EnhanceRequest) -> EnhanceResult:
        """Answers one request; cancelling the awaiting task frees what it holds.

        Raises server.errors.EtalageError, features.records.ProductUnknown or FeaturesUnavailable.
        """
        watch, bench = Stopwatch(), Bench(self._workers, request.deadline_s)
        with watch.stage("read"):
            packshot = await self._read(request, bench)
        with watch.stage("open"):
            picture, mask = await bench.run(open_source, request, packshot)
        with watch.stage("diagnose"):
            diagnosis, matte = await self._look(picture, bench)
        job = Job(request, bench, picture, mask, diagnosis, matte)
        if matte is not None:
            is_sure = matte.is_sure(MAX_UNCERTAINTY)
            job.mask_source = MaskSource.MATTING if is_sure else MaskSource.WHOLE_PICTURE
            job.uncertainty = matte.uncertainty
        if mask is not None and not mask.any():
            job.warnings.append("defect_mask: marks nothing")
        if not request.is_diagnosed_only:
            for repair in ORDER:
                await self._attempt(repair, job, watch)
        result = report(job, diagnosis)
        if not request.is_diagnosed_only:
            with watch.stage("encode"):
                result = await bench.run(encode_result, result, picture, job)
            with watch.stage("seal"):
                result = await bench.run(seal_result, result, self._sealer)
        if self._observer is not None:
            found = [each.defect.value for each in result.findings if each.is_found]
            self._observer.repaired(found, [each.value for each in result.repairs])
        return replace(result, timings_s=watch.timings_s)

    async def _read(self, request: EnhanceRequest, bench: Bench) -> bytes:
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
            return await bench.run(read_packshot, found.packshot)
        except PackshotUnusable as error:
            raise Unavailable("its packshot can't be read", "PACKSHOT_UNAVAILABLE") from error

    async def _attempt(self, repair: Repair, job: Job, watch: Stopwatch) -> None:
        """Does one repair where it is wanted, and undoes it where it did harm."""
        if not is_wanted(repair, job.request, job.diagnosis):
            return
        model = job.model
        with watch.stage(repair.value):
            better = await self._repair(repair, job)
            if better is None or await job.bench.run(is_same, better, job.picture):
                job.model = model
                return
        with watch.stage("diagnose"):
            diagnosis, matte = await self._look(better, job.bench)
        if is_worse(repair, job.diagnosis, diagnosis):
            job.warnings.append(f"{repair.value}: undone, since the picture was worse after it")
            job.model = model
            return
        job.picture, job.diagnosis, job.matte = better, diagnosis, matte
        job.done.append(repair)

    async def _repair(self, repair: Repair, job: Job) -> Picture | None:
        """The picture after one repair, None where nothing could be done."""
        picture, run = job.picture, job.bench.run
        match repair:
            case Repair.EXPOSURE:
                return await run(repairs.correct_exposure, picture)
            case Repair.COLOUR:
                return await run(repairs.correct_cast, picture)
            case Repair.RESTORE:
                return await self._restore(repair, job, picture)
            case Repair.INPAINT:
                return await self._inpaint(job)
            case Repair.WHITE_BACKGROUND:
                return await self._put_on_white(job)
            case Repair.RECENTRE:
                return await self._recentre(job)
            case Repair.UPSCALE:
                larger = await run(repairs.enlarge, picture, job.request.upscale_factor)
                return await self._restore(repair, job, larger) or larger

    async def _restore(
        self, repair: Repair, job: Job, picture: Picture, mask: Mask | None = None
    ) -> Picture | None:
        """By the model; where it takes no part that is said with what is done without it."""
        without = WITHOUT_MODEL[repair]
        if self._restoring is None:
            job.warnings.append(f"{without}, this server has no restorer")
            return None
        request = job.request
        colour = await job.bench.run(repairs.fill_hidden, picture)
        try:
            rgb = await self._restoring.restore(colour, mask, request.steps, request.deadline_s)
        except TooLarge:
            job.warnings.append(f"{without}, the picture is too large for the model")
            return None
        job.model = card_of(await self._restoring.open())
        return Picture(rgb, picture.alpha)

    async def _inpaint(self, job: Job) -> Picture | None:
        """What is marked, or was found, is continued from around it; the model paints it anew where
        that is more than a plain background."""
        picture, mask, run = job.picture, job.mask, job.bench.run
        if mask is None:
            mask = await run(find_overlay, picture)
        if mask is None:
            return None
        filled = await run(repairs.fill_marked, picture, mask)
        rest = await run(repairs.find_unfinished, filled, mask)
        if not rest.any():
            return filled
        painted = await self._restore(Repair.INPAINT, job, filled, rest)
        return filled if painted is None else Picture(painted.rgb, filled.alpha)

    async def _put_on_white(self, job: Job) -> Picture | None:
        found = await self._cut_out(job)
        if found is None:
            return None
        rgba, run = found.pixels, job.bench.run
        is_seen = found.source is MaskSource.MATTING
        if is_seen and await run(loses_product, job.picture.rgb, rgba[..., 3]):
            job.warnings.append(
                "white_background: undone, since a part of the product went with its background"
            )
            return None
        return await run(repairs.put_on_white, rgba)

    async def _recentre(self, job: Job) -> Picture | None:
        is_plain = await job.bench.run(has_plain_ground, job.picture)
        found = await self._cut_out(job) if is_plain else None
        if found is None:
            job.warnings.append(
                "recentre: not done, nothing is known of what lies beside the frame"
            )
            return None
        return await job.bench.run(repairs.recentre, job.picture, found.pixels[..., 3])

    async def _cut_out(self, job: Job) -> Cutout | None:
        picture, find_matte = job.picture, self._choose_finder(job)
        find = partial(find_product, picture.rgb, picture.alpha, find_matte, MAX_UNCERTAINTY)
        found = await job.bench.run(find)
        job.note_source(found)
        if found.source is MaskSource.WHOLE_PICTURE:
            job.warnings.append("the product could not be told from its background")
            return None
        return found

    def _choose_finder(self, job: Job) -> FindMatte | None:
        """Who is asked where the product is: nobody twice."""
        if (matte := job.matte) is not None:
            return lambda rgb: matte
        return None if self._matting is None else self._matting.find_alpha

    async def _look(self, picture: Picture, bench: Bench) -> tuple[Diagnosis, Matte | None]:
        matte = alpha = None
        if self._matting is not None and not await bench.run(has_plain_ground, picture):
            matte = await bench.run(self._matting.find_alpha, picture.rgb)
            alpha = matte.alpha if matte.is_sure(MAX_UNCERTAINTY) else None
        parts, diagnosis = diagnose_in_parts(picture, alpha), dict[Defect, Measure]()
        while (part := await bench.run(next, parts, None)) is not None:
            diagnosis |= part
        return diagnosis, matte
