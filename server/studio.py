"""Where images are made: planned, sampled, composed and verified, again where they are not good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from diffusion.families.adapters.lora import NoRoom
from diffusion.image_model import PackshotNeeded
from diffusion.noise import derive_seed
from server.commission import Commission
from server.core import Accepted, Pixels
from server.creative import Explanation, Try
from server.errors import DeadlineExceeded, InvalidRequest, Overloaded, Violation
from server.explanation import explain, plan_explanation, show_small
from server.finishing import Picture, finish
from server.news import Listener, News
from server.rows import (
    MIN_WAIT_S,
    Defaults,
    find_deadline_s,
    find_steps,
    make_wish,
    plan_rows,
)
from server.safety import SafetyCheck
from server.sampling.router import Router
from server.sampling.row import RowRequest, Ticket
from server.stopwatch import Stopwatch

T = TypeVar("T")
Plan = Callable[..., Sequence[RowRequest]]


class VerificationObserver(Protocol):
    def tried(self, reasons: Iterable[str]) -> None:
        """An image failed verification."""

    def fell_back(self, count: int) -> None:
        """No try of so many images was good enough."""


@dataclass(slots=True)
class Creation:
    """What was made for one request: a picture for each of the `seeds`, None where no try was good
    enough, and what they took. `is_whole` unless steps were given up."""

    seeds: Sequence[int]
    pictures: list[Picture | None]
    num_steps: int = 0
    is_whole: bool = True
    tries: list[Try] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    num_forward_rows: int = 0
    num_shared_steps: int = 0

    @property
    def missing(self) -> list[int]:
        return [number for number, each in enumerate(self.pictures) if each is None]


class Studio:
    def __init__(
        self,
        router: Router,
        workers: Executor,
        defaults: Defaults,
        observer: VerificationObserver | None = None,
        safety: SafetyCheck | None = None,
    ) -> None:
        self._router, self._workers, self._defaults = router, workers, defaults
        self._observer, self._safety = observer, safety

    async def create(
        self, commission: Commission, watch: Stopwatch, on_event: Listener | None = None
    ) -> Creation:
        """Samples until every image is good, or tries or time are used up.

        Raises Overloaded or DeadlineExceeded where the deadline can't be, or was not, met by the
        first try, and InvalidRequest where the model can't do what is asked for.
        """
        with watch.stage("plan"):
            plan = await self._open_plan(commission)
            rows = await self._plan(commission, plan)
        creation = Creation(commission.seeds, [None] * len(rows), warnings=rows[0].warnings)
        for number in range(commission.request.max_tries or self._defaults.max_tries):
            if number:
                rows = await self._plan(commission, plan, seeds=self._find_seeds(creation, number))
            try:
                await self._try_once(commission, plan, rows, creation, watch, on_event)
            except (DeadlineExceeded, Overloaded):
                if not number:
                    raise
                break
            if not creation.missing:
                break
            on_event = None  # it was told of all the steps that it expects
        if creation.missing and self._observer is not None:
            self._observer.fell_back(len(creation.missing))
        return creation

    def forget_walks(self) -> int:
        """Gives up what is kept of walks; how many states."""
        return self._router.forget_walks()

    async def explain(
        self, commission: Commission, seed: int, map_side: int, watch: Stopwatch
    ) -> Explanation:
        """Why the image of that seed looks as it does: further rows of one tick each."""
        request, taste, model = commission.request, commission.taste, commission.model
        with watch.stage("explain"):
            style = await self._load_style(commission)
            planned = partial(
                plan_explanation,
                model,
                commission.product.condition,
                taste.shopper,
                make_wish(request, commission.assignment, style),
                seed,
                model.buckets,
                find_deadline_s(request, self._defaults),
            )
            probe = await self._run(planned)
            ticket = self._router.submit(probe.rows)
            try:
                pixels = await ticket.result
            finally:
                ticket.release()
            look = probe.rows[0].look
            show = partial(show_small, commission=commission, look=look, side=map_side)
            return await self._run(explain, probe, pixels, show if map_side else None)

    async def _try_once(
        self,
        commission: Commission,
        plan: Plan,
        rows: Sequence[RowRequest],
        creation: Creation,
        watch: Stopwatch,
        on_event: Listener | None,
    ) -> None:
        """Fills in what is missing and turns out well."""
        asked_steps = rows[0].plan[-1].step
        num_steps = find_steps(
            rows,
            commission.request,
            self._router,
            self._defaults,
            is_retry=bool(creation.tries),
        )
        if num_steps < asked_steps:
            seeds = [row.seed for row in rows]
            rows = await self._plan(commission, plan, seeds=seeds, num_steps=num_steps)
            creation.is_whole = False
        ticket, sampled = await self._sample(commission, rows, on_event)
        watch.add(queue=ticket.queue_s, sample=ticket.sample_s, decode=ticket.decode_s)
        creation.num_steps = rows[0].plan[-1].step
        creation.num_forward_rows += ticket.num_forward_rows
        creation.num_shared_steps += ticket.num_steps_shared
        with watch.stage("compose"):
            pictures = await asyncio.gather(
                *(
                    self._run(finish, pixels, row, commission, self._defaults.limits, self._safety)
                    for pixels, row in zip(sampled, rows, strict=True)
                )
            )
        watch.trace(verify=max(picture.verify_s for picture in pictures))
        for number, picture in zip(creation.missing, pictures, strict=True):
            if not picture.reasons:
                creation.pictures[number] = picture
                continue
            creation.tries.append(Try(picture.seed, picture.reasons))
            if self._observer is not None:
                self._observer.tried(picture.reasons)

    async def _sample(
        self, commission: Commission, rows: Sequence[RowRequest], on_event: Listener | None
    ) -> tuple[Ticket, list[Pixels]]:
        with ExitStack() as stack:
            news = None
            if on_event is not None:
                decode, side = commission.model.decode, commission.request.preview_side
                if self._safety is not None:
                    side = 0  # what is half done can't be judged
                news = News(side, rows[0].plan[-1].step, decode, self._workers, on_event)
                stack.callback(news.close)
            ticket = self._router.submit(rows, news.step if news else None)
            stack.callback(ticket.release)
            if on_event is not None:
                on_event(Accepted())
            return ticket, await ticket.result

    async def _open_plan(self, commission: Commission) -> Plan:
        """What makes the rows of a request."""
        return partial(
            plan_rows,
            commission.request,
            commission.assignment,
            commission.taste,
            commission.product,
            commission.model,
            self._defaults,
            await self._load_style(commission),
        )

    async def _load_style(self, commission: Commission) -> object:
        model = commission.model
        if not (name := commission.style):
            return None
        if name not in model.styles:
            known = ", ".join(model.styles) or "it has none"
            raise InvalidRequest(Violation("style", f"{name[:40]!r} is no style of it: {known}"))
        try:
            return await self._run(model.load_style, name)
        except NoRoom as error:
            raise Overloaded(MIN_WAIT_S) from error

    async def _plan(
        self, commission: Commission, plan: Plan, **wishes: object
    ) -> Sequence[RowRequest]:
        work = partial(plan, **wishes)
        try:
            return await self._run(work) if commission.model.is_planning_slow else work()
        except PackshotNeeded as error:
            raise InvalidRequest(Violation("inline_product.packshot", str(error))) from error
        except ValueError as error:
            raise InvalidRequest(Violation("scene", str(error))) from error

    def _find_seeds(self, creation: Creation, number: int) -> list[int]:
        """Those of the next try of what is missing."""
        seeds = (creation.seeds[place] for place in creation.missing)
        return [derive_seed(str(seed), "try", str(number)) for seed in seeds]

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        """Pixel work, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *arguments)
