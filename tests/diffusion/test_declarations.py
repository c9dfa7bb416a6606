"""YAML files that people write are refused by file and field, by the class that asked."""

import pytest
from pydantic import BaseModel, ValidationError

from diffusion.declarations import MOST_TOLD, DeclarationInvalid, find_fault


class RecipeInvalid(DeclarationInvalid):
    """One of those that other modules have."""


class Pan(BaseModel):
    litres: int


class Recipe(BaseModel):
    pans: list[Pan]


def refuse(litres):
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate({"pans": [{"litres": 1}, {"litres": litres}]})
    return caught.value


def test_a_mapping_is_read_as_it_stands(tmp_path):
    path = tmp_path / "soup.yaml"
    path.write_text("name: 湯\nsteps: [1, 2]\n", "utf-8")
    assert RecipeInvalid.read(path) == {"name": "湯", "steps": [1, 2]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no mapping of fields"),
        (b"- a\n- b\n", "is no mapping of fields"),
        (b"a: [", "can't be read"),
        (b"name: \xff", "can't be read"),
    ],
)
def test_what_is_no_mapping_is_refused_whole(tmp_path, content, reason):
    path = tmp_path / "soup.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeInvalid) as caught:
        RecipeInvalid.read(path)
    assert caught.value.field == "" and reason in caught.value.reason
    assert str(caught.value) == f"{path}: {caught.value.reason}"


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RecipeInvalid, match="nothing.yaml: can't be read"):
        RecipeInvalid.read(tmp_path / "nothing.yaml")


def test_a_fault_is_named_by_its_place(tmp_path):
    field, reason = find_fault(refuse("many"))
    assert field == "pans.1.litres" and "valid integer" in reason
    told = RecipeInvalid.given(tmp_path / "soup.yaml", refuse("many"))
    assert (told.field, told.path) == (field, str(tmp_path / "soup.yaml"))
    assert told.reason == f"{reason} (given: 'many')"
    assert isinstance(told, RecipeInvalid)


def test_what_was_given_is_cut_where_it_is_long(tmp_path):
    told = RecipeInvalid.given(tmp_path / "soup.yaml", refuse("many" * 200))
    assert len(told.reason) == MOST_TOLD
