"""Builds the configuration from a file, the environment and flags, in rising precedence.

A key is `slice.name` in a YAML or TOML file and as a flag (`--slice.name`), and
`ETALAGE_SLICE__NAME` in the environment; `ETALAGE_HOME` stands for `features.home`. A wrong value
or an unknown key is a ConfigurationError that names the key, the value and what is allowed.
"""

from __future__ import annotations

import argparse
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, SettingsError

from server.configuration import Configuration, settings

PREFIX = "ETALAGE_"

# Kubernetes puts these into the environment for a Service that is called etalage-server.
_SERVICE_LINK = re.compile(
    r"_SERVICE_HOST=|_SERVICE_PORT(_\w+)?=|_PORT_\d+_(TCP|UDP|SCTP)\w*=|_PORT=\w+://"
)

_FIELDS = {f"{slice_name}.{name}": field for slice_name, name, field in settings()}


class ConfigurationError(Exception):
    """One line for each wrong key: the key, its value and what is allowed."""


def add_flags(
    parser: argparse.ArgumentParser, slices: Sequence[str] = tuple(Configuration.model_fields)
) -> None:
    """Give the parser `--config` and one flag for each setting of the slices."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML or TOML file of settings")
    for slice_name in slices:
        slice_type = Configuration.model_fields[slice_name].annotation
        group = parser.add_argument_group(slice_name, str(slice_type.__doc__))
        for key, field in _FIELDS.items():
            if key.startswith(f"{slice_name}."):
                group.add_argument(
                    f"--{key}", dest=key, metavar="X", default=argparse.SUPPRESS, help=_help(field)
                )


def _help(field: FieldInfo) -> str:
    text = f"{field.description}. Allowed: {allowed(field)}. Default: {_show(field.default)}"
    return text.replace("%", "%%")


def configuration_from(arguments: argparse.Namespace) -> Configuration:
    """The configuration for parsed arguments. Raises ConfigurationError."""
    flags = {key: value for key, value in vars(arguments).items() if key in _FIELDS}
    return load_configuration(flags, arguments.config)


def load_configuration(flags: Mapping[str, str], file: Path | None = None) -> Configuration:
    """The configuration for a file, the environment and `slice.name` flags.

    Raises ConfigurationError.
    """
    values: dict[str, Any] = {}
    for layer in (_read_file(file) if file else {}, _read_environment(), _nest(flags)):
        _merge(values, layer)
    try:
        return Configuration(**values)
    except ValidationError as error:
        raise ConfigurationError("\n".join(map(_explain, error.errors()))) from error


def allowed(field: FieldInfo) -> str:
    """What a setting may be, e.g. `a whole number from 0 to 65535`."""
    kind = field.annotation
    extra = field.json_schema_extra
    unit = f" of {extra['unit']}" if isinstance(extra, dict) and extra["unit"] else ""
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if patterns := _limits(field, "pattern"):
        return f"text that matches {patterns[0]}"
    if get_origin(kind) is tuple:
        return f"{_allowed_part(get_args(kind)[0], unit)}, parted by commas"
    if get_origin(kind) is dict:
        return "a mapping as in Feast's feature_store.yaml, in a flag as JSON"
    if kind is int or kind is float:
        number = "a whole number" if kind is int else "a number"
        lowest = "".join(f" from {_show(bound)}" for bound in _limits(field, "ge"))
        above = "".join(f" above {_show(bound)}" for bound in _limits(field, "gt"))
        highest = "".join(f" to {_show(bound)}" for bound in _limits(field, "le"))
        return f"{number}{unit}{lowest}{above}{highest}"
    return "true or false" if kind is bool else "text" if kind is str else "a path"


def _allowed_part(kind: Any, unit: str) -> str:
    if kind is int or kind is Path:
        return f"whole numbers{unit}" if kind is int else "paths"
    patterns = [pattern for field in get_args(kind)[1:] for pattern in _limits(field, "pattern")]
    return f"texts that match {patterns[0]}" if patterns else "texts"


def _limits(field: FieldInfo, name: str) -> list[Any]:
    found = (getattr(constraint, name, None) for constraint in field.metadata)
    return [limit for limit in found if limit is not None]


def _show(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if value in ({}, ()):
        return "empty"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _explain(error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"][:2])
    if error["type"] == "extra_forbidden":
        return f"{key} = {error['input']!r}: unknown key; allowed are {_siblings(key)}"
    why = error["msg"].removeprefix("Value error, ")
    if field := _FIELDS.get(key):
        return f"{key} = {_show(error['input'])}: allowed is {allowed(field)} ({why})"
    if error["type"] == "value_error":
        return f"{key}.{why}"
    return f"{key} = {_show(error['input'])}: allowed is a mapping of settings"


def _siblings(key: str) -> str:
    if "." not in key:
        return ", ".join(Configuration.model_fields)
    slice_name = key.split(".")[0]
    return ", ".join(sibling for sibling in _FIELDS if sibling.startswith(f"{slice_name}."))


def _read_file(path: Path) -> dict[str, Any]:
    readers: dict[str, Callable[[str], Any]] = {
        ".yaml": yaml.safe_load,
        ".yml": yaml.safe_load,
        ".toml": tomllib.loads,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigurationError(f"--config = {path}: allowed is a .yaml, .yml or .toml file")
    try:
        content = reader(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"--config = {path}: can't be read: {error}") from error
    if content is not None and not isinstance(content, dict):
        raise ConfigurationError(f"--config = {path}: allowed is a mapping of slices to settings")
    return {name: {} if slice_ is None else slice_ for name, slice_ in (content or {}).items()}


def _read_environment() -> dict[str, Any]:
    home = os.environ.get(f"{PREFIX}HOME")
    values: dict[str, Any] = {"features": {"home": home}} if home else {}
    _refuse_unknown_variables()
    try:
        _merge(values, _Environment(Configuration)())
    except SettingsError as error:
        raise ConfigurationError(f"environment: {error}") from error
    return values


class _Environment(EnvSettingsSource):
    """Without variables for whole slices: ETALAGE_SERVER tells clients where the server is."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name: value for name, value in super()._load_env_vars().items() if "__" in name}


def _refuse_unknown_variables() -> None:
    known = {_variable(key) for key in _FIELDS}
    slices = tuple(f"{PREFIX}{name.upper()}_" for name in Configuration.model_fields)
    problems = []
    for name, value in sorted(os.environ.items()):
        variable = name.upper()
        ours = variable.startswith(slices) or (variable.startswith(PREFIX) and "__" in variable)
        if ours and variable not in known and not _SERVICE_LINK.search(f"{variable}={value}"):
            example = _variable("server.port")
            problems.append(f"{name} = {value!r}: unknown key; allowed are names like {example}")
    if problems:
        raise ConfigurationError("\n".join(problems))


def _variable(key: str) -> str:
    return PREFIX + key.replace(".", "__").upper()


def _nest(flags: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in flags.items():
        slice_name, name = key.split(".")
        values.setdefault(slice_name, {})[name] = value
    return values


def _merge(values: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Let the layer win, slice by slice; what is no mapping is left for validation to refuse."""
    for name, settings_of_slice in layer.items():
        below = values.get(name)
        if isinstance(below, dict) and isinstance(settings_of_slice, dict):
            values[name] = below | settings_of_slice
        else:
            values[name] = settings_of_slice
