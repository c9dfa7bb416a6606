"""Nearest neighbours, where anybody can see which they are."""

import numpy as np

from diffusion.evaluation.retrieval import match_centroids, recall_among

CIRCLE = np.linspace(0, np.pi / 2, 6)
GALLERY = np.stack([np.cos(CIRCLE), np.sin(CIRCLE)], axis=1).astype(np.float32)


def test_recall_counts_what_is_among_the_nearest():
    queries = np.array([[1, 0], [7, 0], [0, 2]], np.float32)
    own = np.array([0, 2, 0])
    assert recall_among(queries, GALLERY, own, k=1).tolist() == [True, False, False]
    assert recall_among(queries, GALLERY, own, k=3).tolist() == [True, True, False]
    assert recall_among(queries, GALLERY, own, k=6).all()


def test_what_looks_all_the_same_is_not_found():
    assert not recall_among(np.ones((1, 2), np.float32), np.ones((6, 2), np.float32), np.array([0]))


def test_centroids_are_taken_without_the_vector_itself():
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert match_centroids(GALLERY, labels).all()
    # The first one's own label has its others at the far end.
    assert match_centroids(GALLERY, np.array([0, 1, 1, 1, 0, 0])).tolist()[0] is False


def test_a_label_that_nobody_shares_is_a_miss():
    assert match_centroids(GALLERY[[0, 1, 4]], np.array([0, 0, 1])).tolist() == [True, True, False]
