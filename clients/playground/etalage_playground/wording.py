"""What went wrong, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etalage import (
    Cancelled,
    DeadlineExceeded,
    EtalageError,
    InvalidArgument,
    NotFound,
    Overloaded,
    PermissionDenied,
    Unavailable,
)

START = "make serve"

WORDS: Mapping[type[EtalageError], tuple[int, str]] = {
    InvalidArgument: (400, "The server does not take this as it is."),
    NotFound: (404, "The server does not know this."),
    Overloaded: (429, "The server is full."),
    Unavailable: (503, f"No server answers. Start one with “{START}”, or say --server."),
    DeadlineExceeded: (504, "It took longer than this page waits (--timeout)."),
    Cancelled: (409, "It was cancelled."),
    PermissionDenied: (
        403,
        "The server does not permit this to whoever calls: say --api-key-file or --token-file.",
    ),
}
"""HTTP status and sentence by kind of error."""

_FAILED = (502, "The server failed; its log knows more.")


def choose_status(error: EtalageError) -> int:
    return WORDS.get(type(error), _FAILED)[0]


def tell_error(error: EtalageError) -> dict[str, Any]:
    sentence = WORDS.get(type(error), _FAILED)[1]
    if error.retry_after_s is not None:
        sentence += f" Wait {max(error.retry_after_s, 1):.0f} s, then try again."
    return {
        "kind": "error",
        "name": type(error).__name__,
        "text": sentence,
        "told": str(error),
        "reason": error.reason,
        "wrong": [f"{each.field}: {each.description}" for each in error.violations],
        "request_id": error.request_id,
    }
