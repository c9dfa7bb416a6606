"""A Feast repository as a shop has one: other names, number keys, columns spread over views."""

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import yaml

from features.erasure import erase_online, wipe_remnants
from features.holdings import tell_mapped
from features.mapping import MappingInvalid
from features.quiet_feast import (
    Array,
    Bool,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float32,
    Float64,
    Int64,
    String,
    ValueType,
)
from features.reader import FeatureReader
from features.records import Product, ProductUnknown, Status
from features.repository import Repository
from features.schema import PRODUCT_FEATURES
from features.vector import FingerprintMismatch, fingerprint
from tests.features.stores import (
    DIGEST,
    LONG_S,
    WIDTH,
    make_store,
    product,
    taste_vector,
    write_row,
)
from tests.features.test_mapping import MAPPING, PRODUCT, SHOPPER


def define():
    """As a shop's `feature_repo/definitions.py` would."""
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    article = Entity(name="article", join_keys=["sku"], value_type=ValueType.STRING)

    def make(view, entity, ttl=timedelta(0), **columns):
        return FeatureView(
            name=view,
            entities=[entity],
            ttl=ttl,
            schema=[Field(name=column, dtype=kind) for column, kind in columns.items()],
            source=FileSource(name=view, path=f"{view}.parquet", timestamp_field="at"),
        )

    number, sku, vector = {"customer_id": Int64}, {"sku": String}, Array(Float32)
    month = timedelta(days=30)
    taste = make("taste", customer, month, **number, vector=Array(Float64), score=Int64)
    account = make("account", customer, **number, may_personalize=Bool, language=String)
    pictures = {"image_vector": vector, "title_vector": vector, "main_image": String}
    media = make("media", article, **sku, **pictures)
    item = make("item", article, **sku, name=String)
    recommender = FeatureService(name="recommender_v3", features=[taste, account, media, item])
    search = FeatureService(name="search_v1", features=[media])
    return [customer, article, taste, account, media, item, recommender, search]


SETTINGS = {
    "project": "shop",
    "provider": "local",
    "registry": "registry.db",
    "online_store": {"type": "sqlite", "path": "shop.db"},
    "offline_store": {"type": "file"},
    "entity_key_serialization_version": 3,
}
PRINT = fingerprint(WIDTH, DIGEST)
LONG_AGO = timedelta(days=40)


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop") / "repo"
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(SETTINGS))
    feast = FeatureStore(repo_path=str(folder))
    feast.apply(define())
    now = datetime.now(UTC)
    vector = taste_vector(0).astype(float).tolist()

    def write(view, since=now, **columns):
        rows = pd.DataFrame({name: [value] for name, value in columns.items()} | {"at": [since]})
        feast.write_to_online_store(view, rows)

    for number, may in ((7, True), (8, False), (9, True)):
        since = now - LONG_AGO if number == 9 else now
        write("taste", since, customer_id=number, vector=vector, score=1)
        write("account", customer_id=number, may_personalize=may, language="de-AT")
    write("account", customer_id=11, may_personalize=True, language="fr")
    image = taste_vector(1).tolist()
    write("media", sku="shoe", image_vector=image, title_vector=image, main_image="shoe.png")
    write("item", sku="shoe", name="Schuh „Größe“")
    return folder


@pytest.fixture
def write_mapping(repo):
    def write_mapping(**changes):
        path = repo.parent / "mapping.yaml"
        told = {**MAPPING, "fingerprint": PRINT, "product": {**PRODUCT, "title_locale": "de"}}
        told["shopper"] = {**SHOPPER, "locale": "account:language"}
        path.write_text(yaml.safe_dump({**told, **changes}))
        return path

    return write_mapping


@pytest.fixture
async def open_reader(write_mapping, tmp_path):
    opened = []

    def open_reader(config=None, **changes):
        config = config or make_store(tmp_path / "own").config
        reader = FeatureReader(
            config,
            width=WIDTH,
            encoder_digest=DIGEST,
            repository=Repository(write_mapping(**changes)),
        )
        reader.start()
        opened.append(reader)
        return reader

    yield open_reader
    for reader in opened:
        await reader.close()


async def test_shopper_and_product_are_read_under_other_names(open_reader):
    reader = open_reader()
    assert reader.service == "recommender_v3"
    shopper, products = await reader.read("7", ["shoe", "boot"], timeout_s=LONG_S)
    assert shopper is not None and shopper.status is Status.FOUND and shopper.consent
    assert shopper.locale == "de-AT" and np.allclose(shopper.profile, taste_vector(0))
    shoe = products["shoe"]
    assert isinstance(shoe, Product) and shoe.packshot == "shoe.png"
    assert dict(shoe.titles) == {"de": "Schuh „Größe“"}
    assert np.array_equal(shoe.image_embedding, taste_vector(1))
    assert isinstance(products["boot"], ProductUnknown)


@pytest.mark.parametrize(
    ("user", "status", "consent"),
    [
        ("8", Status.FOUND, False),
        ("9", Status.STALE, True),
        ("11", Status.MISSING, True),
        ("12", Status.MISSING, False),
        ("anna", Status.MISSING, False),
        ("007", Status.MISSING, False),
        (str(2**70), Status.MISSING, False),
    ],
)
async def test_who_can_not_take_part_is_told_why(open_reader, user, status, consent):
    shopper = await open_reader().read_shopper(user, timeout_s=LONG_S)
    assert (shopper.status, shopper.consent) == (status, consent)


async def test_several_are_read_together_and_an_impossible_id_takes_no_other_with_it(open_reader):
    reader = open_reader()
    asked = [reader.read_shopper(user, timeout_s=LONG_S) for user in ("7", "anna", "8")]
    told = await asyncio.gather(*asked)
    assert [each.status for each in told] == [Status.FOUND, Status.MISSING, Status.FOUND]


async def test_products_may_be_those_that_were_ingested_here(open_reader, tmp_path):
    store = make_store(tmp_path / "own")
    write_row(store, PRODUCT_FEATURES, "hat", **product())
    reader = open_reader(store.config, product=None)
    shopper, products = await reader.read("7", ["hat", "shoe"], timeout_s=LONG_S)
    assert shopper is not None and shopper.status is Status.FOUND
    assert isinstance(products["hat"], Product) and isinstance(products["shoe"], ProductUnknown)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"shopper": {**SHOPPER, "embedding": "taste:vektor"}},
            r"shopper.embedding: taste:vektor is not there; there are account:language, "
            r"account:may_personalize, item:name, media:image_vector, media:main_image, "
            r"media:title_vector, taste:score, taste:vector",
        ),
        (
            {"service": "recommender_v4"},
            "service: recommender_v4 is not there; there are recommender_v3, search_v1",
        ),
        (
            {"shopper": {**SHOPPER, "consent": "account:language"}},
            "shopper.consent: account:language is String, not Bool",
        ),
        (
            {"shopper": {**SHOPPER, "embedding": "taste:score"}},
            r"shopper.embedding: taste:score is Int64, not Array\(Float32\) or Array\(Float64\)",
        ),
        (
            {"shopper": {**SHOPPER, "key": "user_id"}},
            "shopper.key: view taste has customer_id: a row has to be of one 'user_id'",
        ),
        ({"repository": "nowhere"}, "repository: can't be opened: "),
        ({"fingerprint": ""}, "fingerprint: is missing, and the feature service has no tag"),
    ],
)
def test_what_the_repository_does_not_have_is_refused_with_what_it_has(
    write_mapping, changes, told
):
    with pytest.raises(MappingInvalid, match=told):
        Repository(write_mapping(**changes))


def test_embeddings_of_other_encoders_are_not_trusted(open_reader):
    with pytest.raises(FingerprintMismatch):
        open_reader(fingerprint="0" * 16)


def test_what_is_held_is_told_and_erased_by_their_key(write_mapping):
    repository = Repository(write_mapping())
    told = tell_mapped(repository, "8")
    assert told["consent"] is False
    assert told["user_profile"]["online"]["embedding"] == pytest.approx(taste_vector(0).tolist())
    erased = erase_online(repository, "8")
    assert erased.num_rows == 4, "two of taste, two of account"
    wipe_remnants(repository, "8", erased.traces)
    assert tell_mapped(repository, "8")["user_profile"]["online"] is None
    assert tell_mapped(repository, "7")["consent"] is True
    assert erase_online(repository, "anna").num_rows == 0
