"""YAML that people write is read, and YAML that grows without end is refused in a moment."""

import pytest
import yaml

from diffusion.bounded_yaml import TooMuch, parse
from diffusion.families.specification import ModelSpecification, SpecificationInvalid
from server.brand_kits import BrandKitInvalid, load_kits
from server.commands.settings import ConfigurationError, _read_file
from server.experiments.programme import load_programme
from server.experiments.sheet import ProgrammeInvalid
from server.safety import DeniedWords, SafetyUnusable

LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGES = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)
ENDLESS = "a: &a [1, *a]\n"
DEEP = "a: " + "[" * 1000 + "]" * 1000
LONG = "a: " + "x" * 1_000_001


def test_aliases_that_stay_small_are_written_out():
    assert parse("a: &a [1, 2]\nb: *a\nc: {<<: &m {d: 1}, e: *a}") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"d": 1, "e": [1, 2]},
    }
    assert parse("") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LAUGHS, "more than 100000 entries"),
        (MERGES, "more than 100000 entries"),
        (ENDLESS, "an alias within what it stands for"),
        (DEEP, "nested too deeply"),
        (LONG, "has 1000004 characters"),
    ],
)
def test_what_grows_is_refused(text, told):
    with pytest.raises(TooMuch, match=told):
        parse(text)


def test_what_runs_code_is_refused():
    with pytest.raises(yaml.YAMLError, match="constructor"):
        parse("a: !!python/object/apply:os.system [exit]")


@pytest.mark.parametrize("text", [LAUGHS, ENDLESS], ids=["laughs", "endless"])
@pytest.mark.parametrize(
    ("read", "refusal"),
    [
        (ModelSpecification.read, SpecificationInvalid),
        (load_programme, ProgrammeInvalid),
        (DeniedWords.read, SafetyUnusable),
        (lambda path: load_kits(path.parent, ()), BrandKitInvalid),
        (_read_file, ConfigurationError),
    ],
    ids=["specification", "programme", "words", "kit", "settings"],
)
def test_every_file_of_an_operator_is_bounded(tmp_path, read, refusal, text):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(refusal, match="file.yaml"):
        read(path)
