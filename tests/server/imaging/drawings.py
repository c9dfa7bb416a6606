"""Products and generated pictures whose fidelity is known."""

import numpy as np

from diffusion.composition import Placement, composite, contact_shadow, place
from diffusion.scenes import Scene, render_scene


def draw_bottle(side=200):
    """A red bottle with a white label, its edges one pixel soft."""
    y, x = np.mgrid[:side, :side] / side
    width = np.where(y < 0.3, 0.12, 0.24)
    inside = width - np.abs(x - 0.5)
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[..., :3] = (190, 30, 40)
    rgba[(y > 0.55) & (y < 0.75) & (inside > 0.05)] = (250, 245, 240, 0)
    rgba[..., 3] = np.clip(inside * side + 0.5, 0, 1) * 255
    return rgba


def generate(cutout, size=1.0, setting="table", palette="mint", seed=3, side=128):
    """What a model would make of it: the product `size` times as large as it should be."""
    placement = Placement(0.5, 0.80 - 0.28 * size, 0.56 * size)
    rgb, alpha = place(cutout, side, placement)
    scene = render_scene(Scene(palette, setting, seed), side)
    return composite(scene, rgb, alpha, contact_shadow(alpha))
