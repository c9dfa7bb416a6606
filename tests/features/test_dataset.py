"""Training pairs from an experiment's log: only fair images, each by its weight."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffusion.looks import AXES
from diffusion.taste import ACTION_WEIGHTS
from diffusion.training.clicks import load_moments
from features.catalogue import CatalogueProduct
from features.dataset import MAX_WEIGHT, NothingToLearn, build_dataset, weigh
from features.offline import to_vectors, write_part
from features.schema import TIMESTAMP, USER_PROFILE
from features.vector import FingerprintMismatch
from tests.features.pictures import save_pictures
from tests.features.stores import DIGEST, WIDTH, SmallEncoders, make_store

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
HOUR = timedelta(hours=1)
LOOK = ["mint", "studio"]
CONSENTS = {"anna": True, "ben": True, "carl": False}


def name_unit(user_id):
    return f"~{user_id}"


def expose(name, user="anna", **changes):
    told = {
        "exposure_id": name,
        TIMESTAMP: NOW,
        "unit": name_unit(user),
        "product_id": "lamp",
        "shows": "generic",
        "arm": "dealt",
        "propensity": 1.0,
        "is_override": False,
        "look": LOOK,
        "seed": 3,
    }
    return told | changes


class Shop:
    """A store with three shoppers, two products, and the events of an experiment."""

    def __init__(self, home):
        self.home = home
        self.store = make_store(home)
        for number, age in enumerate((48 * HOUR, -HOUR)):
            write_part(self.store.config.offline_folder(USER_PROFILE), f"p{number}", know(age))
        save_pictures(home, "lamp.png", "shoe.png")
        self.products = [
            CatalogueProduct(name, {"en": name}, "", "", str(home / f"{name}.png"), False, None)
            for name in ("shoe", "lamp")
        ]

    def learn(self, exposures, outcomes, encoders=None):
        lists = pa.list_(pa.string())
        shown = pa.Table.from_pylist(exposures)
        looks = pa.array([row["look"] for row in exposures], lists)
        shown = shown.set_column(shown.schema.get_field_index("look"), "look", looks)
        events = self.home / "events"
        write_part(events / "exposures", "1", shown)
        told = [{"exposure_id": name, "kind": kind} for name, kind in outcomes]
        write_part(events / "outcomes", "1", pa.Table.from_pylist(told))
        out = self.home / "outcomes.parquet"
        encoders = encoders or SmallEncoders()
        made = build_dataset(
            self.store, encoders, self.products, events, name_unit, out, progress=False
        )
        return made, pq.read_table(out), pq.read_table(out.with_name("creatives.parquet"))


def know(age):
    """Profiles as of so long before the events; later ones are of another mind."""
    vector = np.zeros((len(CONSENTS), WIDTH), np.float32)
    vector[:, 0] = 1 if age > timedelta(0) else -1
    columns = {
        USER_PROFILE.key: list(CONSENTS),
        TIMESTAMP: pa.array([NOW - age] * len(CONSENTS), pa.timestamp("us", "UTC")),
        "embedding": to_vectors(vector),
        "age_band": [""] * 3,
        "gender": [""] * 3,
        "locale": ["en"] * 3,
        "interests": pa.array([[]] * 3, pa.list_(pa.string())),
        "consent": list(CONSENTS.values()),
    }
    return pa.table(columns, schema=USER_PROFILE.arrow)


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


def test_a_pair_is_what_was_known_before_the_image_and_the_look_that_was_liked(shop):
    made, moments, creatives = shop.learn(
        [expose("1"), expose("2", look=["rose", "outdoor"]), expose("3", user="ben")],
        [("2", "click")],
    )
    (row,) = moments.to_pylist()
    assert (row["user_id"], row["clicked"]) == ("anna", ["lamp/rose/outdoor/natural"])
    assert row["profile"][0] == 1  # the profile of later knows the click
    assert row["recent"] is None
    (creative,) = creatives.to_pylist()
    assert (creative["palette"], creative["setting"]) == ("rose", "outdoor")
    assert len(creative["embedding"]) == WIDTH
    assert (made.num_exposures, made.num_liked, made.written.num_moments) == (3, 1, 1)


def test_what_is_written_is_what_training_reads(shop):
    shop.learn([expose("1"), expose("2", propensity=0.25)], [("1", "click"), ("2", "click")])
    moments = load_moments(shop.home / "outcomes.parquet", DIGEST, WIDTH, typical_share=1.0)
    look = [AXES["palette"].index("mint"), AXES["setting"].index("studio")]
    assert moments.look[:, :2].tolist() == [look, look]
    assert sorted(moments.shares.tolist()) == pytest.approx([0.2, 0.8])


@pytest.mark.parametrize(
    "changes",
    [
        {"shows": "personalized"},
        {"shows": "original"},
        {"is_override": True},
        {"unit": ""},
        {"product_id": "gone"},
        {"look": []},
        {"look": ["mint"]},
        {"look": None},
    ],
)
def test_an_image_that_owes_something_to_the_shopper_or_to_nobody_teaches_nothing(shop, changes):
    exposures = [expose("1"), expose("2", **changes)]
    made, moments, _ = shop.learn(exposures, [("1", "click"), ("2", "click")])
    assert made.num_exposures == 1 and len(moments) == 1
    with pytest.raises(NothingToLearn, match="no generic image"):
        shop.learn([expose("2", **changes)], [("2", "click")])


def test_more_is_worth_more_and_what_was_hidden_or_sent_back_nothing(shop):
    kinds = {"1": ["click"], "2": ["cart", "click"], "3": ["purchase"], "4": ["dwell"]}
    kinds |= {"5": ["purchase", "return"], "6": ["click", "hide"]}
    outcomes = [(name, kind) for name, told in kinds.items() for kind in told]
    _, moments, _ = shop.learn([expose(name) for name in kinds], outcomes)
    weights = [ACTION_WEIGHTS[kind] for kind in ("click", "cart", "purchase")]
    assert sorted(row for (row,) in moments["clicked_weights"].to_pylist()) == weights
    assert np.mean(moments["weight"]) == pytest.approx(1)


def test_who_does_not_consent_or_is_unknown_is_left_out(shop):
    users = ("anna", "carl", "stranger")
    outcomes = [(user, "click") for user in users]
    _, moments, _ = shop.learn([expose(user, user=user) for user in users], outcomes)
    assert moments["user_id"].to_pylist() == ["anna"]
    with pytest.raises(NothingToLearn, match="no shopper of the feature store"):
        shop.learn([expose("1", user="stranger")], [("1", "click")])


def test_weights_undo_how_unevenly_arms_were_dealt():
    """Mint is dealt to four in five and rose to the rest; both are liked by one in ten."""
    rng = np.random.default_rng(4)
    is_mint = rng.random(60_000) < 0.8
    is_liked = rng.random(60_000) < 0.1
    propensities = np.where(is_mint, 0.8, 0.2)[is_liked]
    weights = weigh(np.ones(is_liked.sum()), propensities)
    share = weights[is_mint[is_liked]].sum() / weights.sum()
    assert Counter(is_mint[is_liked])[True] / is_liked.sum() > 0.78
    assert share == pytest.approx(0.5, abs=0.02)


def test_a_rare_arm_does_not_drown_the_others():
    weights = weigh(np.ones(1001), np.array([0.5] * 1000 + [1e-6]))
    assert weights[-1] / weights[0] == pytest.approx(MAX_WEIGHT)
    assert len(weigh(np.zeros(0), np.zeros(0))) == 0


def test_without_events_or_with_other_encoders_it_is_refused(shop):
    class Others(SmallEncoders):
        digest = "another"

    with pytest.raises(NothingToLearn, match="there are no events"):
        build_dataset(
            shop.store, SmallEncoders(), [], shop.home / "none", name_unit, shop.home / "o.parquet"
        )
    with pytest.raises(FingerprintMismatch):
        shop.learn([expose("1")], [("1", "click")], Others())
    assert not (shop.home / "outcomes.parquet").exists()
