"""Files of requests as plain rows."""

import gzip

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from server.bulk.tables import TableUnreadable, read_table
from tests.server.bulk.clouds import CLOUD

ROWS = [
    {"product_id": "chair", "steps": 3, "caption_price": "12.50 EUR"},
    {"product_id": "lamp", "steps": None, "caption_price": None},
]
JSONL = '{"product_id": "chair", "steps": 3}\n\n{"product_id": "lamp"}\n'
CSV = 'product_id,title\nchair,\n\nlamp,"a, b"\n'


def read(path, text=None):
    if text is not None:
        path.write_text(text)
    return list(read_table(str(path)))


def test_parquet_has_types_and_gaps(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "r.parquet", row_group_size=1)
    assert read(tmp_path / "r.parquet") == [(1, ROWS[0]), (2, ROWS[1])]


def test_a_map_in_parquet_is_a_mapping(tmp_path):
    kind = pa.map_(pa.string(), pa.string())
    column = pa.array([[("colour", "red")]], kind)
    pq.write_table(pa.table({"attributes": column}), tmp_path / "r.parquet")
    assert read(tmp_path / "r.parquet") == [(1, {"attributes": {"colour": "red"}})]


def test_rows_of_jsonl_are_numbered_by_their_lines(tmp_path):
    wanted = [(1, {"product_id": "chair", "steps": 3}), (3, {"product_id": "lamp"})]
    assert read(tmp_path / "r.jsonl", JSONL) == wanted


def test_csv_is_text_with_quotes_and_perhaps_a_byte_order_mark(tmp_path):
    wanted = [
        (1, {"product_id": "chair", "title": ""}),
        (2, {"product_id": "lamp", "title": "a, b"}),
    ]
    assert read(tmp_path / "r.csv", CSV) == read(tmp_path / "b.csv", "\ufeff" + CSV) == wanted


def test_packed_files_and_other_stores_are_read_as_well(tmp_path):
    (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress(JSONL.encode()))
    packed = read(tmp_path / "r.jsonl.gz")
    with fsspec.open("memory://requests/r.jsonl", "w") as file:
        file.write(JSONL)
    assert packed == list(read_table("memory://requests/r.jsonl")) and len(packed) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "is no JSON"),
        ("[1]", "is no JSON object"),
        ('{"steps": 1, "steps": 2}', "has 'steps' twice"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_a_line_that_is_no_row_is_named_and_the_others_are_read(tmp_path, line, said):
    assert read(tmp_path / "r.jsonl", f"{line}\n{{}}\n") == [(1, said), (2, {})]


def test_a_csv_row_of_another_length_is_named(tmp_path):
    found = read(tmp_path / "r.csv", "a,b\n1\n1,2\n")
    assert found == [(1, "has 1 fields; the header has 2"), (2, {"a": "1", "b": "2"})]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.xlsx", "", "is none of .parquet, .jsonl, .csv"),
        ("r.csv", "a,a\n1,2\n", "has a column twice"),
        ("r.csv", 'a\n"', "unexpected end of data"),
        ("r.parquet", "PAR1", "r.parquet"),
        ("r.csv.gz", "no gzip", "Not a gzipped file"),
    ],
)
def test_what_is_no_table_is_refused_by_name(tmp_path, name, text, said):
    with pytest.raises(TableUnreadable, match=said) as caught:
        read(tmp_path / name, text)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_a_file_that_is_not_there_and_one_that_is_no_text_are_refused(tmp_path):
    with pytest.raises(TableUnreadable, match="No such file"):
        read(tmp_path / "gone.csv")
    (tmp_path / "r.csv").write_bytes(b"a\n\xff\xfe\n")
    with pytest.raises(TableUnreadable, match="decode"):
        read(tmp_path / "r.csv")


def test_a_column_that_parquet_has_twice_is_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["steps", "steps"])
    pq.write_table(table, tmp_path / "r.parquet")
    with pytest.raises(TableUnreadable, match="has a column twice: steps"):
        read(tmp_path / "r.parquet")


def test_what_the_client_of_a_cloud_raises_is_told_in_a_line():
    with pytest.raises(TableUnreadable, match=f"^{CLOUD}/r.csv: AccessDenied: not yours$"):
        list(read_table(f"{CLOUD}/r.csv"))


@pytest.mark.parametrize("name", ["r.jsonl.gz", "r.csv.gz"])
def test_a_packed_line_that_never_ends_is_not_held(tmp_path, monkeypatch, name):
    """Eight megabytes stand for as many gigabytes."""
    monkeypatch.setattr("server.bulk.tables.MAX_LINE_BYTES", 1024 * 1024)
    with gzip.open(tmp_path / name, "wb", 9) as file:
        for _ in range(8):
            file.write(b" " * 1024 * 1024)
    assert (tmp_path / name).stat().st_size < 20_000
    with pytest.raises(TableUnreadable, match="a line of more than 1,048,576 bytes"):
        read(tmp_path / name)


def test_a_row_group_that_unfolds_into_too_much_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("server.bulk.tables.MAX_PAGE_BYTES", 1024 * 1024)
    table = pa.table({"title": pa.array(["x" * 1000] * 4000)})
    pq.write_table(table, tmp_path / "r.parquet", compression="zstd", use_dictionary=False)
    assert (tmp_path / "r.parquet").stat().st_size < 20_000
    with pytest.raises(TableUnreadable, match="a row group of more than 1,048,576 bytes"):
        read(tmp_path / "r.parquet")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_without_a_bottom_is_no_row(tmp_path, opening):
    assert read(tmp_path / "r.jsonl", opening * 100_000) == [(1, "is no JSON")]
