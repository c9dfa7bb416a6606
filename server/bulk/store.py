"""A folder of files, each whole or not there at all, on any file system that fsspec knows."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class StoreFailed(RuntimeError):
    """What was made can't be kept; says what and why."""


class Store:
    """Callable from any thread; goes to another process by its `url`.

    On a local disk a file is written beside its place, synchronized, and then put there. Object
    stores show an object when it is complete. Elsewhere a file may be torn by a crash, and counts
    only once the journal has it. Raises StoreFailed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._files: Any
            self._files, self._root = fsspec.core.url_to_fs(url)
        except Exception as error:
            raise StoreFailed(f"{url}: {tell(error)}") from error

    @property
    def local(self) -> Path | None:
        """Where it lies, if on a disk of this machine."""
        return Path(self._root) if isinstance(self._files, LocalFileSystem) else None

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.url,)

    def locate(self, path: str) -> str:
        """For a person."""
        return f"{self.url.rstrip('/')}/{path}" if path else self.url

    def make_folders(self, *folders: str) -> None:
        with self._translating("can't be made"):
            for folder in folders:
                self._files.makedirs(self._join(folder), exist_ok=True)

    def write(self, path: str, data: bytes) -> None:
        with self._translating("can't be written", path):
            if self.local is None:
                self._files.pipe_file(self._join(path), data)
            else:
                write_whole(self.local / path, data)

    def put(self, path: str, data: bytes) -> None:
        """As `write`, and never torn: elsewhere it is moved into its place, which may copy it."""
        if self.local is not None:
            self.write(path, data)
            return
        folder, _, name = self._join(path).rpartition("/")
        unfinished = f"{folder}/.{name}.unfinished"
        with self._translating("can't be written", path):
            self._files.pipe_file(unfinished, data)
            self._files.mv(unfinished, self._join(path))

    def read(self, path: str) -> bytes | None:
        """None where there is no such file."""
        with self._translating("can't be read", path):
            try:
                data: bytes = self._files.cat_file(self._join(path))
            except FileNotFoundError:
                return None
            return data

    def read_lines(self, path: str) -> Iterator[bytes]:
        with self._translating("can't be read", path):
            with self._files.open(self._join(path), "rb") as file:
                yield from file

    def remove(self, path: str) -> None:
        """It may be gone already."""
        with self._translating("can't be removed", path):
            try:
                self._files.rm_file(self._join(path))
            except FileNotFoundError:
                pass

    def list_files(self, folder: str) -> list[str]:
        """Paths of the files in a folder, in order; a file that is not finished is none."""
        with self._translating("can't be listed", folder):
            # Others may have written since: what a listing said before may be kept by fsspec.
            self._files.invalidate_cache()
            try:
                found = self._files.ls(self._join(folder), detail=False)
            except FileNotFoundError:
                return []
        names = sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)
        prefix = f"{folder}/" if folder else ""
        return [f"{prefix}{name}" for name in names if name and not name.startswith(".")]

    def _join(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}" if path else str(self._root)

    @contextmanager
    def _translating(self, what: str, path: str = "") -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the clients of many a cloud have errors of their own
            raise explain(error, self.locate(path), what) from error


def explain(error: Exception, place: str, what: str = "can't be written") -> StoreFailed:
    if isinstance(error, OSError) and error.errno in _FULL:
        return StoreFailed(f"no space is left for {place}")
    return StoreFailed(f"{place} {what}: {tell(error)}")


def tell(error: Exception) -> str:
    """Why, in one line."""
    why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    return why or type(error).__name__


def write_whole(path: Path, data: bytes) -> None:
    """Puts the file there when it is complete and on the disk. Raises OSError, leaving nothing."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
