"""What is sifted out before it is stored, and files that are whole or not there."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq

from diffusion.taste import NUM_RECENT
from features.offline import sift, to_matrix, to_vectors, write_part
from features.schema import TIMESTAMP, USER_PROFILE, USER_RECENT
from tests.features.stores import WIDTH, profile, recent, table

NOW = datetime.now(UTC)


def row(user_id="anna", when=NOW, **changes):
    return {"user_id": user_id, TIMESTAMP: when} | profile(**changes)


def flaws_of(*rows, view=USER_PROFILE):
    good, flaws = sift(view, table(view, rows), WIDTH)
    assert len(good) + len({flaw.row for flaw in flaws}) == len(rows)
    return [(flaw.row, flaw.column, flaw.description) for flaw in flaws]


def test_good_rows_pass_and_null_vectors_are_good():
    assert flaws_of(row(), row("bert", embedding=None)) == []


def test_a_vector_of_another_width_is_left_out_and_named():
    found = flaws_of(row(), row(embedding=[1.0] * (WIDTH + 1)), row(embedding=[]))
    told = ("embedding", f"is not {WIDTH} numbers wide")
    assert found == [(1, *told), (2, *told)]


def test_last_clicks_are_as_many_vectors_and_as_many_weights_as_are_kept():
    def clicks(**changes):
        return {"user_id": "anna", TIMESTAMP: NOW} | recent(**changes)

    flawed = [
        clicks(),
        clicks(recent_embeddings=[1.0] * WIDTH),
        clicks(recent_weights=[1.0] * WIDTH * 2),
        clicks(recent_weights=[float("nan")] * NUM_RECENT),
    ]
    assert flaws_of(*flawed, view=USER_RECENT) == [
        (1, "recent_embeddings", f"is not {NUM_RECENT * WIDTH} numbers wide"),
        (2, "recent_weights", f"is not {NUM_RECENT} numbers wide"),
        (3, "recent_weights", "holds numbers that are not finite"),
    ]


def test_nan_and_infinity_are_left_out_even_where_all_are_nan():
    one = [1.0] * (WIDTH - 1)
    rows = [
        row(embedding=[float("nan")] * WIDTH),
        row(embedding=[*one, float("inf")]),
        row(embedding=[*one, None]),
    ]
    told = ("embedding", "holds numbers that are not finite")
    assert flaws_of(*rows) == [(0, *told), (1, *told), (2, *told)]


def test_rows_without_key_or_time_or_from_the_future_are_left_out():
    rows = [row(""), row(None), row(when=None), row(when=NOW + timedelta(days=1))]
    assert flaws_of(*rows) == [
        (0, "user_id", "is empty"),
        (1, "user_id", "is empty"),
        (2, TIMESTAMP, "is missing"),
        (3, TIMESTAMP, "lies in the future"),
    ]


def test_an_empty_table_is_fine():
    assert flaws_of() == []


def test_vectors_come_back_as_they_went_and_unknown_ones_as_null():
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    lists = to_vectors(matrix, np.array([True, False, True]))
    assert lists.to_pylist() == [[0, 1, 2, 3], None, [8, 9, 10, 11]]
    assert to_matrix(lists, 4).tolist() == [[0, 1, 2, 3], [0, 0, 0, 0], [8, 9, 10, 11]]


def test_a_part_replaces_the_one_of_its_name_and_leaves_nothing_else(tmp_path):
    write_part(tmp_path, "a", table(USER_PROFILE, [row(), row("bert")]))
    path = write_part(tmp_path, "a", table(USER_PROFILE, [row()]))
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]
    assert pq.read_table(path).num_rows == 1
