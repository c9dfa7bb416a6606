"""The code that stands under each section: what made it, word for word."""

from __future__ import annotations

import inspect
from collections.abc import Callable


def show_source(function: Callable[..., object]) -> str:
    return inspect.getsource(function).rstrip()
