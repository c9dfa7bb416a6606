"""What goes to a replica and what comes back: plain values, without a loop, a clock or a model.

Machines have clocks of their own: a deadline travels as the seconds that are left.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.core import Pixels
from server.errors import DeadlineExceeded, EtalageError, Overloaded, SamplingFailed, Unavailable
from server.sampling.row import RowRequest


@dataclass(frozen=True, slots=True)
class Order:
    """Rows of one request, packed. Who have the same `affinity` can share walks."""

    affinity: bytes
    payload: bytes
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """Pixels uint8 [H, W, 3] for each row, and what they took."""

    pixels: Sequence[Pixels]
    queue_s: float
    sample_s: float
    decode_s: float
    num_forward_rows: int
    num_steps_shared: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there are none: an error by its reason, for those who wait."""

    reason: str
    text: str
    retry_after_s: float = 0.0

    @classmethod
    def of(cls, error: EtalageError) -> Refused:
        return cls(error.reason, str(error), getattr(error, "retry_after_s", 0.0))

    def as_error(self) -> EtalageError:
        if self.reason == Overloaded.reason:
            return Overloaded(self.retry_after_s)
        if self.reason == DeadlineExceeded.reason:
            return DeadlineExceeded(self.text)
        if self.reason == SamplingFailed.reason:
            return SamplingFailed(self.text)
        return Unavailable(self.text, self.reason)


@dataclass(frozen=True, slots=True)
class Step:
    """Steps that the slowest row has done, and the first row's present guess, packed."""

    number: int
    guess: bytes


Outcome = Sampled | Refused


@dataclass(frozen=True, slots=True)
class Paces:
    """Seconds of a tick by key and bucket, as one replica measured them."""

    ticks_s: Sequence[tuple[tuple[str, tuple[int, ...]], dict[int, float]]]
    buckets: tuple[int, ...]


def pack_rows(rows: Sequence[RowRequest]) -> bytes:
    """Without their deadlines, which the order tells in its own way. What rows share is packed
    once."""
    return pack([replace(row, deadline_s=None) for row in rows])


def unpack_rows(
    data: bytes, device: torch.device, deadline_s: float | None = None
) -> list[RowRequest]:
    rows: list[RowRequest] = unpack(data, device)
    return [replace(row, deadline_s=deadline_s) for row in rows]


def pack(thing: object) -> bytes:
    """Tensors as arrays: torch's own way takes ten times as long for small ones."""
    file = io.BytesIO()
    _Packer(file, pickle.HIGHEST_PROTOCOL).dump(thing)
    return file.getvalue()


def unpack(data: bytes, device: torch.device) -> Any:
    """From those who are trusted alone. Tensors come to the device."""
    return _Unpacker(io.BytesIO(data), device).load()


class _Packer(pickle.Pickler):
    def reducer_override(self, thing: object) -> Any:
        if isinstance(thing, Tensor):
            return _make_tensor, _to_array(thing)
        return NotImplemented


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, device: torch.device) -> None:
        super().__init__(file)
        self._device = device

    def find_class(self, module: str, name: str) -> object:
        found = super().find_class(module, name)
        return self._make_tensor if found is _make_tensor else found

    def _make_tensor(self, array: NDArray[np.generic], dtype: torch.dtype) -> Tensor:
        return _make_tensor(array, dtype).to(self._device)


def _to_array(tensor: Tensor) -> tuple[NDArray[np.generic], torch.dtype]:
    """numpy has no bfloat16: its bits travel as integers."""
    tensor = tensor.detach().cpu().contiguous()
    bits = tensor.view(torch.int16) if tensor.dtype is torch.bfloat16 else tensor
    return bits.numpy(), tensor.dtype


def _make_tensor(array: NDArray[np.generic], dtype: torch.dtype) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor if tensor.dtype is dtype else tensor.view(dtype)
