"""From a request to its result: through the pipeline, or from an earlier answer."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import NamedTuple, Protocol

from google.protobuf.message import Message

from server import tracing
from server.access.calls import name_apart
from server.configuration import ServerSlice
from server.core import Accepted, Answer, Event, ImageRequest, ImageResult, Source
from server.idempotency import Repeats

_LARGE_BYTES = 256 * 1024  # to digest more than this would hold up the event loop

Listener = Callable[[Event], None]


class Generator(Protocol):
    """What stands behind the door; cancelling the awaiting task frees what it holds."""

    async def generate(
        self, request: ImageRequest, on_event: Listener | None = None
    ) -> ImageResult: ...

    async def explain(self, request: ImageRequest, map_side: int) -> Answer: ...


class ResultObserver(Protocol):
    def stages(self, timings_s: Mapping[str, float]) -> None: ...

    def personalization(self, reason: str) -> None: ...


class Repeat(NamedTuple):
    """By what a repeat of a request is known, and what it must say to be one."""

    name: str
    digest: bytes


class Answers:
    """Has nothing to answer with until `attach`."""

    def __init__(self, settings: ServerSlice, observer: ResultObserver, workers: Executor) -> None:
        self._observer = observer
        self._workers = workers
        self._pipeline: Generator | None = None
        self._name_owner: Callable[[str], str] = lambda _: ""
        self._repeats: Repeats[ImageResult] = Repeats(
            settings.repeat_window_s, settings.repeat_entries, settings.repeat_bytes, _num_bytes
        )

    def attach(self, pipeline: Generator) -> None:
        self._pipeline = pipeline

    def name_owners(self, name: Callable[[str], str]) -> None:
        """Keep answers under a name of who asked, so that `forget` finds them."""
        self._name_owner = name

    def forget(self, name: str) -> int:
        """Drops answers to one shopper, and others' that were made of their embedding; how many."""
        return self._repeats.forget(name, lambda result: result.maker == name)

    async def recognize(self, kind: str, request_id: str, content: Message) -> Repeat | None:
        """None where the request does not ask to be answered once only.

        Raises InvalidRequest where its id stands for other content.
        """
        if not request_id:
            return None
        if content.ByteSize() < _LARGE_BYTES:
            digest = _digest(content)
        else:
            loop = asyncio.get_running_loop()
            digest = await loop.run_in_executor(self._workers, _digest, content)
        repeat = Repeat(name_apart(f"{kind} {request_id}"), digest)
        self._repeats.check(*repeat)
        return repeat

    def knows(self, kind: str, request_id: str, count: int = 1) -> bool:
        """Whether any of the `count` answers of the request is there or on its way."""
        name = name_apart(f"{kind} {request_id}")
        return any(self._repeats.knows(name, number) for number in range(count))

    async def answer(
        self,
        request: ImageRequest,
        repeat: Repeat | None,
        number: int = 0,
        on_event: Listener | None = None,
    ) -> ImageResult:
        """`number` tells the answers of one slate apart. Raises what the pipeline raises."""
        if repeat is None:
            return await self._generate(request, on_event)
        if on_event is not None and self._repeats.knows(repeat.name, number):
            on_event(Accepted())
        owner = self._name_owner(request.user_id) if request.user_id else ""
        result, is_repeat = await self._repeats.answer(
            repeat.name, repeat.digest, lambda: self._generate(request, on_event), number, owner
        )
        return dataclasses.replace(result, source=Source.CACHE) if is_repeat else result

    async def _generate(self, request: ImageRequest, on_event: Listener | None) -> ImageResult:
        assert self._pipeline is not None  # the gate is shut until there is one
        with tracing.inside("generate"):
            result = await self._pipeline.generate(request, on_event)
        self._observer.stages(result.timings_s)
        self._observer.personalization(result.personalization.reason.value)
        return result


def _digest(content: Message) -> bytes:
    """The same for equal messages."""
    return hashlib.blake2b(content.SerializeToString(deterministic=True), digest_size=16).digest()


def _num_bytes(result: ImageResult) -> int:
    return sum(len(image.data) for image in result.images)
