"""Opens and applies the feature store: sqlite and parquet under one home, or what a shop has."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from features.definitions import FINGERPRINT_TAG, Lifetimes, define, offline_folder
from features.quiet_feast import FeastObjectNotFoundException, FeatureStore, RepoConfig
from features.schema import SERVICE, USER_PROFILE, VIEWS, View
from features.sources import JoinKey, Source
from features.tombstones import Tombstones
from features.vector import check_fingerprint


def default_home() -> Path:
    """`ETALAGE_HOME`, or `.etalage` in the working directory."""
    return Path(os.environ.get("ETALAGE_HOME") or ".etalage").absolute()


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where features live. `online_store`, `offline_store` and `registry` take Feast's settings, as
    in its `feature_store.yaml`; left empty, all of it is files under `home`. So are the database of
    tombstones, an SQLAlchemy URL, and the keys that they are made with."""

    home: Path = field(default_factory=default_home)
    project: str = "etalage"
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    online_store: Mapping[str, object] = field(default_factory=dict)
    offline_store: Mapping[str, object] = field(default_factory=dict)
    registry: Mapping[str, object] = field(default_factory=dict)
    tombstones: str = ""
    tombstone_keys: Path | None = None

    @property
    def folder(self) -> Path:
        return self.home.absolute() / "store"

    def offline_folder(self, view: View) -> Path:
        return self.folder / offline_folder(view)

    def open_tombstones(self) -> Tombstones:
        home = self.home.absolute()
        database = URL.create("sqlite", database=str(home / "privacy.db"))
        return Tombstones(
            self.tombstones or database, self.tombstone_keys or home / "keys" / "erasures"
        )


class StoreMissing(RuntimeError):
    """Nothing has been applied here yet."""


class Store:
    """An open Feast store. Not shared between a reader and a writer: on sqlite the two would share
    one connection, and the reader would see batches that are not committed yet."""

    def __init__(self, config: StoreConfig) -> None:
        _prepare_folders(config)
        self.config = config
        self.feast = FeatureStore(config=_repo_config(config))
        self.online: Any = self.feast._get_provider().online_store
        self.tombstones = config.open_tombstones()
        if not config.online_store:  # what is replaced leaves no bytes behind
            self.online._get_conn(self.feast.config).execute("PRAGMA secure_delete = ON")

    def fingerprint(self) -> str:
        """As applied; StoreMissing where nothing was."""
        try:
            service = self.feast.get_feature_service(SERVICE, allow_cache=True)
        except FeastObjectNotFoundException as error:
            raise StoreMissing(
                f"no feature service {SERVICE!r} under {self.config.folder}: "
                "run `python -m server ingest` first"
            ) from error
        return str(service.tags.get(FINGERPRINT_TAG, ""))

    @property
    def shopper_key(self) -> JoinKey:
        return JoinKey(USER_PROFILE.key)

    def find_sources(self) -> Mapping[str, tuple[Source, ...]]:
        """Where each view comes from: one of Feast's, of the same name."""
        return {
            view.name: (Source(self, self.view(view), JoinKey(view.key), tuple(view.features)),)
            for view in VIEWS
        }

    def view(self, view: View) -> Any:
        """Its definition in the registry, from the cache."""
        return self.feast.get_feature_view(view.name, allow_registry_cache=True)


def open_store(config: StoreConfig) -> Store:
    """Opens what was applied; StoreMissing where nothing was."""
    store = Store(config)
    store.fingerprint()
    return store


def apply_store(config: StoreConfig, fingerprint: str) -> Store:
    """Registers entities, views and service, and makes their tables; again is harmless.

    Raises FingerprintMismatch where embeddings of other encoders live already.
    """
    store = Store(config)
    try:
        check_fingerprint(store.fingerprint(), fingerprint)
    except StoreMissing:
        pass
    store.feast.apply(define(config.lifetimes, fingerprint))
    return store


def clear_store(config: StoreConfig) -> None:
    """Forgets everything that lives in files under `home`: registry, offline and online rows."""
    shutil.rmtree(config.folder, ignore_errors=True)


def _repo_config(config: StoreConfig) -> Any:
    online: Mapping[str, object] = {"type": "sqlite", "path": str(config.folder / "online.db")}
    registry: Mapping[str, object] = {"path": str(config.folder / "registry.db")}
    repo = RepoConfig(
        project=config.project,
        provider="local",
        online_store=dict(config.online_store or online),
        offline_store=dict(config.offline_store or {"type": "file"}),
        # 0: never reloaded in the middle of a request; the reader refreshes it in the background.
        registry={"cache_ttl_seconds": 0, **(config.registry or registry)},
        entity_key_serialization_version=3,
    )
    repo.repo_path = config.folder
    return repo


def _prepare_folders(config: StoreConfig) -> None:
    for view in VIEWS:
        config.offline_folder(view).mkdir(parents=True, exist_ok=True)
    if not config.online_store:
        # Readers and a writer in another process get along only with a write-ahead log.
        with closing(sqlite3.connect(config.folder / "online.db")) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
