"""The shopper in a joint transformer's rows: how strongly, where, and from which files."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.adapters.joint_attention import to_tokens
from diffusion.image_model import Wish
from diffusion.noise import draw_noise
from tests.diffusion.families import tiny_flux, tiny_sd3
from tests.diffusion.families.rows import ask, join
from tests.diffusion.families.walking import facts, shopper, walk_latents

WIDTH = 12
NOISE = draw_noise(0, (1, 4, 16, 16))
SIGMA = torch.tensor([2.0])
FILE = "adapter.safetensors"
FULL = Wish("preserve", strength=1.0)
MATTERS = 0.02


@pytest.fixture(scope="module", params=[tiny_sd3, tiny_flux], ids=["sd3", "flux"])
def tiny(request):
    return request.param


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    tiny.save_adapter(folder, WIDTH)
    return folder


def with_blocks(tiny: ModuleType, folder, blocks):
    adapter = {**dict(tiny.specify(folder).shopper), "blocks": blocks}
    return tiny.build(shopper=adapter)


def test_strength_is_told_to_each_patch_of_two_by_two():
    strength = torch.tensor([[0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]])[None, None]
    assert torch.equal(to_tokens(strength), torch.tensor([[[0.5], [1.0]]]))


def test_strength_0_is_nobody_to_the_last_bit_and_others_differ(tiny, folder):
    model, who = tiny.build(folder=folder), shopper(WIDTH)
    nobody = walk_latents(model, facts())
    found = {
        strength: walk_latents(model, facts(), who, Wish("preserve", strength=strength))
        for strength in (0.0, 0.5, 1.0)
    }
    assert torch.equal(found[0.0], nobody)
    assert (nobody - walk_latents(tiny.build(), facts())).abs().max() <= 1e-4
    assert (found[0.5] - found[1.0]).abs().max() > MATTERS < (found[0.5] - nobody).abs().max()


def test_a_vector_of_strength_0_is_nobody_to_the_last_bit_beside_others(tiny, folder):
    model = tiny.build(folder=folder)
    generic, known = ask(model), ask(model, who=shopper(WIDTH))
    silent = {**known, "strength": torch.zeros_like(known["strength"])}
    found = model.denoise(NOISE.repeat(3, 1, 1, 1), SIGMA.repeat(3), join(generic, silent, known))
    assert torch.equal(found[0], found[1]) and (found[0] - found[2]).abs().max() > MATTERS


def test_strength_acts_where_it_stands(tiny, folder):
    """In the last block that has the adapter: what is shown at a place is added at that place."""
    model = tiny.build(folder=folder)
    network = model.family.network
    del network.transformer_blocks[:-1]
    if tiny is tiny_flux:
        del network.single_transformer_blocks[:]
    cond = ask(model, who=shopper(WIDTH))
    left = cond["strength"].clone()
    left[..., 8:] = 0
    full, half, none = (
        model.denoise(NOISE, SIGMA, {**cond, "strength": strength})
        for strength in (cond["strength"], left, torch.zeros_like(left))
    )
    assert torch.allclose(half[..., :8], full[..., :8], atol=1e-5)
    assert torch.allclose(half[..., 8:], none[..., 8:], atol=1e-5)
    assert (full - none)[..., 8:].abs().max() > MATTERS < (full - none)[..., :8].abs().max()


def test_blocks_choose_where_the_shopper_acts(tiny, folder):
    found = []
    for blocks in ({}, {"transformer_blocks.1": 0.5}, None):
        model = with_blocks(tiny, folder, blocks)
        found.append(walk_latents(model, facts(), shopper(WIDTH), FULL))
    assert torch.equal(found[0], walk_latents(model, facts()))
    assert (found[1] - found[0]).abs().max() > MATTERS < (found[2] - found[1]).abs().max()


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ({"up": 1.0}, "up is none; there are transformer_blocks.0 to transformer_blocks.1"),
        ({"transformer_blocks.0": "much"}, "transformer_blocks.0 needs a number, not 'much'"),
    ],
)
def test_blocks_that_are_not_there_are_refused(blocks, reason, tiny, folder):
    with pytest.raises(CheckpointUnusable, match=f"shopper.blocks: {reason}"):
        with_blocks(tiny, folder, blocks)


def test_surplus_shoppers_are_never_taken_for_tokens_of_a_row(folder, tiny):
    model = tiny.build(folder=folder)
    cond = ask(model, who=shopper(WIDTH))
    with pytest.raises((ValueError, RuntimeError)):
        model.denoise(NOISE, SIGMA, {**cond, "shopper": cond["shopper"].repeat(2, 1)})


def test_the_digest_is_of_the_files_bytes(tiny, folder, tmp_path):
    tiny.save_adapter(tmp_path, WIDTH, seed=1)
    models = [tiny.build(folder=at) for at in (folder, folder, tmp_path)]
    one, same, other = (model.family.adapters_digest for model in models)
    assert one == same != other and len(one) == 16


def test_the_first_publishers_names_of_fluxs_tensors_are_known(tmp_path):
    names = {
        "image_proj": "ip_adapter_proj_model",
        "ip_adapter": "double_blocks",
        "to_k_ip": "processor.ip_adapter_double_stream_k_proj",
        "to_v_ip": "processor.ip_adapter_double_stream_v_proj",
    }
    tiny_flux.save_adapter(tmp_path, WIDTH)
    before = walk_latents(tiny_flux.build(folder=tmp_path), facts(), shopper(WIDTH), FULL)
    tensors = load_file(tmp_path / FILE)
    renamed = {
        ".".join(names.get(part, part) for part in key.split(".")): value
        for key, value in tensors.items()
    }
    save_file(renamed, tmp_path / FILE)
    after = walk_latents(tiny_flux.build(folder=tmp_path), facts(), shopper(WIDTH), FULL)
    assert torch.equal(before, after)


def lose(folder, ending):
    kept = {key: value for key, value in load_file(folder / FILE).items() if ending not in key}
    assert kept.keys() != load_file(folder / FILE).keys()
    save_file(kept, folder / FILE)


BROKEN = {
    "a deeper network's": ({"num_attentions": 5}, None, "of a network with 5 attentions"),
    "a wider network's": ({"hidden": 48}, None, r"takes \[32, 32\]"),
    "without a projection": ({}, "image_proj.proj", "it has no image_proj.proj"),
    "with half a projection": ({}, ".bias", "(lacks|does not fit)"),
    "with half an attention": ({}, "1.to_v_ip.weight", "(lacks|does not fit)"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_adapter_that_does_not_fit_is_refused_with_file_and_field(case, tiny, tmp_path):
    told, lost, reason = BROKEN[case]
    tiny.save_adapter(tmp_path, WIDTH, **told)
    if lost:
        lose(tmp_path, lost)
    with pytest.raises(CheckpointUnusable, match=f"shopper.weights: {tmp_path / FILE} .*{reason}"):
        tiny.build(folder=tmp_path)


def test_an_adapter_for_another_text_encoder_is_refused(tmp_path):
    tiny_flux.save_adapter(tmp_path, text_width=20)
    with pytest.raises(CheckpointUnusable, match=r"to_k_ip.weight .*\[32, 20\].*takes \[32, 32\]"):
        tiny_flux.build(folder=tmp_path)
    tiny_flux.save_adapter(tmp_path)
    tensors = load_file(tmp_path / FILE)
    save_file({**tensors, "image_proj.proj.weight": torch.zeros(80, WIDTH)}, tmp_path / FILE)
    with pytest.raises(CheckpointUnusable, match="makes tokens of 20 numbers"):
        tiny_flux.build(folder=tmp_path)


def test_files_that_are_none_are_refused(tiny, tmp_path):
    with pytest.raises(CheckpointUnusable, match=f"shopper.weights: {tmp_path / FILE} is missing"):
        tiny.build(folder=tmp_path)
    (tmp_path / FILE).write_bytes(b"?" * 99)
    with pytest.raises(CheckpointUnusable, match=f"shopper.weights: {tmp_path / FILE} can't be"):
        tiny.build(folder=tmp_path)
    (tmp_path / "adapter.bin").write_bytes(b"")
    told = dict(tiny.specify(tmp_path).shopper)
    with pytest.raises(CheckpointUnusable, match="shopper.weights: .*adapter.bin is a pickle"):
        tiny.build(shopper={**told, "weights": "adapter.bin"})
    with pytest.raises(CheckpointUnusable, match="shopper.source: /nowhere/at/all is no folder"):
        tiny.build(shopper={**told, "source": "/nowhere/at/all"})
