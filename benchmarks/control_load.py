"""Who asks a server as fast as it answers, or at a rate of its own: h2load of nghttp2, which takes
a fortieth of a millisecond for each answer, where a client in Python takes as long as a server.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

H2LOAD = "h2load"
"""In Debian's package nghttp2-client."""

NUM_CALLERS = 8
"""Each with a connection and a request of its own."""

NUM_OPEN, MAX_OPEN = 8, 256
"""Of each caller's calls: all the while where it asks as fast as it is answered, or at most."""

FRAME = b"\0"
"""Before the length of a message in gRPC over HTTP/2: it is not compressed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it goes over the wire; the method has a slash before it."""

    method: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of so many seconds; what was cut by their end counts for the bytes alone."""

    requests_per_s: float
    p50_s: float
    p99_s: float
    mean_bytes: float


class Failed(RuntimeError):
    """Something was not answered, or with less than an answer."""


def ask_each(addresses: Sequence[str], asked: Sequence[Asked]) -> list[bytes]:
    """The answers of every server to every request, for which it may have to make an image."""
    answers: list[bytes] = []
    for address in addresses:
        with grpc.insecure_channel(address, (("grpc.max_receive_message_length", -1),)) as channel:
            open_call: Any = channel.unary_unary  # its stubs want serializers
            answers += [open_call(each.method)(each.data) for each in asked]
    return answers


def ask(
    addresses: Sequence[str],
    asked: Sequence[Asked],
    seconds: int,
    requests_per_s: float | None = None,
) -> Answered:
    """As fast as answers come, or so many a second, whether or not others are answered.

    Raises Failed, or FileNotFoundError where there is no h2load.
    """
    with tempfile.TemporaryDirectory(prefix="h2load-") as name:
        folders = [Path(name) / str(number) for number in range(NUM_CALLERS)]
        callers = []
        for number, folder in enumerate(folders):
            folder.mkdir()
            each = asked[number % len(asked)]
            rate = None if requests_per_s is None else requests_per_s / NUM_CALLERS
            command = spell(addresses[number % len(addresses)], each, folder, seconds, rate)
            callers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        told = [caller.communicate()[0] for caller in callers]
        return sum_up(told, [folder / "log" for folder in folders], seconds)


def spell(
    address: str, asked: Asked, folder: Path, seconds: int, requests_per_s: float | None
) -> list[str]:
    """The command of one caller."""
    (folder / "body").write_bytes(FRAME + len(asked.data).to_bytes(4, "big") + asked.data)
    pace = [f"-m{NUM_OPEN}"]
    if requests_per_s is not None:
        pace = [f"-m{MAX_OPEN}", f"--rps={requests_per_s:.3f}"]
    return [
        *(H2LOAD, "-t1", "-c1", f"-D{seconds}", *pace),
        *(f"-d{folder / 'body'}", f"--log-file={folder / 'log'}"),
        *("-Hcontent-type: application/grpc", "-Hte: trailers"),
        f"http://{address}{asked.method}",
    ]


def sum_up(told: Sequence[str], logs: Sequence[Path], seconds: int) -> Answered:
    """A refusal is a status of HTTP that is good, and no bytes: sizes tell."""
    counts = [_count(each) for each in told]
    num_answered = sum(num_answered for num_answered, _ in counts)
    if not num_answered:
        raise Failed("\n".join(told))
    taken_s = np.concatenate([list(_read(log)) for log in logs])
    p50_s, p99_s = np.quantile(taken_s, [0.5, 0.99]).tolist()
    num_bytes = sum(each for _, each in counts)
    return Answered(num_answered / seconds, p50_s, p99_s, num_bytes / num_answered)


def _count(told: str) -> tuple[int, int]:
    """Answers, and bytes of them. Raises Failed where not all are well."""
    lines = {line.partition(":")[0]: line for line in told.splitlines()}
    try:
        words = lines["requests"].split()
        num_done, num_well = int(words[5]), int(words[7])
        num_bytes = int(lines["traffic"].rpartition("(")[2].partition(")")[0])
    except (KeyError, IndexError, ValueError):
        raise Failed(told) from None
    if num_done != num_well:
        raise Failed(told)
    return num_well, num_bytes


def _read(log: Path) -> Iterator[float]:
    """Seconds that each answer took."""
    for line in log.read_text("utf-8").splitlines():
        yield 1e-6 * int(line.split("\t")[2])
