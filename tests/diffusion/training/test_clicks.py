"""Moments of shoppers: read as the feature store wrote them, refused if made by other encoders."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffusion.taste import NUM_RECENT, embed_shopper
from diffusion.training.clicks import TrainingSetMismatch, load_moments, read_vectors
from tests.diffusion.training.moments import CREATIVES, PROFILES, VECTORS, write_training_set

WIDTH = 4


def load_all(folder):
    return load_moments(write_training_set(folder, WIDTH), "digest", WIDTH, typical_share=1.0)


def test_a_moment_holds_what_was_known_before_the_click(tmp_path):
    moments = load_all(tmp_path)
    assert len(moments) == 2, "shoppers held out are no part of it"
    assert moments.profile == pytest.approx(PROFILES[:2])
    assert moments.recent.shape == (2, NUM_RECENT, WIDTH)
    assert not moments.recent[1].any() and not moments.weights[1].any(), "null is nothing"


def test_the_look_is_that_of_the_click_that_suits_the_shopper_best(tmp_path):
    moments = load_all(tmp_path)
    assert moments.look.tolist() == [list(CREATIVES[0][1:]), list(CREATIVES[2][1:])]


def test_moments_whose_next_clicks_repeat_nothing_are_left_out(tmp_path):
    file = write_training_set(tmp_path, WIDTH)
    (kept,) = load_moments(file, "digest", WIDTH, typical_share=0.5).look.tolist()
    assert kept == list(CREATIVES[2][1:]), "ben clicked exactly what he always does"


def test_a_shopper_is_embedded_for_a_product_as_a_server_would(tmp_path):
    moments = load_all(tmp_path)
    product = np.eye(WIDTH, dtype=np.float32)[[1, 2]]
    found = moments.embed(np.array([1, 0]), product)
    for row, moment, towards in zip(found, (1, 0), product, strict=True):
        alone = embed_shopper(
            moments.profile[moment], moments.recent[moment], moments.weights[moment], towards
        )
        assert row == pytest.approx(alone, abs=1e-6)


def test_a_training_set_of_other_encoders_is_refused_with_both_named(tmp_path):
    file = write_training_set(tmp_path, WIDTH)
    with pytest.raises(TrainingSetMismatch, match="digest.*another"):
        load_moments(file, "another", WIDTH)
    with pytest.raises(TrainingSetMismatch):
        load_moments(file, "digest", WIDTH + 1)


def test_a_file_that_says_nothing_of_its_encoders_is_refused(tmp_path):
    file = write_training_set(tmp_path, WIDTH)
    pq.write_table(pq.read_table(file).replace_schema_metadata({}), file)
    with pytest.raises(TrainingSetMismatch, match="unknown"):
        load_moments(file, "digest", WIDTH)


def test_vectors_are_rows_and_null_is_zero():
    column = pa.chunked_array([pa.array([[1, 2], None], pa.list_(pa.float32())), [[5, 6]]])
    assert read_vectors(column, 2).tolist() == [[1, 2], [0, 0], [5, 6]]


def test_a_single_minded_shopper_is_the_mean_of_what_has_the_look(tmp_path):
    moments = load_all(tmp_path)
    found = moments.embed_single_minded(np.array([0, 1]))
    for row, vector in zip(
        found, VECTORS[[0, 2]], strict=True
    ):  # each look is one creative's alone
        assert row == pytest.approx(vector / np.linalg.norm(vector), abs=1e-6)


def test_a_moment_is_drawn_as_often_as_it_weighs(tmp_path):
    file = write_training_set(tmp_path, WIDTH, weights=(3.0, 1.0, 2.0))
    moments = load_moments(file, "digest", WIDTH, typical_share=1.0)
    assert moments.shares.tolist() == pytest.approx([0.75, 0.25]), "cara is held out"
