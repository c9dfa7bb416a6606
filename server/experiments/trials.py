"""What a request has to do with experiments: an arm before it is answered, a token after."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from features.keys import Keys
from features.records import Shopper, Status
from server.core import EncodedImage, ImageRequest, ImageResult
from server.errors import EtalageError
from server.experiments.assignment import Assigned, Assignment, Assignments
from server.experiments.events import Event, EventKind, Exposure, Receipt
from server.experiments.exposures import mint_id, sign

AXES = 3
"""Words of a look that are told: palette, setting and treatment."""
MAX_INTEREST = 64
"""Characters; a token has no room for more."""


class Log(Protocol):
    """What is asked of event_log/log.py."""

    async def append(self, events: Sequence[Event]) -> Receipt: ...


class ArmObserver(Protocol):
    """Told about requests of experiments, once they are answered or refused."""

    def assigned(self, experiment: str, arm: str) -> None: ...

    def showed(
        self, experiment: str, arm: str, degradation: str, num_images: int, seconds: float
    ) -> None: ...

    def showed_nothing(self, experiment: str, arm: str) -> None: ...


class Trials:
    """Belongs to one event loop."""

    def __init__(
        self,
        assignments: Assignments,
        keys: Keys,
        log: Log,
        observer: ArmObserver,
        clock: Callable[[], float] = time.time,
        recall: Callable[[ImageRequest], Awaitable[object]] | None = None,
    ) -> None:
        """`recall` fetches what the assignments want to know of who asks, if they want anything."""
        self._assignments, self._keys, self._log = assignments, keys, log
        self._observer, self._clock, self._recall = observer, clock, recall
        self._noting: set[asyncio.Task[None]] = set()

    async def assign(self, request: ImageRequest, default_strength: float) -> Assignment:
        """Raises InvalidRequest where the request forces an arm that there is not."""
        if self._recall is not None:
            await self._recall(request)
        return self._assignments.assign(request, default_strength)

    def settle(self, assignment: Assignment, shopper: Shopper | None) -> Assignment:
        return self._assignments.settle(assignment, shopper)

    def stamp(self, assigned: Assigned, result: ImageResult, latency_s: float) -> ImageResult:
        """The result with the enrolment, and a token on each image."""
        if (enrolment := assigned.assignment.enrolment) is not None:
            names, degradation = (enrolment.experiment, enrolment.arm), result.degradation.value
            self._observer.assigned(*names)
            self._observer.showed(*names, degradation, len(result.images), latency_s)
        told = self._tell(assigned, latency_s)
        told = replace(
            told,
            shows=result.arm.value,
            reason=result.personalization.reason.value,
            source=result.source.value,
            degradation="" if result.degradation.value == "none" else result.degradation.value,
            model="" if result.model is None else result.model.name,
            model_digest="" if result.model is None else result.model.digest,
            steps=result.steps,
            feature_fingerprint=result.personalization.feature_fingerprint,
            feature_ages_s=tuple(
                (view, round(age_s))
                for view, age_s in result.personalization.feature_ages_s.items()
            ),
        )
        images = tuple(self._stamp_image(image, told) for image in result.images)
        return replace(result, images=images, enrolment=enrolment)

    def note_refusal(self, assigned: Assigned, latency_s: float) -> None:
        """No image was made for a shopper of an experiment: the guardrails count it."""
        if (enrolment := assigned.assignment.enrolment) is None:
            return
        self._observer.assigned(enrolment.experiment, enrolment.arm)
        self._observer.showed_nothing(enrolment.experiment, enrolment.arm)
        exposure = self._tell(assigned, latency_s)
        event = Event(
            f"refusal-{exposure.exposure_id}", EventKind.REFUSAL, exposure.minted_s, exposure
        )
        task = asyncio.get_running_loop().create_task(self._note(event))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def close(self) -> None:
        await asyncio.gather(*self._noting, return_exceptions=True)

    async def _note(self, event: Event) -> None:
        with suppress(EtalageError):  # what could not be kept is in the server's own metrics
            await self._log.append([event])

    def _stamp_image(self, image: EncodedImage, told: Exposure) -> EncodedImage:
        exposure = replace(
            told,
            exposure_id=mint_id(told.minted_s),
            seed=image.seed,
            look=image.look[:AXES],
            image_key=hashlib.blake2b(image.data, digest_size=12).hexdigest(),
            shows="original" if image.is_original else told.shows,
        )
        return replace(image, exposure_token=sign(exposure, self._keys))

    def _tell(self, assigned: Assigned, latency_s: float) -> Exposure:
        """Of a shopper's features only what the arm was settled by: what is known beyond that
        depends on the arm, and to split an analysis by it would compare what can't be compared."""
        request, assignment, shopper = assigned.request, assigned.assignment, assigned.shopper
        enrolment = assignment.enrolment
        now_s = round(self._clock(), 3)
        exposure = Exposure(
            exposure_id=mint_id(now_s),
            minted_s=now_s,
            unit=assignment.unit,
            shows=assignment.arm.value,
            product_id=request.product if isinstance(request.product, str) else "",
            seed=0,
            is_anonymous=not request.user_id,
            rank=request.slate_rank or 0,
            locale=request.locale,
            is_known=shopper is not None and shopper.status is not Status.MISSING,
            interests=()
            if shopper is None
            else tuple(interest[:MAX_INTEREST] for interest in shopper.interests[:AXES]),
            mode=request.mode.value,
            strength=round(assignment.strength, 4),
            latency_s=round(latency_s, 4),
        )
        if enrolment is None:
            return exposure
        return replace(
            exposure,
            experiment=enrolment.experiment,
            arm=enrolment.arm,
            propensity=enrolment.propensity,
            is_override=enrolment.is_override,
            context=enrolment.context,
        )
