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


def test_only_the_row_that_knows_both_holds_the_shopper():
    fused = fuse(PRODUCT, SHOPPER, "preserve")
    assert set(fused) == set(Given)
    surer = [CERTAINTY * number for number in (1, 2, 3, 4)]
    assert fused[Given.BOTH]["shopper"][0].tolist() == pytest.approx(surer)
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


def test_every_condition_is_one_row_on_the_products_device():
    for cond in fuse(PRODUCT, SHOPPER, "preserve").values():
        assert {len(value) for value in cond.values()} == {1}
        assert cond["product"].tolist() == [[0, 1, 2, 3]]
        assert cond["title"].tolist() == [[-1, -1, -1, -1]]
        assert cond["packshot"] is PRODUCT.packshot or torch.equal(
            cond["packshot"], PRODUCT.packshot
        )


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
