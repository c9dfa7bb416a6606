"""A shopper of a running server withdraws consent, asks what is held, and is forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from etalage import Client, ShopEvent
from features.simulate import LATENT_TASTES


@pytest.fixture(scope="module")
def shopper(running) -> str:
    """One with clicks and consent whom no other test asks for."""
    rows = pq.read_table(running.log.parent / LATENT_TASTES).to_pylist()
    demo = {*running.shoppers.tastes, running.shoppers.no_consent, running.shoppers.cold_start}
    known = [row for row in rows if row["consent"] and row["user_id"] not in demo]
    return str(max(known, key=lambda row: row["num_clicks"])["user_id"])


def ask(client: Client, user: str, **options):
    return client.generate("teapot", user=user, strength=0.8, steps=4, **options)


def find_traces(home: Path, sought: dict[str, bytes]) -> list[str]:
    """Files under home, the databases' logs and the registry among them, that have one of these."""
    found = []
    for path in sorted(path for path in home.rglob("*") if path.is_file()):
        data = path.read_bytes()
        found += [f"{path.name}: {name}" for name, each in sought.items() if each in data]
        if path.suffix == ".parquet":  # whose pages are compressed
            table = pq.read_table(path)
            columns = [table[name] for name in ("user_id", "unit") if name in table.column_names]
            values = {value for column in columns for value in column.unique().to_pylist()}
            found += [
                f"{path.name}: {name}"
                for name in ("id", "unit")
                if sought.get(name, b"").decode() in values
            ]
    return found


def test_a_shopper_is_told_what_is_held_and_then_it_is_gone_to_the_last_byte(
    running, client, shopper
):
    home = running.log.parent
    generic = ask(client, "")
    personal = ask(client, shopper, request_id="mine")
    assert personal.personalization.reason == "applied"
    token = personal.image.exposure_token
    client.record([ShopEvent("render", token), ShopEvent("click", token)])

    client.set_consent(shopper, False)
    withdrawn = ask(client, shopper, request_id="mine")
    assert withdrawn.personalization.reason == "no_consent"
    assert withdrawn.image.data == generic.image.data
    client.set_consent(shopper, True)
    assert ask(client, shopper).personalization.reason == "applied"

    told = json.loads(client.export_user(shopper))
    assert told["consent"] is True and told["user_id"] == shopper
    embedding = np.float32(told["features"]["user_profile"]["online"]["embedding"])
    assert len(told["features"]["user_profile"]["history"]) > 2
    assert [len(told["events"][name]) for name in ("exposures", "outcomes")] == [1, 1]
    sought = {
        "id": shopper.encode(),
        "unit": told["unit"].encode(),
        "embedding": embedding.tobytes()[:32],
    }
    assert len(find_traces(home, sought)) >= 5

    proof = client.erase(shopper)
    assert proof.complete and proof.finished is not None
    counts = {store.store: store.num_removed for store in proof.stores}
    assert counts["online_features"] == 8 and counts["offline_features"] > 10
    assert (counts["exposures"], counts["outcomes"]) == (1, 1)
    assert counts["image_cache"] >= 1 and counts["nearest_tastes"] >= 1 and counts["answers"] == 2
    assert not any(store.error for store in proof.stores)

    del sought["unit"]  # stays in the register of erasures, until which late events are refused
    assert find_traces(home, sought) == []
    forgotten = ask(client, shopper)
    assert forgotten.personalization.reason == "unknown_user"
    assert forgotten.image.data == generic.image.data
    (rejection,) = client.record([ShopEvent("purchase", token)]).rejections
    assert rejection.reason == "SHOPPER_ERASED"
    again = client.erase(shopper)
    assert again.complete and again.tombstone_id == proof.tombstone_id
    assert {each.store for each in again.stores if each.num_removed} == {"answers"}  # the last one
