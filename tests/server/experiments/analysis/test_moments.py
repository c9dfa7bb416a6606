"""Sums over shoppers, and what tea-tasting reads from them."""

import math

import numpy as np
import pandas as pd
import pytest
from tea_tasting.aggr import read_aggregates

from server.experiments.analysis.columns import FINE
from server.experiments.analysis.moments import Moments, pair_up


def sum_up(table: pd.DataFrame) -> Moments:
    names = [str(name) for name in table.columns]
    pairs = pair_up(names)
    whole = {
        name: [round(v * FINE) if name == "value" else int(v) for v in table[name]]
        for name in names
    }
    sums = {name: sum(values) for name, values in whole.items()}
    products = {
        (a, b): sum(x * y for x, y in zip(whole[a], whole[b], strict=True)) for a, b in pairs
    }
    return Moments(len(table), sums, products)


def draw(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    shown = 1 + rng.poisson(5, count)
    return pd.DataFrame(
        {
            "shown": shown,
            "clicks": rng.binomial(shown, 0.2),
            "value": (rng.lognormal(3, 1, count) * (rng.random(count) < 0.3)).round(2),
        }
    )


def test_pairs_are_each_column_with_itself_and_each_other_once():
    assert pair_up(["b", "a", "b"]) == [("a", "a"), ("a", "b"), ("b", "b")]


def test_three_shoppers_by_hand():
    moments = sum_up(pd.DataFrame({"shown": [1, 2, 3], "clicks": [0, 2, 1]}))
    assert moments.mean("shown") == 2 and moments.mean("clicks") == 1
    assert moments.covariance("shown", "shown") == 1
    assert moments.covariance("clicks", "shown") == moments.covariance("shown", "clicks") == 0.5


def test_they_say_what_tea_tasting_reads_from_rows():
    table = draw(500, 1)
    names = [str(name) for name in table.columns]
    others = [(a, b) for a, b in pair_up(names) if a != b]
    theirs = read_aggregates(
        table, None, has_count=True, mean_cols=names, var_cols=names, cov_cols=others
    )
    ours = sum_up(table).aggregate(names)
    assert ours.count_ == theirs.count_
    assert ours.mean_ == pytest.approx(theirs.mean_)
    assert ours.var_ == pytest.approx(theirs.var_)
    assert ours.cov_ == pytest.approx(theirs.cov_)


def test_two_groups_add_up_to_both_together_exactly():
    one, other = draw(40, 2), draw(60, 3)
    assert sum_up(one) + sum_up(other) == sum_up(pd.concat([one, other], ignore_index=True))


def test_large_sums_lose_nothing():
    """In floating point the variance of these two would be 0."""
    prices = [10**12, 10**12 + 1]
    products = {("purchases", "purchases"): sum(price * price for price in prices)}
    moments = Moments(2, {"purchases": sum(prices)}, products)
    assert moments.covariance("purchases", "purchases") == 0.5


def test_of_nobody_there_is_no_mean_and_of_one_no_variance():
    nobody = Moments(0, {"shown": 0}, {("shown", "shown"): 0})
    assert math.isnan(nobody.mean("shown"))
    one = Moments(1, {"shown": 3}, {("shown", "shown"): 9})
    assert one.mean("shown") == 3 and math.isnan(one.covariance("shown", "shown"))
