"""YAML files that people write: read as a mapping, and refused by file and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ValidationError

from diffusion import bounded_yaml

MOST_TOLD = 400
"""Letters of what is wrong with a field and what was given."""


class DeclarationInvalid(ValueError):
    """A file that can't be used; says which one and which field, "" for the whole of it."""

    def __init__(self, path: Path | str, field: str, reason: str) -> None:
        super().__init__(f"{path}: {field}: {reason}" if field else f"{path}: {reason}")
        self.path, self.field, self.reason = str(path), field, reason

    @classmethod
    def given(cls, path: Path, error: ValidationError) -> Self:
        """The first field that is wrong, with what was given."""
        field, reason = find_fault(error)
        told = f"{reason} (given: {error.errors()[0]['input']!r})"
        return cls(path, field, told[:MOST_TOLD])

    @classmethod
    def read(cls, path: Path) -> dict[str, Any]:
        """What a file holds, not yet validated. Raises the class that it is called on."""
        try:
            told = bounded_yaml.parse(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise cls(path, "", f"can't be read: {error}") from error
        if not isinstance(told, dict):
            raise cls(path, "", "is no mapping of fields")
        return told


def find_fault(error: ValidationError) -> tuple[str, str]:
    """The first field that is wrong, such as "colours.ink", and why."""
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]), first["msg"]
