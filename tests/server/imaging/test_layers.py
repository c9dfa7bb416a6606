"""What a product puts over any picture is made once, and never taken for another product's."""

import gc

import numpy as np

from diffusion.composition import Overlay, contact_shadow, place
from server.imaging.layers import Layers, LayersKept, Placed, widen


def draw_cutout(seed, side=40):
    return np.random.default_rng(seed).integers(1, 256, (side, side, 4), dtype=np.uint8)


def equal(one, other):
    mine, yours = one.overlay, other.overlay
    return (
        mine.box == yours.box
        and np.array_equal(mine.share, yours.share)
        and np.array_equal(mine.light, yours.light)
        and np.array_equal(one.hole, other.hole)
    )


def test_layers_are_the_products_own_at_the_size_asked_for():
    cutout = draw_cutout(0)
    layers = LayersKept().find(cutout, 64, 32)
    rgb, alpha = place(cutout, 64)
    hole = widen(place(cutout, 32)[1])
    overlay = Overlay.of(rgb, alpha, contact_shadow(alpha))
    assert equal(layers, Layers(cutout, overlay, Placed.of(rgb, alpha), hole))


def test_the_same_product_at_the_same_size_is_not_made_again():
    kept, cutout = LayersKept(), draw_cutout(0)
    first = kept.find(cutout, 64, 32)
    assert kept.find(cutout, 64, 32) is first
    assert kept.find(cutout, 128, 32) is not first
    assert kept.find(cutout.copy(), 64, 32) is not first


def test_a_product_that_came_where_another_was_in_memory_is_not_taken_for_it():
    kept = LayersKept()
    for seed in range(50):
        cutout = draw_cutout(seed)
        assert equal(kept.find(cutout, 48, 32), Layers.of(cutout, 48, 32))
        del cutout
        gc.collect()


def test_who_was_used_longest_ago_goes_first_and_what_is_too_large_is_not_kept():
    cutouts = [draw_cutout(seed) for seed in range(3)]
    size = Layers.of(cutouts[0], 64, 32).num_bytes
    kept = LayersKept(max_bytes=2 * size)
    first, second = (kept.find(cutout, 64, 32) for cutout in cutouts[:2])
    assert kept.find(cutouts[0], 64, 32) is first
    kept.find(cutouts[2], 64, 32)
    assert kept.find(cutouts[0], 64, 32) is first
    assert kept.find(cutouts[1], 64, 32) is not second
    nothing = LayersKept(max_bytes=size - 1)
    assert nothing.find(cutouts[0], 64, 32) is not nothing.find(cutouts[0], 64, 32)
