"""Pages that are written from the code say what the code says, and leave nothing out."""

import json
import re

from deploy.manual import errors, measurements, metrics, settings
from deploy.manual.__main__ import find_stale
from deploy.manual.table import fold, tabulate
from server.configuration import Configuration, is_secret
from server.configuration import settings as list_settings


def test_no_page_is_stale():
    assert find_stale() == [], "run `make manual`"


def test_every_setting_is_there_by_flag_variable_and_limits():
    page = settings.write()
    for slice_name, name, field in list_settings():
        assert f"`--{slice_name}.{name}`<br>`ETALAGE_{slice_name}__{name}`".upper() in page.upper()
        secret = f"`ETALAGE_{slice_name}__{name}_FILE`".upper()
        assert (secret in page) == is_secret(field)
    assert [f"## {name}" for name in Configuration.model_fields] == re.findall("^## .*", page, re.M)
    assert "a whole number from 0 to 65535<br>**50051** |" in page
    assert "**16777216 (16 MiB)**" in page and "**2592000 (30 days)**" in page


def test_every_metric_is_there_with_its_labels_and_the_alerts_that_ask_for_it(told):
    page = metrics.write()
    suffix = r"_(total|info|bucket|sum|count|created)$"
    found = re.findall(r"^\| `(etalage_\w+)`(.*)$", page, re.M)
    rows = {re.sub(suffix, "", name): row for name, row in found}
    for name, labels in told.items():
        if not name.startswith("etalage_"):
            continue
        for label in labels - {"le"}:
            assert f"`{label}`" in rows[re.sub(suffix, "", name)], f"{name} has no {label}"
    assert "histogram, 0.01 to 80" in rows["etalage_request_seconds"]
    assert "`EtalageSampleRatioMismatch`" in rows["etalage_sample_ratio_p_value"]


def test_every_reason_is_told_with_its_code_and_none_that_is_not_there():
    found = errors.find_reasons()
    assert found["OVERLOADED"].name == found["QUOTA_EXCEEDED"].name == "RESOURCE_EXHAUSTED"
    assert found["ENGINE_STOPPED"].name == "UNAVAILABLE", "given with a star, by a constant"
    assert found["MODEL_UNUSABLE"].name == "FAILED_PRECONDITION", "an error of another folder"
    assert set(errors.WHEN) <= set(found), "told, and nowhere raised"
    assert errors.find_event_reasons() == set(errors.OF_EVENTS)
    sections = re.split(r"^## ", errors.write(), flags=re.M)
    for reason, code in found.items():
        section = next(each for each in sections if each.startswith(f"{code.name}\n"))
        assert f"| `{reason}` |" in section


def test_every_claim_is_there_and_what_missed_its_target_comes_first():
    page = measurements.write()
    missed, rest = page.split("\n## ", 2)[1:]
    for path in measurements.RESULTS.glob("*.json"):
        result = json.loads(path.read_text("utf-8"))
        assert result["environment"]["quick"] is False, f"{path}: a run for development"
        for claim in result["claims"]:
            row = f"| {fold(claim['name'])} |"
            assert row in rest
            assert (row in missed) == (claim["holds"] is False)


def test_a_cell_stays_in_its_column():
    assert tabulate(("a", "b"), [("x|y", "two\nlines")]) == (
        "| a | b |\n| --- | --- |\n| x\\|y | two lines |\n"
    )


def test_a_long_name_is_folded_between_its_parts():
    assert fold("short.name") == "`short.name`"
    assert fold("one.two_three_four", 9) == "`one.two_`<br>`three_`<br>`four`"
