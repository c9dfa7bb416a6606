"""What `plan` may be told, each value with its limits."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    def number(name: str, kind: Any, default: Any, text: str) -> None:
        shown = "" if default is None else f" (default: {default:g})"
        parser.add_argument(f"--{name}", type=kind, default=default, metavar="X", help=text + shown)

    parser.add_argument(
        "--rps", type=positive, required=True, metavar="X", help="requests a second"
    )
    text = "quality, fast, sdxl, or the name of another one"
    parser.add_argument(
        "--model", default="quality", metavar="NAME", help=f"{text} (default: quality)"
    )
    text = "whose figures of benchmarks are taken: cpu or gpu (default: gpu)"
    parser.add_argument("--device", choices=("cpu", "gpu"), default="gpu", help=text)
    text = "milliseconds of a forward by its rows, instead of figures that were measured here"
    parser.add_argument("--step-ms", type=step_ms, metavar="ROWS:MS,...", help=text)
    text = "file of a server's own pace, below its home in pace/"
    parser.add_argument("--pace", type=Path, metavar="FILE", help=text)
    text = "folder of benchmarks' reports (default: those of this repository)"
    parser.add_argument("--results", type=Path, metavar="FOLDER", help=text)
    number("images", count, 1, "images of a request")
    number("steps", count, None, "of an image (default: the model's)")
    number("rows", rows, None, "forward rows of a step, by guidance: 1 to 3 (default: the model's)")
    number("cache-hits", share, 0.0, "share of requests that an image which is kept answers")
    number("sharing", share, 0.0, "share of the others' forward rows that others walked before")
    number("peak", from_one, 1.0, "how much more comes at the peak than on the average")
    number("utilization", part, 0.7, "share of what it can that a replica is planned to do")
    number("spare", from_zero, 1, "replicas that may fail at the peak")
    number("efficiency", part, 0.9, "share of the bare forwards' rate that an engine reaches")
    number("gpus-per-replica", count, 1, "GPUs of a replica")
    number("max-image-s", positive, None, "seconds that an image may take in full forwards")
    number("weights-gib", positive, None, "memory of the model's weights (default: the model's)")
    number("door-rps", positive, None, "requests/s of a door process (default: as measured)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    text = "try the planned fleet at its peak, with the real scheduler, admission and placement"
    parser.add_argument("--simulate", action="store_true", help=text)
    number("minutes", positive, 10.0, "simulated")
    number("deadline-s", positive, None, "of each image there (default: 3 times a full forward's)")
    number("lose", from_zero, 0, "replicas that die there half-way")


def _number(text: str, kind: type[float] = float) -> float:
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return value


def positive(text: str) -> float:
    if (value := _number(text)) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def share(text: str) -> float:
    if not 0 <= (value := _number(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to below 1")
    return value


def part(text: str) -> float:
    if not 0 < (value := _number(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share above 0, to 1")
    return value


def from_one(text: str) -> float:
    if (value := _number(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is below 1")
    return value


def from_zero(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def count(text: str) -> int:
    if (value := from_zero(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return value


def rows(text: str) -> int:
    if (value := count(text)) > 3:
        raise argparse.ArgumentTypeError(f"{text!r}: guidance takes 1 to 3 rows")
    return value


def step_ms(text: str) -> dict[int, float]:
    """Such as 1:12,16:110."""
    found: dict[int, float] = {}
    for pair in text.split(","):
        num_rows, colon, ms = pair.partition(":")
        if not colon:
            raise argparse.ArgumentTypeError(f"{pair!r} is not ROWS:MS, such as 16:110")
        found[count(num_rows)] = positive(ms)
    return found
