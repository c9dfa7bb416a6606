"""Secret keys, as a file of hexadecimal digits, a key a line, made at the first start."""

from __future__ import annotations

import os
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

NEW_BYTES = 32
LEAST_BYTES = 16


class KeysUnusable(ValueError):
    """Says which file and which line, never what is in it."""


@dataclass(frozen=True, slots=True)
class Keys:
    all: tuple[bytes, ...] = field(repr=False)

    @property
    def signing(self) -> bytes:
        return self.all[0]

    @property
    def lasting(self) -> bytes:
        """The last: what pseudonyms are made with, so that no new key makes strangers of all.
        Without it, nobody can be found in the log any more."""
        return self.all[-1]


def load_keys(path: Path) -> Keys:
    """Makes the file where there is none, for its owner alone. Raises KeysUnusable."""
    try:
        if not path.exists():
            _make(path)
        lines = path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeysUnusable(f"{path}: can't be read or made: {type(error).__name__}") from error
    keys = tuple(_parse(path, n, line) for n, line in enumerate(lines, 1) if line.strip())
    if not keys:
        raise KeysUnusable(f"{path}: has no key")
    return Keys(keys)


def _parse(path: Path, number: int, line: str) -> bytes:
    try:
        key = bytes.fromhex(line)
    except ValueError:
        raise KeysUnusable(f"{path}:{number}: is no hexadecimal number") from None
    if len(key) < LEAST_BYTES:
        raise KeysUnusable(f"{path}:{number}: is shorter than {2 * LEAST_BYTES} digits")
    return key


def _make(path: Path) -> None:
    """Whole or not at all; whoever comes second takes what the first has made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, unnamed = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(NEW_BYTES) + "\n")
            file.flush()
            os.fsync(descriptor)
        os.link(unnamed, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(unnamed)
