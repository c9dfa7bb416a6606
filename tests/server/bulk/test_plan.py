"""What a run has to do, and all that is wrong at once."""

from dataclasses import dataclass

import pytest

from server.bulk.journal import Finished, open_journal
from server.bulk.plan import Problems, RequestsInvalid, list_left, make_plan
from server.bulk.record import Failure, Record
from server.bulk.shard import Shard
from server.bulk.store import Store


@dataclass(frozen=True)
class Row:
    name: str
    number: int
    digest: str = "d"
    model: str = ""
    brand_kit: str = ""


def reading(*rows):
    def read(problems):
        for row in rows:
            if isinstance(row, tuple):
                problems.add(*row)
            else:
                yield row

    return read


def finished(tmp_path, **digests):
    store = Store(str(tmp_path))
    journal = open_journal(store)
    failure = Failure("NOT_FOUND", "R", "m")
    journal.append(
        [
            Record(name, 1, digest or "", failure=None if digest else failure)
            for name, digest in digests.items()
        ]
    )
    journal.close()
    return Finished(store)


def test_what_is_left_is_what_is_not_finished_and_of_this_shard(tmp_path):
    rows = [Row(f"r{number}", number) for number in range(1, 41)]
    before = finished(tmp_path, r1="d", r2="d", r3="")
    plan = make_plan(reading(*rows), before, Shard())
    left = [row.name for row in list_left(reading(*rows), before, Shard())]
    assert (plan.num_rows, plan.num_finished, plan.num_left) == (40, 2, 38)
    assert left == [row.name for row in rows[2:]], "what failed is tried again"
    shards = [Shard(number, 3) for number in (1, 2, 3)]
    plans = [make_plan(reading(*rows), before, shard) for shard in shards]
    assert sum(each.num_left for each in plans) == 38
    parts = [row.name for shard in shards for row in list_left(reading(*rows), before, shard)]
    assert sorted(parts) == sorted(left)


def refusal(read, before):
    with pytest.raises(RequestsInvalid) as caught:
        make_plan(read, before, Shard())
    return str(caught.value).splitlines()


def test_all_that_is_wrong_is_told_once_with_its_rows(tmp_path):
    faults = [(number, "stpes", "is no column") for number in range(1, 10)]
    rows = [*faults, (4, "mode", "'keep' is none of them"), (5, "", "is no JSON"), Row("a", 6)]
    assert refusal(reading(*rows), finished(tmp_path)) == [
        "rows 1, 2, 3, 4, 5 and 4 more: stpes: is no column",
        "row 4: mode: 'keep' is none of them",
        "row 5: is no JSON",
    ]


def test_a_thousand_different_faults_are_not_all_told(tmp_path):
    faults = [(number, "steps", f"{number} is too much") for number in range(1000)]
    told = refusal(reading(*faults), finished(tmp_path))
    assert len(told) == 51 and told[-1] == "and 950 faults of further kinds"


def test_names_must_be_unlike_also_a_number_that_stands_for_one(tmp_path):
    rows = Row("a", 1), Row("2", 2), Row("a", 3), Row("2", 4)
    assert refusal(reading(*rows), finished(tmp_path)) == [
        "row 3: request_id: 'a' is that of row 1",
        "row 4: request_id: '2' is that of row 2",
    ]


def test_other_content_under_a_finished_name_is_refused(tmp_path):
    before = finished(tmp_path, a="d", b="other", c="")
    told = refusal(reading(Row("a", 1), Row("b", 2), Row("c", 3)), before)
    assert told == ["row 2: was made already, but of other content"]


def test_a_file_without_the_rows_that_were_made_is_another_file(tmp_path):
    before = finished(tmp_path, a="d", b="d")
    assert refusal(reading(Row("a", 1), Row("c", 2)), before) == [
        "1 of the rows made already are not in this file"
    ]
    longer = make_plan(reading(Row("a", 1), Row("b", 2), Row("c", 3)), before, Shard())
    assert longer.num_left == 1, "a file that grew is fine"


def test_models_and_brand_kits_that_are_not_there_are_named_with_the_first_row(tmp_path):
    rows = [Row("a", 1, model="fast"), Row("b", 2, model="slow"), Row("c", 3, brand_kit="acme")]
    plan = make_plan(reading(*rows), finished(tmp_path), Shard())
    plan.check_names(["fast", "slow"], ["acme"])
    with pytest.raises(RequestsInvalid) as caught:
        plan.check_names(["quality", "fast"], [])
    assert str(caught.value).splitlines() == [
        "row 2: model: 'slow' is not known: quality, fast",
        "row 3: brand_kit: 'acme' is not known: there is none",
    ]


def test_a_file_that_changed_since_it_was_planned_ends_the_run(tmp_path):
    left = list_left(reading(Row("a", 1), (2, "steps", "x")), finished(tmp_path), Shard())
    assert next(left).name == "a"
    with pytest.raises(RequestsInvalid, match="row 2: steps: x"):
        next(left)


def test_problems_without_any_raise_nothing():
    Problems().raise_any()
