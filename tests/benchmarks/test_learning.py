"""What is said of a log before anything is learned from it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.learning import describe_log, tell_share
from features.simulate import LATENT_TASTES


@pytest.fixture
def home(tmp_path):
    tastes = [
        {"user_id": "anna", "palette": "mint", "setting": "studio"},
        {"user_id": "ben", "palette": "rose", "setting": "shelf"},
    ]
    (tmp_path / LATENT_TASTES).parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(tastes), tmp_path / LATENT_TASTES)
    return tmp_path


def test_it_tells_how_often_a_click_was_on_the_shoppers_favourite(home):
    looks = {"a": ("mint", "studio"), "b": ("rose", "studio")}
    creatives = [
        {"creative_id": name, "palette": palette, "setting": setting, "embedding": [0.0]}
        for name, (palette, setting) in looks.items()
    ]
    pq.write_table(pa.Table.from_pylist(creatives), home / "creatives.parquet")
    clicked = [("anna", "a"), ("anna", "b"), ("ben", "b"), ("ben", "b")]
    moments = [{"user_id": user, "clicked": [name]} for user, name in clicked]
    pq.write_table(pa.Table.from_pylist(moments), home / "clicks.parquet")
    told = {each.name: each.value for each in describe_log(home, home / "clicks.parquet")}
    assert told == {
        "learning.clicks": 4,
        "learning.palette_of_clicks": 75,
        "learning.palette_by_chance": 12.5,
        "learning.setting_of_clicks": 50,
        "learning.setting_by_chance": 12.5,
    }


def test_a_share_comes_with_its_interval():
    claim = tell_share("hits", np.array([1.0, 0.0, 0.0, 0.0]))
    assert (claim.value, claim.n) == (25, 4)
    assert claim.spread == pytest.approx((25 - 42.435, 25 + 42.435), abs=0.01)
