"""The embedded world, ready to be asked: applied, ingested, simulated, materialized. Once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from diffusion.palettes import channels
from diffusion.scenes import PALETTES
from features.catalogue import Catalogue
from features.ingest import ingest
from features.schema import PRODUCT_FEATURES
from features.shoppers import DAY_S, HISTORY_S
from features.simulate import LATENT_TASTES, WORLD, simulate
from features.store import StoreConfig, StoreMissing, apply_store, clear_store, open_store
from features.vector import ImageTextEncoders, fingerprint

WORLD_VERSION = 3  # of what this package makes out of the same catalogue and encoders
STAMP = "world.json"
PART = "world"
FRESH_SHARE = 0.5  # of the profiles' lifetime: after that the same shoppers are simulated anew
MIN_DEMO_CLICKS = 40


@dataclass(frozen=True, slots=True)
class Taste:
    """What a simulated shopper likes, for telling about them; no part of the feature store."""

    palette: str
    setting: str
    treatment: str

    def __str__(self) -> str:
        return f"{self.palette}, {self.setting}, {self.treatment}"


@dataclass(frozen=True, slots=True)
class DemoShoppers:
    """Shoppers to show: with different tastes, without consent, without a history."""

    tastes: dict[str, Taste]
    """By user id, in order."""
    no_consent: str
    cold_start: str


@dataclass(frozen=True, slots=True)
class WorldSize:
    """How much is simulated, and from which seed."""

    num_shoppers: int = 500
    num_creatives: int = 512
    seed: int = 7


WORLD_SIZE = WorldSize()


def prepare_world(
    config: StoreConfig,
    encoders: ImageTextEncoders,
    *,
    size: WorldSize = WORLD_SIZE,
    catalogue: Path = WORLD,
    progress: bool = True,
) -> bool:
    """Makes the store under `config.home` hold the embedded world; False if it does already.

    A world of other encoders is cleared away first: its embeddings mean nothing to these. A store
    that was not made here, or has a shop's products too, is never cleared: FingerprintMismatch.
    """
    printed = fingerprint(encoders.width, encoders.digest)
    stamp = {
        "fingerprint": printed,
        "catalogue": _digest(catalogue),
        "version": WORLD_VERSION,
        **asdict(size),
    }
    file = config.home / STAMP
    with _alone(config.home):
        before = _read_stamp(file)
        if _is_fresh(before, stamp, config):
            return False
        is_of_others = before.get("fingerprint") != printed
        if before and is_of_others and _holds_nothing_else(config):
            clear_store(config)
        apply_store(config, printed)
        _write_stamp(file, stamp, prepared_s=0.0)  # ours, but not done yet
        _make_world(config, encoders, size, Catalogue(catalogue), progress)
        _write_stamp(file, stamp, prepared_s=time.time())
        return True


def _make_world(
    config: StoreConfig,
    encoders: ImageTextEncoders,
    size: WorldSize,
    catalogue: Catalogue,
    progress: bool,
) -> None:
    # The shop had its products before anyone clicked on them: training joins them to the clicks.
    opened = datetime.now(UTC) - timedelta(seconds=HISTORY_S + DAY_S)
    ingest(catalogue, config, encoders, progress=progress, name=PART, known_since=opened)
    store = open_store(config)
    simulate(store, catalogue.products, encoders, **asdict(size), progress=progress)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Servers that start together on one home prepare it one after the other: once, that is."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "world.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # ends with the file, or with the process
        yield


def choose_demo_shoppers(home: Path, num_tastes: int = 4) -> DemoShoppers:
    """Picks them from the simulated shoppers; FileNotFoundError where nothing was simulated."""
    rows = pq.read_table(home / LATENT_TASTES).to_pylist()
    told = [row for row in rows if row["consent"]]
    known = [row for row in told if row["num_clicks"] >= MIN_DEMO_CLICKS] or told
    chosen = [max(known, key=lambda row: row["num_clicks"])]
    while len(chosen) < min(num_tastes, len(known)):
        chosen.append(max(known, key=lambda row: min(_differ(row, other) for other in chosen)))
    silent = [row for row in rows if not row["consent"]]
    cold = [row for row in told if not row["num_clicks"]]
    return DemoShoppers(
        tastes={row["user_id"]: _to_taste(row) for row in chosen},
        no_consent=max(silent, key=lambda row: row["num_clicks"])["user_id"],
        cold_start=cold[0]["user_id"],
    )


def _to_taste(row: Mapping[str, Any]) -> Taste:
    return Taste(row["palette"], row["setting"], row["treatment"])


def _differ(row: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """How different two tastes look: colours by their distance, the rest by being another."""
    here, there = (channels(PALETTES[r["palette"]].main) for r in (row, other))
    others = [bool(row[axis] != other[axis]) for axis in ("setting", "treatment")]
    return math.dist(here, there) / 255 + sum(others)


def _is_fresh(before: Mapping[str, Any], stamp: Mapping[str, Any], config: StoreConfig) -> bool:
    if any(before.get(name) != value for name, value in stamp.items()):
        return False
    lifetime_s = config.lifetimes.user_profile_s or float("inf")
    if time.time() - before.get("prepared_s", 0.0) > FRESH_SHARE * lifetime_s:
        return False
    try:
        return open_store(config).fingerprint() == str(stamp["fingerprint"])
    except StoreMissing:
        return False


def _holds_nothing_else(config: StoreConfig) -> bool:
    parts = config.offline_folder(PRODUCT_FEATURES).glob("*.parquet")
    return all(part.name.startswith(f"{PART}-") for part in parts)


def _write_stamp(file: Path, stamp: Mapping[str, Any], prepared_s: float) -> None:
    file.write_text(json.dumps({**stamp, "prepared_s": prepared_s}, indent=2) + "\n", "utf-8")


def _read_stamp(file: Path) -> Mapping[str, Any]:
    try:
        before = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return before if isinstance(before, dict) else {}


def _digest(catalogue: Path) -> str:
    """Of where it lies, its rows, and names and sizes of its pictures: products refer to these."""
    sha = hashlib.sha256(str(catalogue.absolute()).encode())
    for path in sorted(path for path in catalogue.rglob("*") if path.is_file()):
        sha.update(f"{path.relative_to(catalogue)} {path.stat().st_size}".encode())
        if path.suffix in (".jsonl", ".parquet", ".csv", ".json"):
            sha.update(path.read_bytes())
    return sha.hexdigest()[:16]
