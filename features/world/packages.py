"""The npm packages that the catalogue is made from, pinned by version and checksum."""

import hashlib
import json
from pathlib import Path
from typing import Any

NAMES = "emojibase-data"
FLUENT_3D = "@lobehub/fluent-emoji-3d"
SVG_SETS = {
    "noto": "@iconify-json/noto",
    "fluentflat": "@iconify-json/fluent-emoji-flat",
    "twemoji": "@iconify-json/twemoji",
}


class BuildError(Exception):
    """The packages are not the ones that the catalogue was made from."""


class Packages:
    """Files of the installed packages, each checked against its pinned sha256.

    `pins` is package -> {"version": str, "sha256": {path: hex digest}}; with `is_pinning` the
    digests are collected instead of checked.
    """

    def __init__(self, npm: Path, pins: dict[str, Any], is_pinning: bool = False) -> None:
        self._modules = npm / "node_modules"
        self._pins = pins
        self._is_pinning = is_pinning
        self._digests: dict[str, dict[str, str]] = {}

    def has(self, package: str, path: str) -> bool:
        return (self._modules / package / path).is_file()

    def read(self, package: str, path: str) -> bytes:
        """The file's bytes, or a BuildError where they are not the pinned ones."""
        try:
            data = (self._modules / package / path).read_bytes()
        except FileNotFoundError as missing:
            wanted = f"{package}@{self._pins[package]['version']}"
            raise BuildError(f"{package}/{path} is missing: install {wanted}") from missing
        found = hashlib.sha256(data).hexdigest()
        if not self._is_pinning:
            self._check(package, path, found)
        self._digests.setdefault(package, {})[path] = found
        return data

    def read_json(self, package: str, path: str) -> Any:
        return json.loads(self.read(package, path))

    def digests(self) -> dict[str, dict[str, str]]:
        """package -> path -> sha256 of everything read so far."""
        return {
            package: dict(sorted(files.items())) for package, files in sorted(self._digests.items())
        }

    def _check(self, package: str, path: str, found: str) -> None:
        pin = self._pins[package]
        if (expected := pin["sha256"].get(path)) != found:
            raise BuildError(
                f"{package}/{path} has sha256 {found}, but {expected or 'no such file'} is pinned "
                f"for version {pin['version']}: install exactly that version"
            )
