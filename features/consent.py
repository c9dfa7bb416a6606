"""Consent, given or withdrawn: as the newest row of a profile, online and offline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from features.materialize import keep_offline, to_rows
from features.repository import Repository
from features.schema import TEXTS, TIMESTAMP, USER_PROFILE, VECTOR, View
from features.sources import read_row
from features.store import Store


class PermanentlyErased(RuntimeError):
    """Nothing is taken in of this shopper any more."""


class ConsentElsewhere(RuntimeError):
    """It is a feature of the shop's own repository: whoever writes that one writes it."""


def set_consent(store: Store, user_id: str, is_given: bool) -> datetime:
    """The profile as it is online, with this consent; the time of the new row.

    It is newer than every row there is, so that no materialization undoes it, and a profile too
    old to be used stays without its embedding. Raises PermanentlyErased.
    """
    mark = store.tombstones.find([user_id]).get(user_id)
    if mark is not None and mark.is_permanent:
        raise PermanentlyErased
    time, values = read_online(store, USER_PROFILE, user_id)
    now = datetime.now(UTC)
    lifetime_s = store.config.lifetimes.of(USER_PROFILE)
    if time is not None and 0 < lifetime_s < (now - time).total_seconds():
        values["embedding"] = None
    when = now if time is None else max(now, time + timedelta(seconds=1))
    row = {**values, USER_PROFILE.key: user_id, TIMESTAMP: when, "consent": is_given}
    columns = {name: [row.get(name)] for name in USER_PROFILE.arrow.names}
    table = pa.table(columns, schema=USER_PROFILE.arrow)
    definition = store.view(USER_PROFILE)
    store.online.online_write_batch(
        store.feast.config, definition, list(to_rows(USER_PROFILE, table)), None
    )
    if not store.config.offline_store:
        keep_offline(store, USER_PROFILE, table)
    return when


def read_online(
    store: Store | Repository, view: View, user_id: str
) -> tuple[datetime | None, dict[str, Any]]:
    """When the row is of, and its values as Python's own; None and nothing where there is none."""
    time, values = read_row(store.find_sources()[view.name], user_id)
    kinds = dict(view.columns)
    told = {
        name: _to_python(kinds[name], value)
        for name, value in (values or {}).items()
        if name in kinds
    }
    if time is None or all(value is None for value in told.values()):
        return None, {}
    return time, told


def _to_python(kind: pa.DataType, value: Any) -> Any:
    which = value.WhichOneof("val")
    if which in (None, "null_val"):
        return None
    if kind == VECTOR:
        return list(value.float_list_val.val or value.double_list_val.val)
    return list(value.string_list_val.val) if kind == TEXTS else getattr(value, which)
