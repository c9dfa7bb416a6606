"""Reads the details of an error: google.rpc.Status as it travels in a trailer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from etalage.foreign import parse


@dataclass(frozen=True)
class ErrorDetails:
    """What a google.rpc.Status says; `violations` are pairs of field and description."""

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[tuple[str, str], ...] = ()
    retry_after_s: float | None = None


def read_details(status: str | bytes | None) -> ErrorDetails:
    """Reads the value of the `grpc-status-details-bin` trailer; nothing readable gives nothing."""
    if not isinstance(status, bytes):
        return ErrorDetails()
    try:
        details = {
            detail.type_url.rpartition("/")[2]: detail.value
            for detail in parse("Status", status).details
        }
        info = parse("ErrorInfo", details.get("google.rpc.ErrorInfo", b""))
        bad = parse("BadRequest", details.get("google.rpc.BadRequest", b""))
        retry = parse("RetryInfo", details.get("google.rpc.RetryInfo", b""))
    except DecodeError:
        return ErrorDetails()
    return ErrorDetails(
        reason=info.reason,
        metadata={entry.key: entry.value for entry in info.metadata},
        violations=tuple((wrong.field, wrong.description) for wrong in bad.violations),
        retry_after_s=_seconds(retry.delay) if retry.HasField("delay") else None,
    )


def _seconds(delay: Any) -> float:
    return float(delay.seconds + delay.nanos / 1e9)
