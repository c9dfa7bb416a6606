"""What a row may know of product and shopper."""

import numpy as np
import pytest
import torch

from diffusion.fusion import CERTAINTY, ProductCondition, fuse
from diffusion.guidance import Given
from diffusion.transformer import TASKS

WIDTH = 4
PRODUCT = ProductCondition(
    torch.randn(1, 9, 4, 4), np.arange(WIDTH, dtype=np.float32), -np.ones(WIDTH, np.float32)
)
SHOPPER = np.array([1, 2, 3, 4], np.float32)


def test_without_a_shopper_nothing_of_one_can_be_asked_for():
    fused = fuse(PRODUCT, None, "preserve")
    assert set(fused) == {Given.NOTHING, Given.PRODUCT}
    assert all(not cond["shopper"].any() for cond in fused.values())
    assert all(not cond["has_shopper"].any() for cond in fused.values())


def test_only_rows_that_know_the_shopper_hold_them():
    fused = fuse(PRODUCT, SHOPPER, "preserve")
    assert set(fused) == set(Given)
    surer = [CERTAINTY * number for number in (1, 2, 3, 4)]
    for given in (Given.SHOPPER, Given.BOTH):
        assert fused[given]["shopper"][0].tolist() == pytest.approx(surer)
    for given in (Given.NOTHING, Given.PRODUCT):
        assert not fused[given]["shopper"].any()


def test_generic_rows_are_the_same_with_and_without_a_shopper():
    generic, personal = fuse(PRODUCT, None, "restyle"), fuse(PRODUCT, SHOPPER, "restyle")
    for given in (Given.NOTHING, Given.PRODUCT):
        assert generic[given].keys() == personal[given].keys()
        assert all(torch.equal(generic[given][k], personal[given][k]) for k in generic[given])


@pytest.mark.parametrize("given", Given)
def test_flags_say_what_takes_part(given):
    cond = fuse(PRODUCT, SHOPPER, "preserve")[given]
    assert cond["has_product"].tolist() == [given.has_product]
    assert cond["has_shopper"].tolist() == [given.has_shopper]


def test_every_condition_is_one_row_that_holds_the_product_or_nothing_of_it():
    for given, cond in fuse(PRODUCT, SHOPPER, "preserve").items():
        assert {len(value) for value in cond.values()} == {1}
        known = int(given.has_product)
        assert cond["product"].tolist() == [[0, known, 2 * known, 3 * known]]
        assert cond["title"].tolist() == [[-known] * 4]
        assert torch.equal(cond["packshot"], known * PRODUCT.packshot)


def test_rows_without_the_product_are_the_same_for_every_product():
    other = ProductCondition(3 * PRODUCT.packshot, SHOPPER, SHOPPER)
    one, two = fuse(PRODUCT, SHOPPER, "preserve"), fuse(other, SHOPPER, "preserve")
    for given in (Given.NOTHING, Given.SHOPPER):
        assert all(torch.equal(one[given][name], two[given][name]) for name in one[given])


def test_products_are_told_apart_by_all_that_the_generator_sees():
    def digest(packshot=PRODUCT.packshot, image=SHOPPER, title=-SHOPPER):
        return ProductCondition(packshot, image, title).digest

    assert digest() == digest(PRODUCT.packshot.clone(), SHOPPER.copy())
    changed = [digest(image=2 * SHOPPER), digest(title=SHOPPER), digest(1.01 * PRODUCT.packshot)]
    assert len({digest(), *changed}) == 4


def test_conditions_follow_the_packshot_to_its_device():
    elsewhere = ProductCondition(
        PRODUCT.packshot.to("meta"), PRODUCT.image_embedding, PRODUCT.title_embedding
    )
    for cond in fuse(elsewhere, SHOPPER, "preserve").values():
        assert {value.device.type for value in cond.values()} == {"meta"}


def test_embeddings_shared_between_requests_are_taken_as_they_are():
    shared = SHOPPER.copy()
    shared.flags.writeable = False
    frozen = ProductCondition(PRODUCT.packshot, shared, shared)
    assert fuse(frozen, shared, "preserve")[Given.BOTH]["title"].tolist() == [[1, 2, 3, 4]]


def test_the_task_is_a_number_and_an_unknown_one_is_refused():
    for number, task in enumerate(TASKS):
        assert fuse(PRODUCT, None, task)[Given.PRODUCT]["task"].tolist() == [number]
    with pytest.raises(ValueError):
        fuse(PRODUCT, None, "destroy")
