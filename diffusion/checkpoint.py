"""Where the embedded checkpoint lies, and what identifies one."""

from __future__ import annotations

import hashlib
from pathlib import Path

DEFAULT_CHECKPOINT = Path(__file__).parent / "default"
FAST_CHECKPOINT = Path(__file__).parent / "fast"
"""The student of few steps; it borrows encoders and autoencoder from the default."""

PIECE_BYTES = 4 * 1024 * 1024

EVALUATION = "evaluation.json"
"""What `make evaluate` found of the checkpoint that it lies in."""


class CheckpointUnusable(RuntimeError):
    """The folder is not a checkpoint of this model; says which folder and why."""


def digest_folder(folder: Path) -> str:
    """SHA-256 over names and bytes of every weight and configuration file, first 16 hex digits."""
    sha = hashlib.sha256()
    files = (p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors"))
    for path in sorted(path for path in files if path.name != EVALUATION):
        sha.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:  # weights may be larger than what memory there is beside them
            while piece := file.read(PIECE_BYTES):
                sha.update(piece)
    return sha.hexdigest()[:16]
