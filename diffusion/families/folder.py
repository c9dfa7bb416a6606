"""A model's folder in the published layout: is it what the specification says, and is it whole?

Only safetensors are opened: a pickle runs whatever code it was made with.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from diffusion.checkpoint import CheckpointUnusable, digest_folder

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5", ".onnx")
PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
WEIGHTLESS = ("Scheduler", "Tokenizer", "Processor", "FeatureExtractor")
"""Endings of classes of which there are settings only."""


def find_folder(source: str, revision: str | None, field: str = "source") -> Path:
    """The folder as it stands, or a hub's repository, fetched or found where it was fetched before.

    Raises CheckpointUnusable.
    """
    if (path := Path(source)).is_dir():
        return path
    if path.is_absolute() or source.count("/") != 1:
        raise CheckpointUnusable(f"{field}: {source} is no folder and no name on a hub")
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=PATTERNS))
    except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise CheckpointUnusable(
            f"{field}: {source} is no folder, and the hub does not give it: {error}"
        ) from error


def read_index(folder: Path) -> dict[str, Any]:
    """model_index.json; raises CheckpointUnusable."""
    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointUnusable(f"{path} can't be read: {error}") from error
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise CheckpointUnusable(f"{path}: _class_name is missing")
    return index


def check_folder(folder: Path, pipelines: tuple[str, ...], family: str) -> str:
    """The digest of a folder that holds one of these pipelines, whole and in safetensors.

    Raises CheckpointUnusable, with the file that is wrong.
    """
    index = read_index(folder)
    if index["_class_name"] not in pipelines:
        raise CheckpointUnusable(
            f"{folder / 'model_index.json'}: _class_name is {index['_class_name']}, but family "
            f"{family} takes {', '.join(pipelines)}"
        )
    for part, told in index.items():
        if part.startswith("_") or not isinstance(told, list) or None in told:
            continue
        if part not in ("safety_checker", "feature_extractor"):
            _check_part(folder / part, str(told[1]))
    return digest_folder(folder)


def _check_part(folder: Path, kind: str) -> None:
    if not folder.is_dir():
        raise CheckpointUnusable(f"{folder} is missing: model_index.json names a {kind} there")
    if any(ending in kind for ending in WEIGHTLESS):
        return
    config = folder / "config.json"
    if not config.is_file():
        raise CheckpointUnusable(f"{config} is missing")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix in PICKLES]
        if pickles:
            raise CheckpointUnusable(
                f"{folder / pickles[0]} is a pickle, and is not opened: save it as safetensors"
            )
        raise CheckpointUnusable(f"{folder} holds no .safetensors")
    _check_shards(folder)
    for path in weights:
        check_safetensors(path)


def _check_shards(folder: Path) -> None:
    for index in folder.glob("*.safetensors.index.json"):
        try:
            named = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise CheckpointUnusable(f"{index} can't be read: {error}") from error
        for name in sorted(named):
            if not (folder / name).is_file():
                raise CheckpointUnusable(f"{folder / name} is missing: {index.name} names it")


def check_safetensors(path: Path) -> list[str]:
    """The names of its tensors; raises CheckpointUnusable on what is no whole safetensors file."""
    if path.suffix in PICKLES:
        raise CheckpointUnusable(f"{path} is a pickle, and is not opened: save it as safetensors")
    try:
        with safe_open(path, framework="pt") as opened:
            return list(opened.keys())
    except (OSError, SafetensorError) as error:
        raise CheckpointUnusable(f"{path} can't be read as safetensors: {error}") from error
