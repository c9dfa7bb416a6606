"""Looks up what constraints.txt pins among known vulnerabilities: `python -m deploy.audit`.

Fails on each that is not accepted, with a reason, in accepted_vulnerabilities.yaml; says that it
looked at nothing where the service can't be asked, which must not stop anybody's work.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

PINS = Path("constraints.txt")
ACCEPTED = Path(__file__).with_name("accepted_vulnerabilities.yaml")
KNOWN_BAD = "pyyaml==5.3"
"""Whoever finds nothing wrong with it was not reached, or knows nothing."""

Accepted = Mapping[str, str]


def main() -> int:
    if not list(judge(ask(KNOWN_BAD), {})):
        print("audit: skipped, the service of known vulnerabilities can't be asked from here")
        return 0
    accepted: Accepted = yaml.safe_load(ACCEPTED.read_text("utf-8")) or {}
    faults = list(judge(ask(PINS.read_text("utf-8")), accepted))
    for fault in faults:
        print(f"audit: {fault}", file=sys.stderr)
    return 1 if faults else 0


def ask(pins: str, timeout_s: float = 600) -> dict[str, Any]:
    """What pip-audit reports of these pins; nothing where it could not."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(pins)
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name]
        command += ["--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=timeout_s)
            report: dict[str, Any] = json.loads(done.stdout)
        except (ValueError, subprocess.TimeoutExpired):
            return {}
    return report


def judge(report: Mapping[str, Any], accepted: Accepted) -> Iterator[str]:
    """A line for each vulnerability that nobody has accepted."""
    for each in report.get("dependencies", ()):
        for found in each.get("vulns", ()):
            names = {found["id"], *found.get("aliases", ())}
            if not any(accepted.get(name) for name in names):
                mended = ", ".join(found.get("fix_versions", ())) or "no version"
                yield f"{each['name']} {each['version']}: {found['id']}, mended in {mended}"


if __name__ == "__main__":
    sys.exit(main())
