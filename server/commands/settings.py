"""Builds the configuration from a file, the environment and flags, in rising precedence.

A key is `slice.name` in a YAML or TOML file and as a flag (`--slice.name`), and
`ETALAGE_SLICE__NAME` in the environment; `ETALAGE_HOME` stands for `features.home`. What may hold a
password comes from files or the environment only, also as `ETALAGE_SLICE__NAME_FILE`, the name of a
file that holds it, and is told to nobody. A wrong value or an unknown key is a ConfigurationError
that names the key, the value and what is allowed.
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

from diffusion import bounded_yaml
from server.configuration import Configuration, is_secret, settings

PREFIX = "ETALAGE_"

# Kubernetes puts these into the environment for a Service that is called etalage-server.
_SERVICE_LINK = re.compile(
    r"_SERVICE_HOST=|_SERVICE_PORT(_\w+)?=|_PORT_\d+_(TCP|UDP|SCTP)\w*=|_PORT=\w+://"
)

WITHHELD = "[withheld]"
_PASSWORD = re.compile(r"(://[^/@:\s'\"]*:)[^/\s'\"]+@")
_SECRET_NAME = re.compile(r"passw|secret|token|api_?key|credential", re.IGNORECASE)
_SECRET_FIELD = re.compile(rf"({_SECRET_NAME.pattern})\w*[\"']?\s*[=:]", re.IGNORECASE)

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
    text = f"{field.description}. Allowed: {allowed(field)}. Default: {show(field.default)}"
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
    _refuse_passwords(flags)
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
        lowest = "".join(f" from {show(bound)}" for bound in _limits(field, "ge"))
        above = "".join(f" above {show(bound)}" for bound in _limits(field, "gt"))
        highest = "".join(f" to {show(bound)}" for bound in _limits(field, "le"))
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


def show(value: object) -> str:
    """A value as one would write it in a flag."""
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
        told = _conceal(key, repr(error["input"]))
        return f"{key} = {told}: unknown key; allowed are {_siblings(key)}"
    why = error["msg"].removeprefix("Value error, ")
    if field := _FIELDS.get(key):
        told = WITHHELD if is_secret(field) else _conceal("", show(error["input"]))
        why = "" if is_secret(field) else f" ({why})"
        return f"{key} = {told}: allowed is {allowed(field)}{why}"
    if error["type"] == "value_error":
        return f"{key}.{why}"
    told = _conceal(key, show(error["input"]))
    return f"{key} = {told}: allowed is a mapping of settings"


def _conceal(key: str, text: str) -> str:
    """What nobody knows may be a secret as well, by its name or by how it looks."""
    if _SECRET_NAME.search(key):
        return WITHHELD
    return _PASSWORD.sub(rf"\1{WITHHELD}@", text)


def _refuse_passwords(flags: Mapping[str, str]) -> None:
    """Who lists the processes of a machine reads what they were told."""
    for key, value in flags.items():
        if _PASSWORD.search(value) or (is_secret(_FIELDS[key]) and _SECRET_FIELD.search(value)):
            raise ConfigurationError(
                f"{key}: has a password, which everybody on this machine could read in a flag; "
                f"set {name_variable(key)}, or {name_variable(key)}_FILE to a file that holds it"
            )


def _siblings(key: str) -> str:
    if "." not in key:
        return ", ".join(Configuration.model_fields)
    slice_name = key.split(".")[0]
    return ", ".join(sibling for sibling in _FIELDS if sibling.startswith(f"{slice_name}."))


def _read_file(path: Path) -> dict[str, Any]:
    readers: dict[str, Callable[[str], Any]] = {
        ".yaml": bounded_yaml.parse,
        ".yml": bounded_yaml.parse,
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
    _merge(values, _read_secret_files())
    return values


def _read_secret_files() -> dict[str, Any]:
    """Of settings that may hold a password: the content of files that the environment names."""
    found: dict[str, str] = {}
    for variable, key in _SECRET_FILES.items():
        if not (file := os.environ.get(variable)):
            continue
        if os.environ.get(name_variable(key)):
            raise ConfigurationError(f"{variable} and {name_variable(key)}: exclude each other")
        try:
            found[key] = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{variable} = {file}: can't be read") from error
    return _nest(found)


class _Environment(EnvSettingsSource):
    """Without variables for whole slices: ETALAGE_SERVER tells clients where the server is."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {
            name: value
            for name, value in super()._load_env_vars().items()
            if "__" in name and name.upper() not in _SECRET_FILES
        }


def _refuse_unknown_variables() -> None:
    known = {name_variable(key) for key in _FIELDS} | _SECRET_FILES.keys()
    slices = tuple(f"{PREFIX}{name.upper()}_" for name in Configuration.model_fields)
    problems = []
    for name, value in sorted(os.environ.items()):
        variable = name.upper()
        ours = variable.startswith(slices) or (variable.startswith(PREFIX) and "__" in variable)
        if ours and variable not in known and not _SERVICE_LINK.search(f"{variable}={value}"):
            example = name_variable("server.port")
            told = _conceal(name, repr(value))
            problems.append(f"{name} = {told}: unknown key; allowed are names like {example}")
    if problems:
        raise ConfigurationError("\n".join(problems))


def name_variable(key: str) -> str:
    """Of the environment, for `slice.name`."""
    return PREFIX + key.replace(".", "__").upper()


_SECRET_FILES = {
    f"{name_variable(key)}_FILE": key for key, field in _FIELDS.items() if is_secret(field)
}


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
