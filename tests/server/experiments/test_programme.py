"""A server's experiments: read, and refused by file, line and field."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from diffusion.looks import AXES
from server.core import Arm, Mode
from server.experiments.definition import (
    BanditSettings,
    Changes,
    Experiment,
    ExperimentArm,
    Holdout,
    Namespace,
    Targeting,
)
from server.experiments.programme import Programme, load_programme
from server.experiments.sheet import ProgrammeInvalid

WHOLE = """\
holdout: {share: 0.02, shows: original}
experiments:
  - key: autumn-faces
    arms:
      - {name: original, weight: 0.2}
      - name: bold
        weight: 0.3
        shows: personalized
        strength: 0.8
      - {name: quick, weight: 0.5, shows: generic, model: fast, steps: 4, mode: restyle, palette: mint}
    targeting: {locales: [pt, zh-Hant], interests: [food], shopper: known}
    namespace: {name: faces, range: [0, 0.5]}
    start: 2026-11-01
    end: 2026-12-01T12:00:00+01:00
    coverage: 0.5
    version: 2
    control: bold
    bandit: {reward: purchase, explore: 0.2, refresh_s: 60}
  - key: second
    namespace: {name: faces, range: [0.5, 1]}
"""  # noqa: E501


@pytest.fixture
def write(tmp_path):
    def write(text, name="experiments.yaml"):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write


def refuse(path):
    with pytest.raises(ProgrammeInvalid) as caught:
        load_programme(path)
    return caught.value


def test_a_whole_file_becomes_frozen_nouns(write):
    programme = load_programme(write(WHOLE))
    first, second = programme.experiments
    assert first == Experiment(
        key="autumn-faces",
        arms=(
            ExperimentArm("original", 0.2, Changes(Arm.ORIGINAL)),
            ExperimentArm("bold", 0.3, Changes(Arm.PERSONALIZED, strength=0.8)),
            ExperimentArm(
                "quick", 0.5, Changes(Arm.GENERIC, "fast", Mode.RESTYLE, None, 4, "mint")
            ),
        ),
        targeting=Targeting(("pt", "zh-Hant"), ("food",), True),
        namespace=Namespace("faces", 0.0, 0.5),
        start=datetime(2026, 11, 1, tzinfo=UTC),
        end=datetime(2026, 12, 1, 11, tzinfo=UTC),
        coverage=0.5,
        version=2,
        bandit=BanditSettings("purchase", 0.2, 60.0),
        control="bold",
    )
    assert programme.find("second") is second and programme.find("third") is None
    assert programme.holdout == Holdout(0.02, Arm.ORIGINAL)


def test_what_is_left_out_is_the_three_arms_of_equal_weight_for_everybody(write):
    (experiment,) = load_programme(write("experiments: [{key: plain}]")).experiments
    assert experiment == Experiment(
        "plain", tuple(ExperimentArm(arm.value, 1 / 3, Changes(arm)) for arm in Arm)
    )
    assert experiment.control == "" and not experiment.targeting.needs_features


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "experiments:\n", "experiments: []", "{}"])
def test_an_empty_file_has_no_experiments(write, text):
    assert load_programme(write(text)) == Programme() == load_programme(None)


def test_a_folder_is_read_in_the_order_of_its_files(write, tmp_path):
    assert load_programme(tmp_path) == Programme()
    write("experiments: [{key: b}, {key: a}]", "2.yaml")
    write("holdout: 0.1\nexperiments: [{key: c}]", "1.yaml")
    write("not read", "3.txt")
    programme = load_programme(tmp_path)
    assert [each.key for each in programme.experiments] == ["c", "b", "a"]
    assert programme.holdout == Holdout(0.1, Arm.GENERIC)


@pytest.mark.parametrize(
    "start",
    ["2026-11-01 10:00:00", "2026-11-01T10:00:00Z", '"2026-11-01T12:00+02:00"', "2026-11-01 10:00"],
)
def test_times_are_utc_unless_they_say_otherwise(write, start):
    (experiment,) = load_programme(write(f"experiments: [{{key: a, start: {start}}}]")).experiments
    assert experiment.start == datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert experiment.start.utcoffset() == timedelta(0)
    paris = timezone(timedelta(hours=1))
    assert not experiment.is_running(datetime(2026, 11, 1, 10, 59, tzinfo=paris))
    assert experiment.is_running(datetime(2026, 11, 1, 11, tzinfo=paris))


BOLD = "        shows: personalized\n        strength: 0.8\n"


@pytest.mark.parametrize(
    ("change", "line", "field", "reason"),
    [
        # weights and arms
        (("weight: 0.3", "weight: 0.4"), 4, "experiments.0.arms", r"sum to 1.1; must be 1"),
        (("weight: 0.3", "weight: 0.29999"), 4, "experiments.0.arms", r"sum to 0.99999;"),
        (("weight: 0.3", "weight: 1.3"), 7, "experiments.0.arms.1.weight", "less than or equal"),
        (("weight: 0.3", "weight: 0"), 7, "experiments.0.arms.1.weight", "greater than 0"),
        (("weight: 0.3", "weight: -0.3"), 7, "experiments.0.arms.1.weight", "greater than 0"),
        (("weight: 0.3", "weight: .nan"), 7, "experiments.0.arms.1.weight", "finite"),
        (("weight: 0.3", 'weight: "0.3"'), 7, "experiments.0.arms.1.weight", "valid number"),
        (("weight: 0.3", "weight: yes"), 7, "experiments.0.arms.1.weight", "valid number"),
        (("        weight: 0.3\n", ""), 6, "experiments.0.arms.1.weight", "for all arms, or for"),
        (("name: bold", "name: original"), 6, "experiments.0.arms.1.name", "another arm's name"),
        (("name: bold", "name: A b"), 6, "experiments.0.arms.1.name", "pattern"),
        (("name: bold", "nome: bold"), 6, "experiments.0.arms.1.name", "Field required"),
        ((BOLD, ""), 6, "experiments.0.arms.1.shows", "none of original, generic, personalized"),
        (("shows: personalized", "shows: bolder"), 8, "experiments.0.arms.1.shows", "'original'"),
        (("shows: personalized", "shows: generic"), 9, "experiments.0.arms.1.strength", "generic"),
        (("strength: 0.8", "strength: 1.5"), 9, "experiments.0.arms.1.strength", "less than"),
        (("strength: 0.8", "strenght: 0.8"), 9, "experiments.0.arms.1.strenght", "not permitted"),
        (("shows: generic", "shows: original"), 10, "experiments.0.arms.2.model", "changes noth"),
        (("steps: 4", "steps: 0"), 10, "experiments.0.arms.2.steps", "greater than or equal to 1"),
        (("steps: 4", "steps: 101"), 10, "experiments.0.arms.2.steps", "less than or equal to 100"),
        (("steps: 4", "steps: 4.5"), 10, "experiments.0.arms.2.steps", "valid integer"),
        (("mode: restyle", "mode: redo"), 10, "experiments.0.arms.2.mode", "'restyle'"),
        (
            ("palette: mint", "palette: grey"),
            10,
            "experiments.0.arms.2.palette",
            AXES["palette"][0],
        ),
        (("steps: 4", "diversity: 0"), 10, "experiments.0.arms.2.diversity", "greater than 0"),
        (("steps: 4", "diversity: 1.1"), 10, "experiments.0.arms.2.diversity", "less than"),
        (("model: fast", 'model: ""'), 10, "experiments.0.arms.2.model", "at least 1"),
        # who, where and when
        (("[pt, ", "[xx-Latn, "), 11, "experiments.0.targeting.locales.0", "known language"),
        (("[pt, ", "[german, "), 11, "experiments.0.targeting.locales.0", "known language"),
        (("[pt, ", "[pt-XQ, "), 11, "experiments.0.targeting.locales.0", "region that is not"),
        (("zh-Hant", "zh-Qabc"), 11, "experiments.0.targeting.locales.1", "script or region"),
        (("[food]", "[food, '']"), 11, "experiments.0.targeting.interests.1", "at least 1"),
        (("interests: ", "hobbies: "), 11, "experiments.0.targeting.hobbies", "not permitted"),
        (("[food]", "food"), 11, "experiments.0.targeting.interests", "valid tuple"),
        (("shopper: known", "shopper: old"), 11, "experiments.0.targeting.shopper", "'new' or"),
        (("[0, 0.5]", "[0.5, 0]"), 12, "experiments.0.namespace.range", "must run upwards"),
        (("[0, 0.5]", "[0, 0.0009]"), 12, "experiments.0.namespace.range", "over 0.001"),
        (("[0, 0.5]", "[0, 1.5]"), 12, "experiments.0.namespace.range.1", "less than or equal"),
        (("[0, 0.5]", "[0]"), 12, "experiments.0.namespace.range.1", "Field required"),
        (("start: 2026-11-01", "start: 2027-01-01"), 14, "experiments.0.end", "not after the st"),
        (("start: 2026-11-01", "start: 2026"), 13, "experiments.0.start", "is no time"),
        (("start: 2026-11-01", "start: soon"), 13, "experiments.0.start", "valid datetime"),
        (("coverage: 0.5", "coverage: 2"), 15, "experiments.0.coverage", "less than or equal"),
        (("coverage: 0.5", "coverage: -0.1"), 15, "experiments.0.coverage", "greater than"),
        (("version: 2", "version: -1"), 16, "experiments.0.version", "greater than or equal"),
        (("version: 2", "version: true"), 16, "experiments.0.version", "valid integer"),
        (("control: bold", "control: generic"), 17, "experiments.0.control", "no arm: bold, orig"),
        (("reward: purchase", "reward: hide"), 18, "experiments.0.bandit.reward", "'click'"),
        (("explore: 0.2", "explore: 0"), 18, "experiments.0.bandit.explore", "greater than 0"),
        # the whole
        (("key: second", "key: autumn-faces"), 19, "experiments.1.key", "another experiment's key"),
        (("key: second", "key: 2"), 19, "experiments.1.key", "valid string"),
        (("[0.5, 1]", "[0.4, 1]"), 20, "experiments.1.namespace.range", "autumn-faces, \\[0, 0.5"),
        (("share: 0.02", "share: 1.2"), 1, "holdout.share", "less than or equal"),
        (("shows: original}", "shows: nothing}"), 1, "holdout.shows", "'original'"),
        (("{share: 0.02, shows: original}", "yes"), 1, "holdout", "valid dictionary"),
        (("experiments:", "experimets:"), 2, "experimets", "not permitted"),
        (("version: 2", "coverage: 0.6"), 16, "coverage", "is told twice"),
        (("control: bold", "control: [bold"), 18, "", "can't be read: while parsing|expected"),
        ((WHOLE, "- a list"), 0, "", "is no mapping"),
        ((WHOLE, "just words"), 0, "", "is no mapping"),
        ((WHOLE, "a: 1\n--- \nb: 2"), 2, "", "can't be read"),
        ((WHOLE, "experiments: !!python/object:os.x {}"), 1, "", "can't be read"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line_and_field(write, change, line, field, reason):
    assert change[0] in WHOLE
    path = write(WHOLE.replace(change[0], change[1], 1))
    refusal = refuse(path)
    assert (refusal.path, refusal.line, refusal.field) == (str(path), line, field)
    place = f"{path}:{line}: " if line else f"{path}: "
    assert str(refusal).startswith(place + (f"{field}: " if field else ""))
    assert re.search(reason, refusal.reason)


def test_one_arm_is_nothing_to_compare(write):
    refusal = refuse(write("experiments:\n- key: a\n  arms:\n  - {name: generic}\n"))
    assert (refusal.line, refusal.field) == (3, "experiments.0.arms")
    assert "compares two at least" in refusal.reason
    assert refuse(write("experiments:\n- key: a\n  arms: []\n")).line == 3


def test_a_file_that_is_not_there_or_not_text_is_refused(write, tmp_path):
    assert "can't be read" in refuse(tmp_path / "none.yaml").reason
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "can't be read" in refuse(path).reason


def test_weights_may_be_off_by_what_decimals_leave(write):
    arms = "[{name: original, weight: 0.3333333}, {name: generic, weight: 0.6666667}]"
    assert load_programme(write(f"experiments: [{{key: a, arms: {arms}}}]")).experiments


@pytest.mark.parametrize(
    ("first", "second", "is_refused"),
    [
        ("", "", True),
        ("end: 2026-02-01", "start: 2026-01-31", True),
        ("end: 2026-02-01", "start: 2026-02-01", False),
        ("start: 2026-02-01", "end: 2026-02-01", False),
        ("start: 2026-02-01", "end: 2026-02-01T00:00:01Z", True),
        ("start: 2026-01-01, end: 2026-03-01", "start: 2026-02-01, end: 2026-02-02", True),
    ],
)
def test_ranges_may_overlap_only_where_times_do_not(write, first, second, is_refused):
    entries = [
        f"  - {{key: {key}, namespace: {{name: n, range: [0, 0.5]}}, {times}}}\n"
        for key, times in (("a", first), ("b", second))
    ]
    path = write("experiments:\n" + "".join(entries))
    if is_refused:
        assert refuse(path).line == 3
    else:
        assert len(load_programme(path).experiments) == 2


def test_other_namespaces_and_ranges_that_touch_do_not_overlap(write):
    spaces = ["n, range: [0, 0.5]", "n, range: [0.5, 1]", "m, range: [0, 1]"]
    entries = [f"  - {{key: k{i}, namespace: {{name: {s}}}}}\n" for i, s in enumerate(spaces)]
    assert len(load_programme(write("experiments:\n" + "".join(entries))).experiments) == 3


def test_files_of_a_folder_are_held_against_each_other(write, tmp_path):
    write("holdout: 0.1\nexperiments: [{key: a, namespace: {name: n, range: [0, 1]}}]", "1.yaml")
    path = write("experiments:\n - key: a\n", "2.yaml")
    assert (refuse(tmp_path).path, refuse(tmp_path).line) == (str(path), 2)
    write("experiments:\n - key: b\n   namespace: {name: n, range: [0.9, 1]}\n", "2.yaml")
    assert (refuse(tmp_path).path, refuse(tmp_path).line) == (str(path), 3)
    write("\nholdout: 0.2\n", "2.yaml")
    assert (refuse(tmp_path).line, refuse(tmp_path).field) == (2, "holdout")


def test_an_arm_of_an_unknown_model_is_refused_with_its_line(write):
    path = write(WHOLE)
    programme = load_programme(path)
    programme.check_models(["quality", "fast"])
    with pytest.raises(ProgrammeInvalid, match="'fast' is none of .*: quality, small") as caught:
        programme.check_models(["quality", "small"])
    assert str(caught.value).startswith(f"{path}:10: experiments.0.arms.2.model: ")


def test_anchors_are_followed_to_the_line_of_what_is_wrong(write):
    text = "experiments:\n- &one\n  key: a\n  coverage: 0.5\n- {<<: *one, key: b, version: x}\n"
    assert refuse(write(text)).line == 5
    shared = load_programme(write(text.replace("version: x", "version: 1"))).experiments
    assert [(each.key, each.coverage) for each in shared] == [("a", 0.5), ("b", 0.5)]


def test_a_list_that_holds_itself_is_refused(write):
    assert "can't be read" in refuse(write("experiments: &a [*a]")).reason


def test_an_override_is_checked_by_experiment_and_arm(write):
    programme = load_programme(write(WHOLE))
    assert list(programme.check_override("autumn-faces", "bold")) == []
    (wrong,) = programme.check_override("winter", "bold", "experiment.")
    assert wrong.field == "experiment.experiment" and "autumn-faces, second" in wrong.description
    (wrong,) = programme.check_override("second", "bold", "experiment.")
    assert wrong.field == "experiment.arm" and "original, generic, pers" in wrong.description
    (wrong,) = Programme().check_override("winter", "bold")
    assert "it has none" in wrong.description
