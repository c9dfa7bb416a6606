"""A YAML file whose fields know their lines, so that it can be refused by them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from diffusion import bounded_yaml
from diffusion.declarations import MOST_TOLD, DeclarationInvalid

Loc = tuple[int | str, ...]
"""The way to a field: ("experiments", 0, "key")."""


class ProgrammeInvalid(DeclarationInvalid):
    """A file that can't be used; says which one, and which line and field, 0 and "" for all of
    it."""

    def __init__(self, path: Path | str, field: str, reason: str, line: int = 0) -> None:
        super().__init__(f"{path}:{line}" if line else path, field, reason)
        self.path, self.line = str(path), line


class Sheet:
    """`content` is not yet validated. An empty file has none."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        loader = yaml.SafeLoader(bounded_yaml.check_length(text))
        try:
            self._node = loader.get_single_node()
            if self._node is not None:
                bounded_yaml.check_growth(self._node)
            self._refuse_repeats(self._node)
            told = loader.construct_document(self._node) if self._node is not None else None
        finally:
            loader.dispose()
        if told is not None and not isinstance(told, dict):
            raise ProgrammeInvalid(path, "", "is no mapping of fields")
        self.content: dict[str, Any] = told or {}

    @classmethod
    def read(cls, path: Path) -> Sheet:
        """Raises ProgrammeInvalid."""
        try:
            return cls(path, path.read_text("utf-8"))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 0
            reason = f"can't be read: {error.problem or error.context}"
            raise ProgrammeInvalid(path, "", reason, line) from error
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
            if isinstance(error, ProgrammeInvalid):
                raise
            raise ProgrammeInvalid(path, "", f"can't be read: {error}") from error

    def refuse(self, loc: Sequence[int | str], reason: str) -> ProgrammeInvalid:
        field = ".".join(map(str, loc))
        return ProgrammeInvalid(self.path, field, reason, self.find_line(loc))

    def refuse_given(self, error: ValidationError) -> ProgrammeInvalid:
        """The first field that is wrong, with what was given."""
        first = error.errors()[0]
        told = f"{first['msg']} (given: {first['input']!r})"
        return self.refuse(first["loc"], told[:MOST_TOLD])

    def find_line(self, loc: Sequence[int | str]) -> int:
        """Of the field, or of what it should be in; from 1."""
        node, line = self._node, 1
        for part in loc:
            if isinstance(node, yaml.MappingNode):
                found = [pair for pair in node.value if pair[0].value == str(part)]
                if not found:
                    break
                line, node = found[-1][0].start_mark.line + 1, found[-1][1]
            elif isinstance(node, yaml.SequenceNode) and part in range(len(node.value)):
                node = node.value[int(part)]
                line = node.start_mark.line + 1
            else:
                break
        return line

    def _refuse_repeats(self, node: yaml.Node | None) -> None:
        """YAML forbids two fields of one name; the loader would take the last."""
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if str(key.value) in seen:
                    line = key.start_mark.line + 1
                    raise ProgrammeInvalid(self.path, str(key.value), "is told twice", line)
                seen.add(str(key.value))
                self._refuse_repeats(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                self._refuse_repeats(value)
