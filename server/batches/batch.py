"""What a batch is, as frozen nouns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from server.bulk.record import Record


class BatchState(Enum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a batch; `number` counts from 1. What `content` says only the door knows, and
    `shopper` is a keyed hash of who it is for."""

    number: int
    name: str
    content: bytes
    shopper: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """A batch as it comes in; `digest` says whether another one is the same."""

    batch_id: str
    digest: bytes
    output_folder: str
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A batch that this process works on; `key` is the store's."""

    key: int
    batch_id: str
    output_folder: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A job and how far it is; times are Unix's. `failures` are the first ones. `is_closed` once
    nothing of it changes any more, its files included."""

    batch_id: str
    state: BatchState
    num_requests: int
    num_succeeded: int
    num_failed: int
    create_s: float
    update_s: float
    end_s: float | None
    output_folder: str
    images_per_second: float
    failures: tuple[Record, ...]
    is_closed: bool

    def is_as_far_as(self, other: Batch | None) -> bool:
        return other is not None and self._progress == other._progress

    @property
    def _progress(self) -> tuple[object, ...]:
        return self.state, self.num_succeeded, self.num_failed, self.is_closed
