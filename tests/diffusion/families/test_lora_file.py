"""Files of LoRAs: every layout says the same, and what does not fit is refused by name."""

import json

import pytest
import torch
from safetensors.torch import save_file

from diffusion.checkpoint import CheckpointUnusable
from tests.diffusion.families.tiny_lora import (
    ALPHA,
    ATTENTION,
    EVERYONE,
    FLUX,
    UNET,
    choose,
    close,
    draw,
    load_one,
    make_flux,
    make_unet,
    merge,
    name_weights,
    open_loras,
    run_flux,
    run_unet,
    specify,
)


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_every_layout_says_the_same(tmp_path, layout):
    unet = make_unet()
    drawn = draw(unet, UNET)
    scale = ALPHA / 3 if layout == "kohya" else 1.0
    merged = run_unet(merge(unet, drawn, scale), EVERYONE)
    loras, style = load_one(tmp_path, unet, name_weights(drawn, layout))
    choose(loras, *[(style, 1.0)] * 4)
    assert close(run_unet(unet, EVERYONE), merged)


def test_kohya_may_name_the_blocks_of_sdxl_as_its_authors_do(tmp_path):
    unet = make_unet()
    drawn = draw(unet, [f"{ATTENTION}.to_q"])
    merged = run_unet(merge(unet, drawn, ALPHA / 3), EVERYONE)
    (pair,) = drawn.values()
    renamed = {"input_blocks.1.1.transformer_blocks.0.attn2.to_q": pair}
    loras, style = load_one(tmp_path, unet, name_weights(renamed, "kohya"))
    choose(loras, *[(style, 1.0)] * 4)
    assert close(run_unet(unet, EVERYONE), merged)


def test_kohya_has_one_weight_for_queries_keys_and_values_of_flux(tmp_path):
    flux = make_flux()
    down, up = torch.randn(3, 16), torch.randn(48, 3)
    names = (f"transformer_blocks.0.attn.to_{letter}" for letter in "qkv")
    split = {name: (down, part) for name, part in zip(names, up.chunk(3), strict=True)}
    merged = run_flux(merge(flux, split, ALPHA / 3), EVERYONE)
    fused = {"double_blocks.0.img_attn.qkv": (down, up)}
    loras, style = load_one(tmp_path, flux, name_weights(fused, "kohya"), "flux")
    choose(loras, *[(style, 1.0)] * 4)
    assert close(run_flux(flux, EVERYONE), merged)


def test_a_convolution_of_one_pixel_may_be_written_as_a_linear_layer(tmp_path):
    unet = make_unet()
    drawn = draw(unet, ["down_blocks.0.attentions.0.proj_in"])
    merged = run_unet(merge(unet, drawn), EVERYONE)
    flat = {name: (down.flatten(1), up.flatten(1)) for name, (down, up) in drawn.items()}
    loras, style = load_one(tmp_path, unet, name_weights(flat))
    choose(loras, *[(style, 1.0)] * 4)
    assert close(run_unet(unet, EVERYONE), merged)


@pytest.mark.parametrize(
    ("told", "scale"),
    [
        ({"lora_alpha": 6}, 6 / 4),
        ({"lora_alpha": 6, "use_rslora": True}, 6 / 2),
        ({"lora_alpha": 6, "alpha_pattern": {"attn2.to_q": 2}}, 2 / 4),
        ({"lora_alpha": 6, "alpha_pattern": {"attn1.to_q": 2}}, 6 / 4),
    ],
)
def test_the_settings_in_a_file_scale_its_weights(tmp_path, told, scale):
    unet = make_unet()
    drawn = draw(unet, [f"{ATTENTION}.to_q"], rank=4)
    merged = run_unet(merge(unet, drawn, scale), EVERYONE)
    settings = json.dumps({f"unet.{name}": value for name, value in told.items()})
    metadata = {"lora_adapter_metadata": settings}
    loras, style = load_one(tmp_path, unet, name_weights(drawn), metadata=metadata)
    choose(loras, *[(style, 1.0)] * 4)
    assert close(run_unet(unet, EVERYONE), merged)


def refuse(folder, network, family="sdxl"):
    with pytest.raises(CheckpointUnusable) as caught:
        open_loras(network, specify(folder, ["one"], family))
    assert "loras.one.weights" in str(caught.value) and "one.safetensors" in str(caught.value)
    return str(caught.value)


QUERY, KEY = f"unet.{ATTENTION}.to_q", f"unet.{ATTENTION}.to_k"
TEXT = "text_encoder.text_model.q_proj"
WRONG: dict[str, dict[str, tuple[int, ...]]] = {
    "of another base": {f"{QUERY}.lora_A.weight": (3, 17)},
    "blocks.0.to_q is no module": {
        "unet.blocks.0.to_q.lora_A.weight": (3, 16),
        "unet.blocks.0.to_q.lora_B.weight": (16, 3),
    },
    "conv_norm_out: it is a GroupNorm": {
        "unet.conv_norm_out.lora_A.weight": (3, 16),
        "unet.conv_norm_out.lora_B.weight": (16, 3),
    },
    "x_embedder.lora_A.weight, which is not of the unet": {
        "transformer.x_embedder.lora_A.weight": (3, 16)
    },
    "without the weights of text encoders": {f"{TEXT}.lora_A.weight": (3, 16)},
    "is a DoRA": {f"{QUERY}.dora_scale": (16,)},
    "lora_magnitude_vector, which is no weight of a LoRA": {
        f"{QUERY}.lora_magnitude_vector": (16,)
    },
    "bias, which is no weight of a LoRA": {f"{QUERY}.lora_B.bias": (16,)},
    "only one of the two weights": {f"{KEY}.lora_A.weight": (3, 32)},
}


@pytest.mark.parametrize("reason", WRONG)
def test_a_file_of_something_else_is_refused_by_name(tmp_path, reason):
    unet = make_unet()
    tensors = name_weights(draw(unet, [f"{ATTENTION}.to_q"]))
    tensors |= {name: torch.ones(shape) for name, shape in WRONG[reason].items()}
    save_file(tensors, tmp_path / "one.safetensors")
    assert reason in refuse(tmp_path, unet)


def test_text_encoders_in_kohyas_layout_are_refused_too(tmp_path):
    unet = make_unet()
    tensors = name_weights(draw(unet, [f"{ATTENTION}.to_q"]), "kohya")
    for end, shape in (("down", (3, 16)), ("up", (16, 3))):
        name = "lora_te1_text_model_encoder_layers_0_self_attn_q_proj"
        tensors[f"{name}.lora_{end}.weight"] = torch.ones(shape)
    save_file(tensors, tmp_path / "one.safetensors")
    assert "without the weights of text encoders" in refuse(tmp_path, unet)


def test_a_lora_of_another_family_is_refused(tmp_path):
    flux = make_flux()
    tensors = name_weights(draw(flux, FLUX), part="transformer")
    save_file(tensors, tmp_path / "one.safetensors")
    assert "not of the unet" in refuse(tmp_path, make_unet())
    unet = make_unet()
    save_file(name_weights(draw(unet, UNET)), tmp_path / "one.safetensors")
    assert "not of the transformer" in refuse(tmp_path, flux, "flux")


def test_what_is_no_safetensors_file_is_refused(tmp_path):
    unet = make_unet()
    refuse(tmp_path, unet)
    (tmp_path / "one.safetensors").write_bytes(b"\x80\x04pickled")
    assert "can't be read as safetensors" in refuse(tmp_path, unet)
    save_file({}, tmp_path / "one.safetensors")
    assert "holds no LoRA" in refuse(tmp_path, unet)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"weights": "one.bin"}, r"loras\.one\.weights: .*one\.bin is a pickle"),
        ({"source": "nowhere"}, r"loras\.one\.source: nowhere is no folder"),
    ],
)
def test_a_pickle_and_a_source_that_is_not_there_are_refused(tmp_path, told, message):
    torch.save({}, tmp_path / "one.bin")
    specification = specify(tmp_path, ["one"])
    lora = specification.loras[0].model_copy(update=told)
    with pytest.raises(CheckpointUnusable, match=message):
        open_loras(make_unet(), specification.model_copy(update={"loras": (lora,)}))
