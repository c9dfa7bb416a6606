"""docs/reference/configuration.md: every setting, by slice."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic.fields import FieldInfo

from deploy.manual.table import BREAK, plain, tabulate
from server.commands.settings import allowed, name_variable, show
from server.configuration import DAY_S, MEBIBYTE, Configuration, Slice, is_secret

PREFACE = """# Configuration

Written by `make manual` from `server/configuration.py`; `python -m server serve --help` says the
same.

A setting comes from a YAML or TOML file (`--config FILE`), from the environment and from a flag,
in rising precedence:

```yaml title="etalage.yaml"
server: {port: 50051}
engine: {max_rows: 512}
```

stands for `--server.port 50051 --engine.max_rows 512`, and for `ETALAGE_SERVER__PORT=50051
ETALAGE_ENGINE__MAX_ROWS=512`. `ETALAGE_HOME` stands for `features.home`. Lists are parted by
commas in flags and in the environment. A wrong value, or a name that is none of these, stops the
start and is told with what is allowed. Other verbs than `serve` take the slices that they need.

A **secret** may hold a password. It is shown in no dump, log or message, and is refused in a flag
if a password is in it, since whoever lists the processes of a machine reads flags; the variable
with `_FILE` names a file that holds the value.
"""


def write() -> str:
    return "\n".join([PREFACE, *_write_slices()])


def _write_slices() -> Iterator[str]:
    for name, field in Configuration.model_fields.items():
        kind = field.annotation
        assert isinstance(kind, type) and issubclass(kind, Slice)
        rows = [_write_row(f"{name}.{key}", each) for key, each in kind.model_fields.items()]
        yield f"## {name}\n\n{kind.__doc__}\n"
        yield tabulate(("flag, environment", "what it is", "allowed, default"), rows)


def _write_row(key: str, field: FieldInfo) -> tuple[str, str, str]:
    variable = name_variable(key)
    names = [f"`--{key}`", f"`{variable}`"]
    if is_secret(field):
        names.append(f"**secret**: `{variable}_FILE`")
    default = f"{plain(show(field.default))}{_explain(field)}"
    limits = f"{plain(allowed(field))}{BREAK}**{default}**"
    return BREAK.join(names), plain(str(field.description)), limits


def _explain(field: FieldInfo) -> str:
    """A large number again, in a unit that can be read."""
    value, extra = field.default, field.json_schema_extra
    unit = extra["unit"] if isinstance(extra, dict) else ""
    if not isinstance(value, int | float) or not value:
        return ""
    if unit == "bytes" and value % MEBIBYTE == 0:
        return f" ({value // MEBIBYTE} MiB)"
    if unit == "seconds" and value % DAY_S == 0:
        return f" ({value / DAY_S:g} days)"
    return ""
