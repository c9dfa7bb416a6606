"""A store whose client has errors of its own, as those of many a cloud have."""

from __future__ import annotations

from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

CLOUD = "refusing://shop"


class CloudError(Exception):
    """No OSError."""


class RefusingFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """Lets nobody in; on "refusing://nowhere" not even to the door."""

    protocol = "refusing"
    cachable = False

    def __init__(self, **settings: Any) -> None:
        super().__init__()

    @staticmethod
    def _get_kwargs_from_urls(url: str) -> dict[str, Any]:
        if url.startswith("refusing://nowhere"):
            raise CloudError("NoSuchBucket")
        return {}

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise CloudError("AccessDenied: not yours\nRequest 7f3a")

    makedirs = pipe_file = cat_file = open = ls = _refuse


fsspec.register_implementation("refusing", RefusingFileSystem, clobber=True)
