"""A folder of kept images. Several processes may share one.

A file is written beside its place and then moved there, so that a reader finds all of it or
nothing. It was made when it was last modified, and used when it was last accessed: both are set
here, whatever the file system does by itself.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from server.image_cache.shelf import CacheObserver, ShelfFailed, Silence

T = TypeVar("T")
NAME = re.compile(r"[0-9a-f]{16,128}")
UNFINISHED = ".unfinished"
MAKERS = "makers"
ABANDONED_S = 3600.0
"""An unfinished file of this age belongs to a process that died."""
SWEEP_SHARE = 0.05
"""Of the room: after so many bytes written the folder is looked through again."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    num_bytes: int
    made_s: float
    used_s: float

    @property
    def is_unfinished(self) -> bool:
        return self.path.suffix == UNFINISHED


class Folder:
    """At most `max_bytes`, what was used longest ago going first, and each file for `ttl_s`.

    With several processes on it, it may hold up to `SWEEP_SHARE` more for each of them, and what
    was written while it is swept, which is done beside `workers`: it takes a while. Only files that
    are named as this class names them are touched. Belongs to one event loop.
    """

    name = "disk"

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        ttl_s: float,
        workers: Executor,
        observer: CacheObserver | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._max_bytes, self._ttl_s = path, max_bytes, ttl_s
        self._workers, self._observer, self._clock = workers, observer or Silence(), clock
        self._sweeper = ThreadPoolExecutor(1, "image-folder")
        self._unswept_bytes = math.inf  # what a process before this one left

    async def find(self, name: str) -> bytes | None:
        return await self._run(self._read, name)

    async def keep(self, name: str, data: bytes, maker: str = "") -> None:
        if len(data) > self._max_bytes:
            return
        if maker:
            await self._run(self._note_maker, name, maker)
        await self._run(self._write, name, data)
        self._unswept_bytes += len(data)
        if self._unswept_bytes > SWEEP_SHARE * self._max_bytes:
            self._unswept_bytes = 0
            await self._run(self._sweep, workers=self._sweeper)

    async def drop(self, name: str) -> None:
        await self._run(self._place(name).unlink, True)

    async def forget(self, maker: str) -> set[str]:
        return await self._run(self._remove_made, maker)

    async def purge(self) -> None:
        await self._run(self._remove_all)

    async def close(self) -> None:
        self._sweeper.shutdown(wait=False)

    def _place(self, name: str) -> Path:
        assert NAME.fullmatch(name)
        return self._path / name[:2] / name

    def _find_notes(self, maker: str) -> Path:
        """The folder of empty files that are named as what was made of this shopper."""
        assert NAME.fullmatch(maker)
        return self._path / MAKERS / maker

    def _note_maker(self, name: str, maker: str) -> None:
        notes = self._find_notes(maker)
        notes.mkdir(mode=0o700, parents=True, exist_ok=True)
        (notes / name).touch()

    def _remove_made(self, maker: str) -> set[str]:
        """What another was made for since, under the same name, goes too: it is made again."""
        notes = self._find_notes(maker)
        noted = {path.name for path in notes.glob("*") if NAME.fullmatch(path.name)}
        names = {name for name in noted if self._place(name).exists()}
        for name in noted:
            self._place(name).unlink(missing_ok=True)
        shutil.rmtree(notes, ignore_errors=True)
        return names

    def _sweep_notes(self, now_s: float) -> None:
        for notes in self._path.glob(f"{MAKERS}/*"):
            for note in notes.glob("*"):
                with suppress(FileNotFoundError):
                    if note.stat().st_mtime + self._ttl_s <= now_s:
                        note.unlink()
            with suppress(OSError):
                notes.rmdir()  # one that is not empty stays

    def _read(self, name: str) -> bytes | None:
        place = self._place(name)
        try:
            data = place.read_bytes()
            made_s = place.stat().st_mtime
            if made_s + self._ttl_s <= self._clock():
                return None
            os.utime(place, (self._clock(), made_s))
        except FileNotFoundError:
            return None
        return data

    def _write(self, name: str, data: bytes) -> None:
        place = self._place(name)
        unfinished = place.with_name(f"{uuid.uuid4().hex}{UNFINISHED}")
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(data)
            now_s = self._clock()
            os.utime(unfinished, (now_s, now_s))
            unfinished.replace(place)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise

    def _sweep(self) -> None:
        now_s = self._clock()
        files = []
        for file in self._list():
            life_s = ABANDONED_S if file.is_unfinished else self._ttl_s
            if file.made_s + life_s <= now_s:
                file.path.unlink(missing_ok=True)
            else:
                files.append(file)
        total = sum(file.num_bytes for file in files)
        num_evicted = 0
        for file in sorted(files, key=lambda file: file.used_s):
            if total <= self._max_bytes:
                break
            if not file.is_unfinished:
                file.path.unlink(missing_ok=True)
                total -= file.num_bytes
                num_evicted += 1
        self._sweep_notes(now_s)
        if num_evicted:
            self._observer.evicted(self.name, num_evicted)
        self._observer.held(self.name, total)

    def _list(self) -> Iterator[_File]:
        """Files that are this class's own, and still there."""
        for path in self._path.glob("??/*"):
            if NAME.fullmatch(path.name.removesuffix(UNFINISHED)):
                try:
                    told = path.stat()
                except FileNotFoundError:
                    continue
                yield _File(path, told.st_size, told.st_mtime, told.st_atime)

    def _remove_all(self) -> None:
        for file in self._list():
            file.path.unlink(missing_ok=True)
        shutil.rmtree(self._path / MAKERS, ignore_errors=True)
        self._observer.held(self.name, 0)

    async def _run(
        self, work: Callable[..., T], *arguments: object, workers: Executor | None = None
    ) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(workers or self._workers, work, *arguments)
        except OSError as error:
            raise ShelfFailed(f"{self._path}: {error.strerror}") from error
