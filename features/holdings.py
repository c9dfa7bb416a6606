"""All that the feature store holds of a shopper, for them to read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow.dataset as ds

from features.consent import read_online
from features.repository import Repository
from features.schema import TIMESTAMP, USER_PROFILE, USER_RECENT, View
from features.store import Store

_VIEWS = (USER_PROFILE, USER_RECENT)


def tell_shopper(store: Store, user_id: str, now: datetime | None = None) -> dict[str, Any]:
    """By view the online row with its age in seconds, and the rows of the files under home; and
    whether they consent, None where nobody asked them. Times are ISO 8601."""
    now = now or datetime.now(UTC)
    told: dict[str, Any] = {}
    consent = None
    for view in _VIEWS:
        time, values = read_online(store, view, user_id)
        row = None if time is None else _tell_row(time, values, now)
        told[view.name] = {"online": row, "history": list_history(store, view, user_id)}
        consent = values.get("consent", consent)
    return {"consent": consent, **told}


def tell_mapped(
    repository: Repository, user_id: str, now: datetime | None = None
) -> dict[str, Any]:
    """The same of what a shop's own repository has online; its files are the shop's."""
    now = now or datetime.now(UTC)
    time, values = read_online(repository, USER_PROFILE, user_id)
    row = None if time is None else _tell_row(time, values, now)
    told = {"online": row, "repository": str(repository.mapping.repository)}
    return {"consent": values.get("consent"), USER_PROFILE.name: told}


def _tell_row(time: datetime, values: dict[str, Any], now: datetime) -> dict[str, Any]:
    age_s = max((now - time).total_seconds(), 0.0)
    return {TIMESTAMP: time.isoformat(), "age_s": age_s, **values}


def list_history(store: Store, view: View, user_id: str) -> list[dict[str, Any]]:
    """Rows of the files under home, the oldest first; another offline store is its owner's."""
    folder = store.config.offline_folder(view)
    if store.config.offline_store or not any(folder.glob("*.parquet")):
        return []
    rows = ds.dataset(folder, format="parquet", schema=view.arrow).to_table(
        filter=ds.field(view.key) == user_id
    )
    ordered = rows.sort_by(TIMESTAMP).drop_columns([view.key]).to_pylist()
    return [{**row, TIMESTAMP: row[TIMESTAMP].isoformat()} for row in ordered]
