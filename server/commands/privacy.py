"""Builds what erases shoppers, from the configuration: beside a server's requests, or as a verb."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from sqlalchemy import URL, Engine
from sqlalchemy.exc import SQLAlchemyError

from features.consent import ConsentElsewhere, set_consent
from features.erasure import erase_files, erase_online, wipe_remnants
from features.holdings import tell_mapped, tell_shopper
from features.keys import load_keys
from features.repository import Repository
from features.store import Store, StoreMissing, open_store
from server import logs
from server.batches.erasing import erase_requests
from server.batches.tables import open_database
from server.commands.creatives import open_cache
from server.commands.experiments import Experimenting, name_database, name_export, name_keys
from server.commands.feature_store import store_config
from server.commands.serve import Memory
from server.commands.start_failed import StartFailed
from server.configuration import Configuration
from server.database import close
from server.experiments.event_log.opening import open_events
from server.experiments.event_log.retention import forget
from server.experiments.pseudonyms import Pseudonyms
from server.privacy.desk import Desk, write_json
from server.privacy.eraser import Eraser, Place
from server.privacy.holdings import HoldingsTooLarge, list_batches, list_events
from server.privacy.keeper import Keeper, Pace
from server.privacy.proof import Case, Proof
from server.privacy.register import Register, open_register

MAX_ID = 256
ELSEWHERE = "the offline store is its owner's: the tombstone keeps its rows out, delete them there"

Counts = Mapping[str, int]


class Answers(Protocol):
    """Answers that a server keeps; see server.doors.listening.Door."""

    def name_shoppers(self, name: Callable[[str], str]) -> None: ...

    def forget(self, name: str) -> int: ...


class Archive:
    """All stores that servers share, each opened when it is first needed; its methods block."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.home = configuration.features.home.absolute()
        self._features = store_config(configuration.features, configuration.privacy)
        self._tombstones = self._features.open_tombstones()
        self._traces: dict[int, Sequence[bytes]] = {}
        self._alone = Lock()  # one connection to the online store

    @cached_property
    def register(self) -> Register:
        here = URL.create("sqlite", database=str(self.home / "privacy.db"))
        return Register(open_register(self.configuration.privacy.database or here))

    @cached_property
    def store(self) -> Store:
        return open_store(self._features)

    @cached_property
    def repository(self) -> Repository | None:
        """The shop's own, which shoppers are read from where there is a mapping."""
        mapping = self.configuration.features.mapping
        return None if mapping is None else Repository(mapping)

    @cached_property
    def events(self) -> Engine:
        return open_events(name_database(self.configuration.experiments, self.home))

    @cached_property
    def batches(self) -> Engine:
        here = URL.create("sqlite", database=str(self.home / "batches.db"))
        return open_database(self.configuration.batches.database or here)

    @cached_property
    def _pseudonyms(self) -> Pseudonyms:
        keys = load_keys(name_keys(self.configuration.experiments, self.home))
        return Pseudonyms(keys.lasting)

    def name(self, user_id: str) -> str:
        return self._tombstones.name(user_id)

    def names(self, user_id: str) -> tuple[str, str]:
        return self.name(user_id), self._pseudonyms.name(user_id)

    def erase_online(self, case: Case) -> Counts:
        with self._alone:
            try:
                erased = erase_online(self.repository or self.store, case.user_id)
            except StoreMissing:
                return {"online_features": 0}
        self._traces[case.key] = erased.traces
        return {"online_features": erased.num_rows}

    def erase_events(self, case: Case) -> Counts:
        gone = forget(self.events, [case.unit])
        return _count_events(gone.num_exposures, gone.num_outcomes, gone.num_sticky_buckets)

    def erase_batches(self, case: Case, *, is_last: bool = False) -> Counts:
        root = self.configuration.batches.folder or str(self.home / "batches")
        counts = erase_requests(self.batches, root, case.name, is_last=is_last)
        return dict(zip(("batch_requests", "batch_images"), counts, strict=True))

    def erase_files(self, case: Case) -> Counts:
        return {
            "offline_features": erase_files(self.home, "user_id", case.user_id),
            "exported_events": erase_files(name_export(self.home), "unit", case.unit),
        }

    def wipe_remnants(self, case: Case) -> Counts:
        traces = self._traces.get(case.key, ())
        try:
            num_wiped = wipe_remnants(self.repository or self.store, case.user_id, traces)
        except StoreMissing:
            num_wiped = 0
        self._traces.pop(case.key, None)
        return {"rewritten_databases": num_wiped}

    def list_places(self) -> list[Place]:
        """All but the event log and the images, which a server has open already."""
        note = ELSEWHERE if self.configuration.features.offline_store else ""
        return [
            Place("online_features", _beside(self.erase_online)),
            Place("batches", _beside(self.erase_batches)),
            Place("files", _beside(self.erase_files), is_slow=True, note=note),
            Place("remnants", _beside(self.wipe_remnants), is_slow=True, after="online_features"),
        ]

    def set_consent(self, user_id: str, is_given: bool) -> datetime:
        if self.configuration.features.mapping is not None:
            raise ConsentElsewhere
        with self._alone:
            return set_consent(self.store, user_id, is_given)

    def tell(self, user_id: str) -> dict[str, Any]:
        """All that is held. Raises HoldingsTooLarge, and what the drivers raise."""
        name, unit = self.names(user_id)
        features: dict[str, Any] = {"consent": None}
        with self._alone:
            try:
                if (theirs := self.repository) is not None:
                    features = tell_mapped(theirs, user_id)
                else:
                    features = tell_shopper(self.store, user_id)
            except StoreMissing:
                pass
        mark = self.register.find_tombstone(name)
        return {
            "user_id": user_id,
            "consent": features.pop("consent"),
            "features": features,
            "unit": unit,
            "events": list_events(self.events, unit),
            "batches": list_batches(self.batches, name),
            "erased_s": None if mark is None else mark.time_s,
        }

    async def close(self) -> None:
        """Waits for threads that were left alone with a connection."""
        opened = self.__dict__
        for engine in (opened.get("events"), opened.get("batches")):
            if engine is not None:
                await close(engine)
        if (register := opened.get("register")) is not None:
            await register.close()


@asynccontextmanager
async def open_privacy(
    configuration: Configuration, answers: Answers, memory: Memory, experimenting: Experimenting
) -> AsyncIterator[Desk]:
    """Goes on with what an earlier process left. Raises StartFailed."""
    settings = configuration.privacy
    archive = Archive(configuration)
    try:
        register = await asyncio.to_thread(lambda: archive.register)
        await asyncio.to_thread(archive.names, "")
    except (SQLAlchemyError, ImportError, OSError, ValueError) as error:
        raise StartFailed(f"privacy.database or privacy.keys: {error}") from error
    log, sticky = experimenting.log, experimenting.sticky
    answers.name_shoppers(archive.name)
    memory.name_makers(archive.name)

    async def forget_here(case: Case, is_shared: bool = False) -> Counts:
        log.sticky_buckets.drop(case.unit)
        kept = dict(await memory.forget(case.name, is_shared=is_shared))
        kept["answers"] = answers.forget(case.name)
        return kept | {"sticky_memory": sticky.forget(case.unit)}

    async def erase_events(case: Case) -> Counts:
        gone = await log.forget([case.unit])
        return _count_events(gone.num_exposures, gone.num_outcomes, gone.num_sticky_buckets)

    async def sweep(case: Case) -> None:
        await erase_events(case)
        await asyncio.to_thread(archive.erase_batches, case, is_last=True)

    async def withdraw(user_id: str) -> None:
        name = await asyncio.to_thread(archive.name, user_id)
        await memory.forget(name)
        answers.forget(name)

    pace = Pace(settings.watch_s, settings.retry_s, configuration.experiments.window_s)
    keeper = Keeper(register, pace, forget_here, sweep)
    places = [
        Place("memory", lambda case: forget_here(case, is_shared=True)),
        Place("events", erase_events),
        *archive.list_places(),
    ]
    eraser = Eraser(register, places, archive.names, keeper.note)
    experimenting.recorder.refuse(keeper.is_erased)
    try:
        await keeper.start(eraser)
    except SQLAlchemyError as error:
        raise StartFailed(f"privacy.database can't be read: {error}") from error
    desk = Desk(eraser, archive.tell, archive.set_consent, withdraw, settings.max_export_bytes)
    try:
        yield desk
    finally:
        await keeper.close()
        await eraser.close()
        await archive.close()


def erase(configuration: Configuration, user_ids: Sequence[str], is_permanent: bool) -> int:
    """Prints a proof for each, as a line of JSON; without ids, for each that is not done yet.

    The exit status: 0, 1 where something is still to be done, 2 for a wrong id.
    """
    logs.configure_logs(configuration.logging.format, configuration.logging.level)
    for user_id in user_ids:
        if fault := find_fault(user_id):
            print(f"erase: {fault}", file=sys.stderr)
            return 2
    try:
        proofs = asyncio.run(_erase_all(Archive(configuration), user_ids, is_permanent))
    except (SQLAlchemyError, ImportError, OSError, ValueError) as error:
        print(f"erase: nothing was erased: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for proof in proofs:
        print(proof.to_json())
        for store in proof.stores:
            if store.error:
                text = f"erase: {store.store} failed, to be tried again: {store.error}"
                print(text, file=sys.stderr)
    return int(not all(proof.is_complete for proof in proofs))


def export_user(configuration: Configuration, user_id: str, out: Path | None) -> int:
    """Writes all that is held, as JSON, to a file or to standard output; the exit status."""
    if fault := find_fault(user_id):
        print(f"export-user: {fault}", file=sys.stderr)
        return 2
    archive = Archive(configuration)
    try:
        data = write_json(archive.tell(user_id))
    except (SQLAlchemyError, ImportError, OSError, HoldingsTooLarge, ValueError) as error:
        print(f"export-user: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    finally:
        asyncio.run(archive.close())
    if out is None:
        print(data.decode())
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(data)
        print(out)
    return 0


def find_fault(user_id: str) -> str:
    """What is wrong with an id; empty where nothing is."""
    if not user_id:
        return "user_id: is empty; it says who"
    if len(user_id) > MAX_ID:
        return f"user_id: has {len(user_id)} characters; at most {MAX_ID} are allowed"
    return ""


async def _erase_all(archive: Archive, user_ids: Sequence[str], is_permanent: bool) -> list[Proof]:
    register = await asyncio.to_thread(lambda: archive.register)
    async with open_places(archive) as places:
        eraser = Eraser(register, places, archive.names)
        try:
            if user_ids:
                return [
                    await eraser.erase(user_id, is_permanent=is_permanent, is_patient=True)
                    for user_id in dict.fromkeys(user_ids)
                ]
            left = await asyncio.to_thread(register.list_unfinished, time.time())
            return [await eraser.go_on(case) for case in left]
        finally:
            await eraser.close()
            await archive.close()


@asynccontextmanager
async def open_places(archive: Archive) -> AsyncIterator[list[Place]]:
    """All that servers share: what they have in memory goes when they hear of it."""
    with ThreadPoolExecutor(1, "images") as workers:
        cache = open_cache(archive.configuration.image_cache, workers)

        async def erase_images(case: Case) -> Counts:
            return {"image_cache": await cache.forget(case.name)}

        try:
            yield [
                Place("image_cache", erase_images),
                Place("events", _beside(archive.erase_events)),
                *archive.list_places(),
            ]
        finally:
            await cache.close()


def _beside(erase: Callable[[Case], Counts]) -> Callable[[Case], Awaitable[Counts]]:
    """In a thread."""

    async def run(case: Case) -> Counts:
        return await asyncio.to_thread(erase, case)

    return run


def _count_events(num_exposures: int, num_outcomes: int, num_buckets: int) -> Counts:
    return {"exposures": num_exposures, "outcomes": num_outcomes, "sticky_buckets": num_buckets}
