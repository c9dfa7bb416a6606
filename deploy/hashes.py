"""Writes hashes of what constraints.txt pins to hashes.txt: `python -m deploy.hashes [--cuda]`.

In serving.txt are those of what the server itself needs, and none of the tools. They are those of
the files that pip would install here. Another platform, Python or build (one of a shop's own) has
other files: run it there as well, the hashes of a version add up.
`pip install --require-hashes -r deploy/serving.txt` takes none but these.

With `--cuda` the hash of the torch that pip finds is added instead, and what that needs beyond the
pins, NVIDIA's libraries, is written to cuda.txt. Nothing large is fetched: indexes tell hashes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

PINS = Path("constraints.txt")
HASHES = Path(__file__).with_name("hashes.txt")
SERVING = Path(__file__).with_name("serving.txt")
CUDA = Path(__file__).with_name("cuda.txt")
PROJECTS = Path("pyproject.toml"), Path("clients/python/pyproject.toml")
EXTRAS = "otel", "postgres", "redis"
OURS = {"etalage", "etalage-server"}
_LINE = re.compile(r"(?P<pin>[^\s=]+==\S+)|--hash=sha256:(?P<digest>[0-9a-f]{64})")

Known = dict[str, set[str]]
"""Digests by pin."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    text = "take torch, and what it needs, as pip finds them: where that is its build for CUDA"
    parser.add_argument("--cuda", action="store_true", help=text)
    return write_cuda() if parser.parse_args().cuda else write_pins()


def write_cuda() -> int:
    """The line of torch in hashes.txt and serving.txt, and all of cuda.txt."""
    [torch] = (pin for pin in list_pins(PINS.read_text("utf-8")) if pin.startswith("torch=="))
    pinned = read_hashes(HASHES.read_text("utf-8"))
    served = read_hashes(SERVING.read_text("utf-8"))
    beyond: Known = {}
    for pin, digest in collect(report("--constraint", str(PINS), torch)):
        if pin == torch:
            pinned[pin].add(digest)
            served[pin].add(digest)
        elif pin not in served:
            beyond.setdefault(pin, set()).add(digest)
    if not any(pin.startswith("nvidia-") for pin in beyond):
        print(f"hashes: the {torch} that pip finds is not built for CUDA", file=sys.stderr)
        return 1
    for path, known in ((HASHES, pinned), (SERVING, served), (CUDA, beyond)):
        path.write_text(write_hashes(known), "utf-8")
    print(f"hashes: {len(beyond)} pins in {CUDA}, and {torch}")
    return 0


def write_pins() -> int:
    pins = list_pins(PINS.read_text("utf-8"))
    known = read_hashes(HASHES.read_text("utf-8")) if HASHES.exists() else {}
    found = {pin: known.get(pin, set()) for pin in pins}
    told = report("--no-deps", "-r", str(PINS))
    for pin, digest in collect(told):
        if pin in found:
            found[pin].add(digest)
    if missing := [pin for pin in pins if not found[pin]]:
        print(f"hashes: no file for {', '.join(missing)}", file=sys.stderr)
        return 1
    HASHES.write_text(write_hashes(found), "utf-8")
    needed = find_needed(told, list_roots())
    serving = {pin: digests for pin, digests in found.items() if pin.partition("==")[0] in needed}
    SERVING.write_text(write_hashes(serving), "utf-8")
    print(f"hashes: {sum(map(len, found.values()))} files of {len(found)} pins in {HASHES}")
    return 0


def report(*wanted: str) -> Mapping[str, Any]:
    """What pip would install, with nothing that is installed in its way."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    command += ["--report", "-", *wanted]
    told: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True).stdout
    )
    return told


def collect(told: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """A build of a version, such as 2.13.0+cpu, is another file for the pin of that version."""
    for each in told["install"]:
        name, version = each["metadata"]["name"], each["metadata"]["version"]
        digest = each["download_info"]["archive_info"]["hashes"]["sha256"]
        yield f"{normalize(name)}=={version.partition('+')[0]}", digest


def list_roots() -> list[Requirement]:
    """What our own packages ask for: to serve, and to be built."""
    told: list[str] = ["setuptools"]
    for path in PROJECTS:
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        told += project["dependencies"]
        for extra in EXTRAS:
            told += project.get("optional-dependencies", {}).get(extra, ())
    return list(map(Requirement, told))


def find_needed(told: Mapping[str, Any], roots: Iterable[Requirement]) -> set[str]:
    """Names of what these need here, directly or not."""
    asks = {normalize(each["metadata"]["name"]): each["metadata"] for each in told["install"]}
    needed: set[tuple[str, str]] = set()
    waiting = list(roots)
    while waiting:
        wanted = waiting.pop()
        name = normalize(wanted.name)
        for extra in ("", *wanted.extras):
            if name in OURS or (name, extra) in needed:
                continue
            needed.add((name, extra))
            further = map(Requirement, asks.get(name, {}).get("requires_dist", ()))
            waiting += [
                r for r in further if r.marker is None or r.marker.evaluate({"extra": extra})
            ]
    return {name for name, _ in needed}


def list_pins(text: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    told = (line.split("==") for line in lines if line)
    return [f"{normalize(name)}=={version}" for name, version in told]


def read_hashes(text: str) -> Known:
    known: Known = {}
    pin = ""
    for found in _LINE.finditer(text):
        if found["pin"]:
            pin = found["pin"]
        else:
            known.setdefault(pin, set()).add(found["digest"])
    return known


def write_hashes(known: Known) -> str:
    lines = ["# Written by `make hashes`; see deploy/hashes.py."]
    for pin, digests in sorted(known.items()):
        lines.append(
            " \\\n    ".join([pin, *(f"--hash=sha256:{each}" for each in sorted(digests))])
        )
    return "\n".join(lines) + "\n"


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
