"""The transformer: a row is an island, and null means null."""

import pytest
import torch

from diffusion.transformer import TASKS, ProductTransformer, embed_time
from tests.diffusion.tiny import LATENT_CHANNELS, LATENT_SIDE, WIDTH, make_transformer

ROWS = 5


@pytest.fixture(scope="module")
def network():
    return make_transformer().requires_grad_(False)


def draw_inputs(seed=0):
    """Rows that differ in everything."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(ROWS, *shape, generator=generator)

    return {
        "x": draw(LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE),
        "t": torch.linspace(0.05, 0.99, ROWS),
        "packshot": draw(LATENT_CHANNELS + 1, LATENT_SIDE, LATENT_SIDE),
        "product": draw(WIDTH),
        "title": draw(WIDTH),
        "shopper": draw(WIDTH),
        "task": torch.arange(ROWS) % len(TASKS),
        "has_product": torch.tensor([True, True, False, True, False]),
        "has_shopper": torch.tensor([True, False, False, True, True]),
    }


def swap(inputs, row, **values):
    changed = {name: value.clone() for name, value in inputs.items()}
    for name, value in values.items():
        changed[name][row] = value
    return changed


@pytest.mark.parametrize(
    "changed",
    [
        {"shopper": 9.0},
        {"has_shopper": False},
        {"packshot": -3.0, "product": 5.0, "title": 2.0},
        {"has_product": False},
        {"x": 50.0, "t": 0.5},
        {"task": 2},
        {"shopper": float("nan")},
    ],
    ids=lambda changed: "+".join(changed),
)
def test_what_happens_to_one_row_leaves_the_others_as_they_are(network, changed):
    inputs = draw_inputs()
    before, after = network(**inputs), network(**swap(inputs, 3, **changed))
    others = [0, 1, 2, 4]
    assert (before[others] - after[others]).abs().max() <= 1e-6
    assert not torch.allclose(before[3], after[3], atol=1e-3)


def test_a_row_alone_is_the_row_in_a_batch(network):
    inputs = draw_inputs()
    together = network(**inputs)
    for row in range(ROWS):
        alone = network(**{name: value[row : row + 1] for name, value in inputs.items()})
        assert (together[row] - alone[0]).abs().max() <= 1e-5


def test_the_place_in_the_batch_does_not_matter(network):
    inputs, order = draw_inputs(), torch.tensor([3, 1, 4, 0, 2])
    turned = network(**{name: value[order] for name, value in inputs.items()})
    assert (turned - network(**inputs)[order]).abs().max() <= 1e-5


def test_a_shopper_who_takes_no_part_leaves_no_trace(network):
    inputs = draw_inputs()
    absent = swap(inputs, 0, has_shopper=False)
    assert torch.equal(network(**absent), network(**swap(absent, 0, shopper=7.0)))


def test_a_product_that_takes_no_part_leaves_no_trace(network):
    inputs = draw_inputs()
    absent = swap(inputs, 0, has_product=False)
    other = swap(absent, 0, packshot=1.0, product=7.0, title=-7.0)
    assert torch.equal(network(**absent), network(**other))


@pytest.mark.parametrize("name", ["packshot", "product", "title", "shopper", "x"])
def test_what_takes_part_is_seen(network, name):
    inputs = draw_inputs()
    assert not torch.allclose(
        network(**inputs)[0], network(**swap(inputs, 0, **{name: 1.5}))[0], atol=1e-4
    )


def test_a_fresh_network_predicts_no_velocity():
    network = ProductTransformer(
        latent_channels=LATENT_CHANNELS,
        latent_side=LATENT_SIDE,
        width=16,
        depth=1,
        num_heads=2,
        embedding_width=WIDTH,
    )
    assert not network(**draw_inputs()).any()


def test_patches_come_back_where_they_were(network):
    x = torch.randn(2, 3, LATENT_SIDE, LATENT_SIDE)
    tokens = network.patchify(x)
    assert tokens.shape == (2, 4, 3 * 4)
    assert torch.equal(network.unpatchify(tokens), x)
    assert torch.equal(tokens[0, 1].reshape(3, 2, 2), x[0, :, :2, 2:])


def test_a_saved_network_predicts_as_before(network, tmp_path):
    network.save_pretrained(tmp_path)
    loaded = ProductTransformer.from_pretrained(tmp_path)
    assert all(loaded.config[name] == network.config[name] for name in ("width", "depth", "patch"))
    assert torch.equal(loaded.eval()(**draw_inputs()), network(**draw_inputs()))


def test_half_precision_inside_is_full_precision_outside(network):
    half = make_transformer().bfloat16()
    found, expected = half(**draw_inputs()), network(**draw_inputs())
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() <= 0.05 * expected.abs().max()


def test_times_are_told_apart():
    angles = embed_time(torch.linspace(0, 1, 50), 32)
    assert angles.shape == (50, 32)
    gaps = (angles[:, None] - angles).norm(dim=2) + torch.eye(50)
    assert gaps.min() > 0.1
