"""Which rows are a run's own."""

import pytest

from server.bulk.shard import Shard


def test_every_row_belongs_to_exactly_one_shard_and_they_are_of_a_size():
    names = [f"row-{number}" for number in range(2000)]
    shards = [Shard(number, 8) for number in range(1, 9)]
    sizes = [sum(map(shard.has, names)) for shard in shards]
    assert sum(sizes) == len(names) and min(sizes) > 190
    assert all(sum(shard.has(name) for shard in shards) == 1 for name in names)
    assert all(map(Shard().has, names))


def test_a_row_s_shard_is_the_same_everywhere_and_always():
    assert [name for name in "abcdefghijkl" if Shard(1, 3).has(name)] == ["c", "f", "i", "k"]


def test_shards_are_told_as_parts_from_one():
    assert Shard.parse("2/8") == Shard(2, 8) and Shard.parse("1/1").is_all
    assert (Shard(2, 8).suffix, Shard().suffix) == ("-2-of-8", "")


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/2", "1/2/3", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ValueError, match=repr(text)):
        Shard.parse(text)
