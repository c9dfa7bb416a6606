"""Feast's offline jobs run on Dask, which names every table by hashing all that is in it: vectors
one by one, twenty times as long as the job itself. Here it names them by which table they are.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import pandas as pd
from dask import base

_NUMBERS = itertools.count()
_ALONE = RLock()  # how tables are named, and which warnings are shown, is one for the process
_TABLES = (pd.DataFrame, pd.Series)
_NAMES: Any = base.normalize_token


@contextmanager
def offline_job() -> Iterator[None]:
    """Run and collect a job of Feast's offline store in here; one at a time in a process."""
    numbers: dict[int, tuple[Any, int]] = {}

    def number(table: Any) -> tuple[str, int]:
        # Kept until the end, so that no other table gets its id.
        return "table", numbers.setdefault(id(table), (table, next(_NUMBERS)))[1]

    with _ALONE, warnings.catch_warnings():
        # Dask's own business with pandas' coming versions.
        warnings.filterwarnings("ignore", "Downcasting object dtype", FutureWarning)
        before = {kind: _NAMES.dispatch(kind) for kind in _TABLES}
        try:
            for kind in _TABLES:
                _NAMES.register(kind, number)
            yield
        finally:
            for kind, normalize in before.items():
                _NAMES.register(kind, normalize)
