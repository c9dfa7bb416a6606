"""Structured logs on standard error, JSON or for eyes, in which no shopper appears.

Every line of a request carries its `request_id`. Whatever is handed to a log call, three things
never come out: the ids of shoppers (by key, and by value within any text once `bind_request` has
named them), embeddings and other arrays, and the bytes of images.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_WITHHELD_KEYS = frozenset({"user_id", "session_id", "user", "shopper", "embedding", "packshot"})
_CHATTY = ("feast",)  # a line for every look at its registry
_SHORTEST_SECRET = 4  # shorter ids would blacken half of the text
_LONGEST_TEXT = 20_000  # characters; a traceback

_secrets: ContextVar[tuple[str, ...]] = ContextVar("secrets", default=())


def configure_logs(
    format: Literal["console", "json"], level: str, stream: TextIO | None = None
) -> None:
    """Send structlog and the standard library's logging to `stream`, standard error by default."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                withhold,
                _renderer(format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    logging.captureWarnings(True)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


def bind_request(request_id: str, user_id: str = "") -> None:
    """Put the id on every further line of this task, and keep the shopper out of all of them."""
    structlog.contextvars.bind_contextvars(request_id=request_id)
    if len(user_id) >= _SHORTEST_SECRET:
        _secrets.set((user_id, repr(user_id)[1:-1]))


def bind_trace(trace_id: str) -> None:
    """Put the trace's id, too, on every further line of this task."""
    structlog.contextvars.bind_contextvars(trace_id=trace_id)


def current_request_id() -> str:
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def withhold(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Replace what must not be told; a structlog processor."""
    return {key: _told(key, value) for key, value in event.items()}


def _told(key: str, value: Any) -> Any:
    if key in _WITHHELD_KEYS:
        return "[withheld]"
    if isinstance(value, str):
        for secret in _secrets.get():
            value = value.replace(secret, "[withheld]")
        return value[:_LONGEST_TEXT]
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(inner): _told(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple) and len(value) <= 16:
        return [_told(key, item) for item in value]
    return f"[{type(value).__name__}]"  # arrays, bytes, requests: their repr would tell all


def _renderer(format: Literal["console", "json"]) -> Processor:
    if format == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
