"""The embedded world made whole, once, and the shoppers that a demo shows."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.definitions import Lifetimes
from features.ingest import ingest
from features.prepare import STAMP, WorldSize, choose_demo_shoppers, prepare_world
from features.records import Product, Status
from features.schema import TIMESTAMP, USER_PROFILE, VIEWS
from features.simulate import LATENT_TASTES
from features.store import StoreConfig, open_store
from features.vector import FingerprintMismatch, fingerprint
from tests.features.pictures import CATEGORIES, make_shop
from tests.features.stores import DIGEST, LONG_S, WIDTH, SmallEncoders, make_reader, make_store


def prepare(home, shop, encoders=None, **options):
    return prepare_world(
        StoreConfig(home=home),
        encoders or SmallEncoders(),
        catalogue=shop,
        size=WorldSize(num_shoppers=60, num_creatives=40, **options),
        progress=False,
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def home(tmp_path_factory, shop):
    home = tmp_path_factory.mktemp("home")
    assert prepare(home, shop) is True
    return home


def latent(home):
    return {row["user_id"]: row for row in pq.read_table(home / LATENT_TASTES).to_pylist()}


async def test_shoppers_can_be_read_and_are_who_they_were_drawn_to_be(home):
    reader = make_reader(open_store(StoreConfig(home=home)))
    reader.start()
    known = latent(home)
    for user_id, row in known.items():
        shopper = await reader.read_shopper(user_id, timeout_s=LONG_S)
        assert shopper.status is (Status.FOUND if row["num_clicks"] else Status.MISSING)
        assert shopper.consent is row["consent"]
        assert shopper.locale in (("de", "en") if shopper.consent else ("",))
        assert sorted(shopper.interests) == sorted(row["categories"] if shopper.consent else ())
    products = await reader.read_products([f"p{n}" for n in range(6)], timeout_s=LONG_S)
    found = [product for product in products.values() if isinstance(product, Product)]
    assert len(found) == 6 and {product.category for product in found} == set(CATEGORIES)
    await reader.close()


def test_a_tenth_is_cold_and_a_tenth_gives_no_consent(home):
    rows = latent(home).values()
    assert 0 < sum(row["num_clicks"] == 0 for row in rows) <= 15
    assert 0 < sum(not row["consent"] for row in rows) <= 15


def test_hidden_tastes_are_nowhere_in_the_feature_store(home):
    hidden = {"palette", "setting", "treatment"}
    for path in (home / "store").rglob("*.parquet"):
        assert not hidden & set(pq.read_schema(path).names)
    for view in VIEWS:
        assert not hidden & set(view.features)
    row = next(iter(latent(home).values()))
    for data in (path.read_bytes() for path in (home / "store").glob("online.db*")):
        assert b"palette" not in data and row["palette"].encode() not in data


def test_what_a_warehouse_has_is_there_with_times(home):
    clicks = pq.read_table(home / "world" / "clicks.parquet").to_pandas()
    creatives = pq.read_table(home / "world" / "creatives.parquet").to_pandas()
    assert set(clicks.columns) == {"user_id", "creative_id", "action", "position", TIMESTAMP}
    assert set(clicks.creative_id) <= set(creatives.creative_id) and len(creatives) == 40
    assert clicks[TIMESTAMP].max() <= pd.Timestamp.now(tz="UTC")
    assert "p5" not in set(creatives.product_id)


def test_training_can_join_shoppers_and_products_to_a_past_event(home):
    store = open_store(StoreConfig(home=home))
    clicks = pq.read_table(home / "world" / "clicks.parquet").to_pandas()
    creatives = pq.read_table(home / "world" / "creatives.parquet").to_pandas()
    recent = clicks[clicks[TIMESTAMP] > clicks[TIMESTAMP].max() - pd.Timedelta(days=20)]
    asked = recent.merge(creatives[["creative_id", "product_id"]])[
        ["user_id", "product_id", TIMESTAMP]
    ].head(50)
    # Feast drops an event where a view has rows, but none young enough: hence not user_recent.
    wanted = ["user_profile:embedding", "user_profile:locale", "product_features:image_embedding"]
    joined = store.feast.get_historical_features(asked, wanted).to_df()
    assert len(joined) == 50 and joined.image_embedding.notna().all()
    assert joined.locale.notna().all()


def test_a_second_time_is_skipped(home, shop):
    before = (home / STAMP).read_text()
    assert prepare(home, shop) is False
    assert (home / STAMP).read_text() == before


def test_the_same_seed_makes_the_same_shoppers(home, shop, tmp_path):
    prepare(tmp_path, shop)
    assert latent(tmp_path) == latent(home)
    both = []
    for place in (tmp_path, home):
        folder = StoreConfig(home=place).offline_folder(USER_PROFILE)
        rows = pq.read_table(folder).to_pylist()
        both.append(np.array([row["embedding"] or [0.0] * WIDTH for row in rows]))
    assert np.allclose(both[0], both[1], atol=1e-6)


@pytest.mark.parametrize("change", ["seed", "catalogue", "version", "age", "store"])
def test_it_is_made_anew_when_anything_it_depends_on_changes(tmp_path, monkeypatch, change):
    shop = make_shop(tmp_path / "shop")
    home = tmp_path / "home"
    prepare(home, shop)
    options = {}
    if change == "seed":
        options["seed"] = 8
    elif change == "catalogue":
        row = {"product_id": "new", "title": "new", "packshot": "p0.png"}
        with (shop / "products.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
    elif change == "version":
        monkeypatch.setattr("features.prepare.WORLD_VERSION", 999)
    elif change == "age":
        stamp = json.loads((home / STAMP).read_text())
        stamp["prepared_s"] -= Lifetimes().user_profile_s
        (home / STAMP).write_text(json.dumps(stamp))
    else:
        (home / "store" / "registry.db").unlink()
    assert prepare(home, shop, **options) is True
    assert prepare(home, shop, **options) is False


def other_encoders():
    encoders = SmallEncoders()
    encoders.digest = "f" * 16
    return encoders


def test_other_encoders_get_a_world_of_their_own(tmp_path, shop):
    prepare(tmp_path, shop)
    assert prepare(tmp_path, shop, other_encoders()) is True
    assert open_store(StoreConfig(home=tmp_path)).fingerprint() == fingerprint(WIDTH, "f" * 16)


def test_a_store_that_was_not_made_here_is_never_cleared(tmp_path, shop):
    make_store(tmp_path)
    with pytest.raises(FingerprintMismatch):
        prepare(tmp_path, shop, other_encoders())
    assert not (tmp_path / STAMP).exists()
    assert open_store(StoreConfig(home=tmp_path)).fingerprint() == fingerprint(WIDTH, DIGEST)


def test_a_world_with_a_shop_s_own_products_is_not_cleared_either(tmp_path, shop):
    prepare(tmp_path, shop)
    config = StoreConfig(home=tmp_path)
    ingest(shop, config, SmallEncoders(), progress=False)
    with pytest.raises(FingerprintMismatch):
        prepare(tmp_path, shop, other_encoders())
    assert open_store(config).fingerprint() == fingerprint(WIDTH, DIGEST)


def test_an_interrupted_preparation_is_done_again(tmp_path, shop, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("features.prepare.simulate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, shop)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, shop, other_encoders())
    assert prepare(tmp_path, shop) is True and prepare(tmp_path, shop) is False


def test_two_at_once_prepare_it_once(tmp_path, shop):
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: prepare(tmp_path, shop), range(2)))
    assert sorted(made) == [False, True]


def test_demo_shoppers_differ_and_are_what_they_are_called(home):
    chosen = choose_demo_shoppers(home)
    known = latent(home)
    tastes = list(chosen.tastes.values())
    assert len(tastes) == 4
    for axis in ("palette", "setting"):
        assert len({getattr(taste, axis) for taste in tastes}) == 4
    for user_id, taste in chosen.tastes.items():
        assert known[user_id]["consent"] and known[user_id]["num_clicks"] >= 40
        assert str(taste) == ", ".join(
            known[user_id][a] for a in ("palette", "setting", "treatment")
        )
    assert not known[chosen.no_consent]["consent"] and known[chosen.no_consent]["num_clicks"]
    assert known[chosen.cold_start]["num_clicks"] == 0 and known[chosen.cold_start]["consent"]
    assert choose_demo_shoppers(home) == chosen


def test_nothing_is_written_into_the_source_tree(home):
    features = Path(__file__).parents[2] / "features"
    newest = (home / STAMP).stat().st_mtime
    written = [
        path
        for path in features.rglob("*")
        if path.suffix in (".db", ".parquet", ".tmp") or path.name == STAMP
    ]
    assert written == [] and newest > 0
