"""Between image embeddings: along the arc, and to the shopper's direction."""

import numpy as np
import pytest
import torch

from diffusion.families.kandinsky import slerp
from diffusion.image_model import Wish
from tests.diffusion.families.tiny_kandinsky import (
    WIDTH,
    load_kandinsky,
    rotate,
    save_kandinsky,
)
from tests.diffusion.families.walking import facts, shopper


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kandinsky")
    save_kandinsky(folder / "base")
    return load_kandinsky(folder)


def test_points_between_two_lie_on_the_arc():
    torch.manual_seed(0)
    start, end = 3 * torch.randn(5, WIDTH), torch.randn(5, WIDTH)
    share = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0])
    found = slerp(start, end, share)
    for row in range(5):
        expected = rotate(start[row], end[row], float(share[row]))
        assert np.allclose(found[row], expected, atol=1e-5), row
    assert torch.equal(found[0], start[0]) and torch.equal(found[4], end[4])


def test_a_right_angle_is_halved():
    start, end = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    expected = torch.full((1, 2), 3 / 2**0.5)
    assert torch.allclose(slerp(start, end, torch.tensor([0.5])), expected)


@pytest.mark.parametrize("factor", [1.0, 2.0, 1 + 1e-6, -1.0, 0.0])
def test_points_on_one_line_are_joined_by_it(factor):
    start = torch.tensor([[1.0, 2.0, 2.0]])
    found = slerp(start, factor * start, torch.tensor([0.25]))
    assert found.isfinite().all()
    if factor > 0:
        assert torch.allclose(found, (1 + 0.25 * (factor - 1)) * start, atol=1e-5)


def test_the_whole_way_to_a_shopper_is_their_direction_at_the_products_length(model):
    conditions = model.prepare(facts()).conditions["preserve"]
    product, who = conditions["image_embeds"][0], shopper(WIDTH)
    found = model.family.blend(conditions, who.vector, 1.0)["image_embeds"][0]
    expected = torch.from_numpy(who.vector / np.linalg.norm(who.vector)) * product.norm()
    assert torch.allclose(found, expected, atol=1e-5)
    stronger = model.family.blend(conditions, 7 * who.vector, 0.4)["image_embeds"]
    same = model.family.blend(conditions, who.vector, 0.4)["image_embeds"]
    assert torch.allclose(stronger, same, atol=1e-5)


def test_a_shopper_of_whom_nothing_is_known_changes_nothing(model):
    conditions = model.prepare(facts()).conditions["preserve"]
    nobody = np.zeros(WIDTH, np.float32)
    found = model.family.blend(conditions, nobody, 0.5)["image_embeds"]
    assert torch.equal(found, conditions["image_embeds"])


def test_a_vector_of_another_width_is_refused(model):
    wish = Wish("preserve", strength=1.0)
    with pytest.raises(ValueError, match=r"shape \(23,\), and .* embeddings have 24 numbers"):
        model.plan(model.prepare(facts()), shopper(23), wish, 0)
