"""A server that reads shoppers from a shop's own Feast repository, whose names are all others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from etalage import Client, InvalidArgument
from features.consent import read_online
from features.prepare import choose_demo_shoppers
from features.quiet_feast import FeatureStore
from features.schema import USER_PROFILE
from features.store import StoreConfig, open_store
from features.vector import fingerprint
from server.demo.process import running_server
from tests.features.test_repository import SETTINGS, define
from tests.way.conftest import SERVE, Running

KNOWN, SILENT, NOBODY = "7", "8", "9"


def make_repository(folder: Path, taste: list[float]) -> None:
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(SETTINGS))
    feast = FeatureStore(repo_path=str(folder))
    feast.apply(define())
    now = datetime.now(UTC)
    customers = {"customer_id": [int(KNOWN), int(SILENT)], "at": [now, now]}
    tastes = pd.DataFrame(customers | {"vector": [taste, taste], "score": [1, 2]})
    feast.write_to_online_store("taste", tastes)
    told = {"may_personalize": [True, False], "language": ["de", "de"]}
    feast.write_to_online_store("account", pd.DataFrame(customers | told))


@pytest.fixture(scope="module")
def serving(make_home: Callable[[], Path], tmp_path_factory) -> Iterator[Running]:
    home, folder = make_home(), tmp_path_factory.mktemp("shop")
    encoders = Encoders.load(DEFAULT_CHECKPOINT / "encoders")
    shoppers = choose_demo_shoppers(home)
    store = open_store(StoreConfig(home=home))
    _, profile = read_online(store, USER_PROFILE, next(iter(shoppers.tastes)))
    make_repository(folder / "repo", np.array(profile["embedding"], float).tolist())
    mapping = {
        "repository": "repo",
        "service": "recommender_v3",
        "fingerprint": fingerprint(encoders.width, encoders.digest),
        "shopper": {
            "key": "customer_id",
            "embedding": "taste:vector",
            "consent": "account:may_personalize",
        },
    }
    (folder / "mapping.yaml").write_text(yaml.safe_dump(mapping))
    command = (*SERVE, f"--features.mapping={folder / 'mapping.yaml'}", "--engine.buckets=1,4")
    with running_server(command, home, home / "server.log", lambda: None) as ports:
        yield Running(ports, shoppers, home / "server.log")


def test_an_image_is_for_a_shopper_of_the_repository_until_they_are_erased(serving):
    def ask(user: str = ""):
        return shop.generate("teapot", user=user, strength=0.8, steps=4, seed=3)

    with Client(serving.address, timeout_s=60) as shop:
        generic, personal = ask(), ask(KNOWN)
        assert personal.personalization.reason == "applied"
        assert personal.personalization.feature_service == "recommender_v3"
        assert personal.image.data != generic.image.data
        for user, reason in ((SILENT, "no_consent"), (NOBODY, "unknown_user")):
            result = ask(user)
            assert result.personalization.reason == reason
            assert result.image.data == generic.image.data
        with pytest.raises(InvalidArgument) as caught:
            shop.set_consent(SILENT, True)
        assert caught.value.reason == "CONSENT_ELSEWHERE"
        assert b'"embedding"' in shop.export_user(KNOWN)
        proof = shop.erase(KNOWN)
        assert {each.store: each.num_removed for each in proof.stores}["online_features"] == 4
        assert ask(KNOWN).personalization.reason == "unknown_user"
