"""What is asked, against the catalogue that is shipped."""

import json
from pathlib import Path

import pytest

from server.demo.program import PRODUCT, SEED, SLATE, Cast, Viewer, write_program

CATALOGUE = Path(__file__).parents[3] / "features" / "world" / "products.jsonl"
SHOPPERS = tuple(Viewer(f"u{number}", f"shopper {number}") for number in range(6))


def cast_of(num_shoppers: int) -> Cast:
    return Cast(SHOPPERS[:num_shoppers], Viewer("silent", "no consent"), Viewer("new", "new"))


def test_the_products_are_in_the_catalogue_and_unseen_in_training():
    lines = CATALOGUE.read_text("utf-8").splitlines()
    splits = {record["product_id"]: record["split"] for record in map(json.loads, lines)}
    assert {splits[product] for product in (PRODUCT, *SLATE)} == {"held_out"}


def test_four_shoppers_nobody_and_strength_zero_then_a_slate_of_six():
    program = write_program(cast_of(6))
    assert [shot.user_id for shot in program.preserve] == ["u0", "u1", "u2", "u3", "", "u0"]
    assert [shot.strength > 0 for shot in program.preserve] == [True] * 5 + [False]
    assert [shot.user_id for shot in program.restyle] == ["u0", "u1", "u2", "u3", "silent", "new"]
    assert {shot.mode for shot in program.restyle} == {"restyle"}
    assert {shot.product_id for shot in (*program.preserve, *program.restyle)} == {PRODUCT}
    assert [shot.product_id for shot in program.slate] == list(SLATE)
    assert {shot.user_id for shot in program.slate} == {"u0"}
    assert program.packshot.arm == "original"
    assert SEED >= 0


def test_every_shot_has_a_name_of_its_own():
    names = [shot.name for shot in write_program(cast_of(4)).shots]
    assert len(set(names)) == len(names) == 19


def test_a_world_with_too_few_shoppers_is_refused():
    with pytest.raises(ValueError, match="needs 4 shoppers"):
        write_program(cast_of(3))
