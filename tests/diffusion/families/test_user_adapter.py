"""The user adapter: stock diffusers loads what it saves, and only it is trained."""

from typing import Any

import pytest
import torch
from diffusers.utils import logging
from safetensors import safe_open
from safetensors.torch import load_file

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.adapters.user_adapter import EXPANSION, UserAdapter
from tests.diffusion.families.tiny_unet import tiny_sd15, tiny_sdxl

FACTS = {"family": "sd15", "width": "48"}
PIPES = [tiny_sd15, tiny_sdxl]


@pytest.fixture(autouse=True)
def silence():
    """diffusers says that there is no image encoder, which is as it should be."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(before)


def attach(make_pipe, width=48, num_tokens=4, **told):
    """A pipeline with an adapter that says a lot."""
    pipe = make_pipe()
    adapter = UserAdapter.attach(pipe, width, num_tokens, **told)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_(0, 0.5)
    return pipe, adapter


def predict(pipe, shoppers=None, num_rows=2):
    """The UNet's own prediction for a fixed question; shoppers [rows, width]."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(num_rows, 4, 8, 8, generator=generator)
    text = torch.randn(num_rows, 5, pipe.unet.config.cross_attention_dim, generator=generator)
    added: dict[str, Any] = {} if shoppers is None else {"image_embeds": [shoppers[:, None]]}
    if pipe.unet.config.addition_embed_type:
        added["text_embeds"] = torch.randn(num_rows, 12, generator=generator)
        added["time_ids"] = torch.tensor([[16.0, 16, 0, 0, 16, 16]] * num_rows)
    time = torch.tensor([100, 700])[:num_rows]
    return pipe.unet(x, time, text, added_cond_kwargs=added).sample


def vectors(width=48, seed=3, num_rows=2):
    return torch.randn(num_rows, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("make_pipe", PIPES)
@pytest.mark.parametrize("width", [48, 64])
@pytest.mark.parametrize("num_tokens", [4, 16])
def test_stock_diffusers_loads_what_is_saved(make_pipe, width, num_tokens, tmp_path):
    pipe, adapter = attach(make_pipe, width, num_tokens)
    adapter.save(tmp_path / "adapter.safetensors", FACTS)
    stock = make_pipe()
    without = predict(stock)
    stock.load_ip_adapter(
        str(tmp_path), subfolder="", weight_name="adapter.safetensors", image_encoder_folder=None
    )
    shoppers = vectors(width)
    ours, theirs = predict(pipe, shoppers), predict(stock, shoppers)
    assert (ours - theirs).abs().max() <= 1e-4
    assert (theirs - without).abs().max() > 0.1, "the adapter has a say"
    (projection,) = stock.unet.encoder_hid_proj.image_projection_layers
    assert projection(shoppers).shape == (2, num_tokens, stock.unet.config.cross_attention_dim)


@pytest.mark.parametrize("make_pipe", PIPES)
def test_the_file_is_in_the_layout_of_faceid(make_pipe, tmp_path):
    pipe, adapter = attach(make_pipe, width=48, num_tokens=16)
    adapter.save(tmp_path / "adapter.safetensors", FACTS)
    shapes = {k: tuple(v.shape) for k, v in load_file(tmp_path / "adapter.safetensors").items()}
    wide, hidden = pipe.unet.config.cross_attention_dim, EXPANSION * 48
    assert {k: shape for k, shape in shapes.items() if k.startswith("image_proj.")} == {
        "image_proj.proj.0.weight": (hidden, 48),
        "image_proj.proj.0.bias": (hidden,),
        "image_proj.proj.2.weight": (16 * wide, hidden),
        "image_proj.proj.2.bias": (16 * wide,),
        "image_proj.norm.weight": (wide,),
        "image_proj.norm.bias": (wide,),
    }
    layers = [name for name in pipe.unet.attn_processors if "attn2" in name]
    rest = sorted(key for key in shapes if not key.startswith("image_proj."))
    assert rest == sorted(
        f"ip_adapter.{2 * number + 1}.to_{part}_ip.weight"
        for number in range(len(layers))
        for part in ("k", "v")
    )


def test_the_file_says_what_it_was_trained_with_and_nothing_half_written_is_left(tmp_path):
    _, adapter = attach(tiny_sd15)
    adapter.save(tmp_path / "adapter.safetensors", FACTS)
    with safe_open(tmp_path / "adapter.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt", **FACTS}
    assert [path.name for path in tmp_path.iterdir()] == ["adapter.safetensors"]


@pytest.mark.parametrize("make_pipe", PIPES)
def test_a_fresh_adapter_changes_nothing_yet(make_pipe):
    plain, pipe = make_pipe(), make_pipe()
    UserAdapter.attach(pipe, 48)
    assert torch.equal(predict(pipe, vectors()), predict(plain))


def test_a_fresh_adapter_reads_keys_as_the_unet_reads_text():
    pipe = tiny_sd15()
    adapter = UserAdapter.attach(pipe, 48)
    name = next(name for name in pipe.unet.attn_processors if "attn2" in name)
    attention = pipe.unet.get_submodule(name.removesuffix(".processor"))
    keys = adapter.get_parameter("attentions.0.to_k_ip.0.weight")
    assert torch.equal(keys, attention.to_k.weight)
    assert keys.data_ptr() != attention.to_k.weight.data_ptr(), "a copy"


def test_first_weights_are_a_function_of_the_seed():
    one, same, other = (UserAdapter.attach(tiny_sd15(), 48, seed=s).tensors() for s in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["image_proj.proj.0.weight"], other["image_proj.proj.0.weight"])


@pytest.mark.parametrize("length", [0.05, 1.0, 30.0])
def test_shoppers_are_told_apart_from_the_start_whatever_the_length_of_vectors(length):
    adapter = UserAdapter.attach(tiny_sd15(), 48, vector_length=length)
    one, other = adapter.projection(length * torch.nn.functional.normalize(vectors(), dim=1))
    assert torch.cosine_similarity(one.flatten(), other.flatten(), dim=0) < 0.8


@pytest.mark.parametrize("make_pipe", PIPES)
@pytest.mark.parametrize("is_checkpointed", [False, True])
def test_gradients_reach_all_of_the_adapter_and_nothing_else(make_pipe, is_checkpointed):
    pipe, adapter = attach(make_pipe)
    if is_checkpointed:
        pipe.unet.enable_gradient_checkpointing()
    predict(pipe, vectors()).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in adapter.parameters())
    own = {id(parameter) for parameter in adapter.parameters()}
    others = [p for p in pipe.unet.parameters() if id(p) not in own]
    assert others and all(p.grad is None and not p.requires_grad for p in others)


def test_checkpointing_changes_no_gradient():
    gradients = []
    for is_checkpointed in (False, True):
        pipe, adapter = attach(tiny_sdxl)
        if is_checkpointed:
            pipe.unet.enable_gradient_checkpointing()
        predict(pipe, vectors()).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in adapter.parameters()]))
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


def test_a_shopper_changes_no_other_row():
    pipe, _ = attach(tiny_sd15)
    before, after = vectors(), vectors()
    after[1] = vectors(seed=4)[1]
    one, other = predict(pipe, before), predict(pipe, after)
    assert torch.allclose(one[0], other[0], atol=1e-5)
    assert (one[1] - other[1]).abs().max() > 0.1


def test_weights_are_float32_in_a_unet_of_halves():
    pipe = tiny_sd15()
    pipe.unet.to(torch.bfloat16)
    adapter = UserAdapter.attach(pipe, 48)
    assert {p.dtype for p in adapter.parameters()} == {torch.float32}
    assert pipe.unet.conv_in.weight.dtype == torch.bfloat16


def test_a_unet_that_takes_no_image_prompt_is_refused():
    pipe = tiny_sd15()
    pipe.unet.register_to_config(encoder_hid_dim_type="text_image_proj")
    with pytest.raises(CheckpointUnusable, match="unet/config.json: .*encoder_hid_dim_type"):
        UserAdapter.attach(pipe, 48)
