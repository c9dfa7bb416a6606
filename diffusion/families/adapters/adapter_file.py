"""A shopper's adapter as a file: where it lies, what it holds, what identifies it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.folder import check_safetensors, find_folder
from diffusion.families.specification import AdapterShopper, ModelSpecification

Shapes = Mapping[str, tuple[int, ...]]


def locate_adapter(told: AdapterShopper, specification: ModelSpecification) -> Path:
    """Where the specification says that it is; raises CheckpointUnusable for what is no source."""
    folder = find_folder(specification.find(told.source), told.revision, "shopper.source")
    return folder / told.subfolder / told.weights


def check_adapter(path: Path) -> Path:
    """The file, if it is whole and in safetensors; raises CheckpointUnusable."""
    try:
        check_safetensors(path)
    except CheckpointUnusable as error:
        raise CheckpointUnusable(f"shopper.weights: {error}") from error
    return path


def read_shapes(path: Path) -> Shapes:
    """Of its tensors, by their names."""
    with safe_open(path, framework="pt") as opened:
        return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}


def digest_file(path: Path) -> str:
    """SHA-256 of its bytes, first 16 hex digits."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
