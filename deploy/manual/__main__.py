"""Writes the pages of docs/reference: `python -m deploy.manual`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.manual import errors, measurements, metrics, settings

FOLDER = Path("docs/reference")
PAGES: Mapping[str, Callable[[], str]] = {
    "configuration.md": settings.write,
    "metrics.md": metrics.write,
    "errors.md": errors.write,
    "measurements.md": measurements.write,
}


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), "utf-8")
    return 0


def find_stale() -> list[Path]:
    """Pages that do not say what the code says."""
    return [
        FOLDER / name
        for name, write in PAGES.items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text("utf-8") != write()
    ]


if __name__ == "__main__":
    sys.exit(main())
