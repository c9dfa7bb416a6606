"""Which models answer requests, and how a new revision of one takes the place of the old.

LOADING ── WARMING ── READY ── DRAINING ── gone
   └──────────┴───── FAILED, or gone where something else of its name serves

A request holds a lease on one revision for its whole life. The switch is one assignment in the
event loop, and a revision is closed when its last lease has ended: no request sees two versions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, KeysView, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.specification import ModelSpecification
from server import logs
from server.core import QUALITY
from server.errors import EtalageError, FailedPrecondition, ModelBusy, ModelNotFound, Unavailable
from server.ledger import Ledger, StateObserver
from server.revision import LoadFailure, ModelFacts, Revision, State
from server.workshop import Workshop

if TYPE_CHECKING:
    from diffusion.image_model import ImageModel

Policy = Literal["beside", "free_first"]
UNEXPECTED = "it failed unexpectedly; the server's log has the cause"

log = logs.logger(__name__)


class ModelsObserver(StateObserver, Protocol):
    def model_load(self, result: str, seconds: float) -> None:
        """A load ended: "ready", "unchanged" or "failed"."""

    def model(self, name: str, digest: str) -> None:
        """This is the default model from now on."""


@dataclass(frozen=True)
class _Change:
    what: str
    task: asyncio.Task[Revision]


class Models:
    """Belongs to one event loop.

    With the policy "beside", a failed load leaves the old revision serving. With "free_first" the
    old one is closed before the new one is loaded: requests for it are `Unavailable` in between,
    and where the load fails, it is loaded again. It is not closed while requests hold it for longer
    than `patience_s`: then nothing is changed. A built-in model is never freed first, since nothing
    says how to load it again.
    """

    def __init__(
        self,
        workshop: Workshop,
        observer: ModelsObserver,
        default: str = QUALITY,
        policy: Policy = "beside",
        patience_s: float = 60.0,
    ) -> None:
        self.devices, self.default = tuple(workshop.devices), default
        self._workshop, self._observer = workshop, observer
        self._policy, self._patience_s = policy, patience_s
        self._ledger = Ledger(observer)
        self._serving: dict[str, Revision | None] = {}  # None: between two revisions
        self._changes: dict[str, _Change] = {}
        self._drains: set[asyncio.Task[None]] = set()
        self._one_load = asyncio.Lock()  # two at once could not know how much memory is free

    def names(self) -> KeysView[str]:
        """Names that requests may ask for: a view, which changes with what is served."""
        return self._serving.keys()

    def revisions(self) -> list[Revision]:
        """All that are held, by name; of one name what serves, then the youngest first."""
        return self._ledger.all()

    def find(self, name: str) -> Revision:
        """What serves, else the youngest. Raises ModelNotFound."""
        return self._ledger.find(name)

    @contextmanager
    def lease(self, name: str = "") -> Iterator[Revision]:
        """The revision that serves, to be held for the whole life of a request.

        Raises ModelNotFound; Unavailable where the name is between two revisions.
        """
        name = name or self.default
        if name not in self._serving:
            raise ModelNotFound(name)
        revision = self._serving[name]
        if revision is None:
            raise Unavailable(f"the model {name!r} is being exchanged", "MODEL_LOADING")
        with revision.held():
            yield revision

    def adopt(
        self,
        name: str,
        models: Sequence[ImageModel],
        facts: ModelFacts,
        step_s: Mapping[int, float] | None = None,
    ) -> Revision:
        """A model that is built in, loaded and warm, one for each device."""
        revision = Revision(name, models=tuple(models), digest=models[0].digest, facts=facts)
        revision.step_s = step_s or {}
        self._ledger.enter(revision)
        self._switch(revision)
        return revision

    async def load(self, path: Path) -> Revision:
        """The revision that a specification describes, once it serves.

        It is loaded although the caller leaves, and once only for callers who ask for the same.
        Raises SpecificationInvalid, CheckpointUnusable, ModelBusy, FailedPrecondition.
        """
        try:
            specification = await asyncio.to_thread(ModelSpecification.read, path)
            fingerprint = await asyncio.to_thread(self._workshop.identify, specification)
        except Exception:
            self._observer.model_load("failed", 0.0)
            raise
        name = specification.name
        serving = self._serving.get(name)
        if name not in self._changes and serving and serving.fingerprint == fingerprint:
            self._observer.model_load("unchanged", 0.0)
            return serving
        new = Revision(name, specification, path, fingerprint)
        return await self._change(name, fingerprint, partial(self._load, new))

    async def unload(self, name: str) -> None:
        """Forgets a name at once, and its revision when the last lease has ended.

        Raises ModelNotFound, ModelBusy; FailedPrecondition for the default.
        """
        if name == self.default:
            text = f"{name!r} is the server's default model, which can't be unloaded"
            raise FailedPrecondition(text, "DEFAULT_MODEL")
        await self._change(name, "unload", partial(self._unload, self.find(name)))

    async def close(self) -> None:
        """Breaks off what is under way; models are left to whoever stops the engine."""
        tasks = [*self._drains, *(change.task for change in self._changes.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _change(
        self, name: str, what: str, work: Callable[[], Coroutine[Any, Any, Revision]]
    ) -> Revision:
        """Does the work, or joins whoever does just that; a caller who leaves does not stop it."""
        known = self._changes.get(name)
        if known is not None and known.what != what:
            raise ModelBusy(name)
        if known is None:
            known = self._changes[name] = _Change(what, asyncio.create_task(work()))
            known.task.add_done_callback(partial(self._changed, name))
        return await asyncio.shield(known.task)

    def _changed(self, name: str, task: asyncio.Task[Revision]) -> None:
        del self._changes[name]
        if not task.cancelled():
            task.exception()  # is read here, since all who waited for it may have left

    async def _load(self, new: Revision) -> Revision:
        self._ledger.enter(new)
        async with self._one_load:
            return await self._exchange(new)

    async def _exchange(self, new: Revision) -> Revision:
        started_s = time.monotonic()
        old = self._serving.get(new.name)
        is_freeing = old is not None and old.path is not None and self._policy == "free_first"
        try:
            if old is not None and is_freeing:
                await self._free(old)
            serving = await self._bring(new)
        except Exception as error:
            await self._fail(new, old, error)
            self._observer.model_load("failed", time.monotonic() - started_s)
            if isinstance(error, CheckpointUnusable):
                raise CheckpointUnusable(f"{new.path}: {error}") from error
            raise
        is_new = serving is new
        self._observer.model_load("ready" if is_new else "unchanged", time.monotonic() - started_s)
        if is_new:
            self._switch(new)
            if old is not None and not is_freeing:
                self._retire(old)
        return serving

    async def _unload(self, revision: Revision) -> Revision:
        self._serving.pop(revision.name, None)
        self._ledger.forget_failed(revision.name)
        if revision.state is State.READY:
            self._retire(revision)
        for each in self._ledger.of(revision.name):
            await each.is_gone.wait()
        return revision

    async def _bring(self, new: Revision) -> Revision:
        """Loads and warms; gives what serves where it turns out to be the same."""
        await self._workshop.load_all(new)
        if (twin := self._ledger.find_twin(new)) is not None:
            if twin.state is State.READY:
                twin.fingerprint, twin.failure = new.fingerprint, None
                self._ledger.leave(new)
                return twin
            # An engine has one model of a name and digest at a time.
            await self._wait(twin.is_gone.wait(), twin)
        self._ledger.move(new, State.WARMING)
        await self._workshop.warm_all(new)
        return new

    async def _wait(self, end: Coroutine[Any, Any, Any], old: Revision) -> None:
        """Raises FailedPrecondition where requests hold on to the old one."""
        try:
            await asyncio.wait_for(end, self._patience_s)
        except TimeoutError:
            text = f"{old.num_leases} requests still use the old {old.name!r}"
            raise FailedPrecondition(
                f"{text} after {self._patience_s:g} s: nothing was changed", "MODEL_IN_USE"
            ) from None

    async def _free(self, old: Revision) -> None:
        """Raises FailedPrecondition where requests hold on to it: it then serves on."""
        self._serving[old.name] = None
        self._ledger.move(old, State.DRAINING)
        try:
            await self._wait(old.idle(), old)
        except FailedPrecondition:
            self._switch(old)
            raise
        await self._workshop.close_all(old)
        self._ledger.leave(old)

    async def _fail(self, new: Revision, old: Revision | None, error: Exception) -> None:
        """Leaves the old one serving, loads it again where it was freed, or says that none does."""
        is_expected = isinstance(error, CheckpointUnusable | EtalageError)
        assert new.path is not None
        failure = LoadFailure(str(error) if is_expected else UNEXPECTED, new.path, time.time())
        told = {"reason": failure.message} if is_expected else {"exc_info": error}
        log.error("load failed", model=new.name, path=str(new.path), **told)
        self._ledger.leave(new)
        if old is not None and old.state is not State.READY:
            old = await self._restore(old)
        if old is None:
            self._ledger.forget_failed(new.name)
            old = Revision(new.name, new.specification, new.path, state=State.FAILED)
            self._ledger.enter(old)
        old.failure = failure

    async def _restore(self, old: Revision) -> Revision | None:
        """What was freed, loaded again; None where even that fails."""
        again = Revision(old.name, old.specification, old.path, old.fingerprint)
        self._ledger.enter(again)
        try:
            await self._bring(again)
        except Exception as error:
            log.error("the old revision does not load again", model=old.name, exc_info=error)
            self._ledger.leave(again)
            return None
        self._switch(again)
        return again

    def _switch(self, new: Revision) -> None:
        """From here on requests get it."""
        new.ready_s = new.ready_s or time.time()
        self._serving[new.name] = new
        self._ledger.move(new, State.READY)
        self._ledger.forget_failed(new.name)
        if new.name == self.default:
            self._observer.model(new.models[0].name, new.digest)

    def _retire(self, old: Revision) -> None:
        self._ledger.move(old, State.DRAINING)
        task = asyncio.create_task(self._drain(old))
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    async def _drain(self, old: Revision) -> None:
        await old.idle()
        await self._workshop.close_all(old)
        self._ledger.leave(old)
