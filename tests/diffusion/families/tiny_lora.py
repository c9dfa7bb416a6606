"""LoRAs of tiny networks: drawn, merged by hand, and written in every layout."""

from __future__ import annotations

import copy

import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import save_file

from diffusion.families.adapters.lora import Loras
from diffusion.families.specification import Lora, ModelSpecification
from tests.diffusion.families.tiny_unet import tiny_unet

ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
UNET = (
    f"{ATTENTION}.to_q",
    f"{ATTENTION}.to_out.0",
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "down_blocks.0.attentions.0.proj_in",
    "down_blocks.0.resnets.0.conv1",
    "down_blocks.0.resnets.0.time_emb_proj",
    "down_blocks.0.downsamplers.0.conv",
)
FLUX = (
    "transformer_blocks.0.attn.to_q",
    "transformer_blocks.0.attn.add_k_proj",
    "single_transformer_blocks.0.attn.to_v",
    "x_embedder",
)


def make_unet():
    return tiny_unet(
        text_width=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 12,
    )


def run_unet(unet, rows):
    torch.manual_seed(7)
    x, text, pooled = torch.randn(4, 4, 8, 8), torch.randn(4, 5, 32), torch.randn(4, 12)
    times = torch.tensor([900.0, 500.0, 120.0, 30.0])
    added = {"text_embeds": pooled[rows], "time_ids": torch.full((len(rows), 6), 16.0)}
    with torch.inference_mode():
        return unet(x[rows], times[rows], text[rows], added_cond_kwargs=added).sample


def make_flux():
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        in_channels=8,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=12,
        pooled_projection_dim=6,
        axes_dims_rope=(2, 2, 4),
    ).eval()


def run_flux(flux, rows):
    torch.manual_seed(7)
    x, text, pooled = torch.randn(4, 9, 8), torch.randn(4, 5, 12), torch.randn(4, 6)
    times = torch.tensor([0.9, 0.5, 0.3, 0.1])
    ids = torch.zeros(14, 3)
    ids[5:, 1], ids[5:, 2] = torch.arange(9) // 3, torch.arange(9) % 3
    with torch.inference_mode():
        return flux(
            x[rows], text[rows], pooled[rows], times[rows], img_ids=ids[5:], txt_ids=ids[:5]
        ).sample


NETWORKS = {"sdxl": (make_unet, run_unet, UNET), "flux": (make_flux, run_flux, FLUX)}
EVERYONE = [0, 1, 2, 3]


def draw(network, names, rank=3, seed=1):
    """Weights of a LoRA by module: what goes down, and what comes up."""
    torch.manual_seed(seed)
    drawn = {}
    for name in names:
        out, *rest = network.get_submodule(name).weight.shape
        ends = (1,) * (len(rest) - 1)
        drawn[name] = 0.5 * torch.randn(rank, *rest), 0.5 * torch.randn(out, rank, *ends)
    return drawn


def merge(network, drawn, scale=1.0):
    """The known answer: W + scale · up @ down."""
    merged = copy.deepcopy(network)
    with torch.no_grad():
        for name, (down, up) in drawn.items():
            weight = merged.get_submodule(name).weight
            weight += scale * (up.flatten(1) @ down.flatten(1)).view(weight.shape)
    return merged


ENDINGS = {
    "peft": ("lora_A.weight", "lora_B.weight"),
    "diffusers": ("lora.down.weight", "lora.up.weight"),
    "kohya": ("lora_down.weight", "lora_up.weight"),
}
ALPHA = 1.5
"""Of each module in kohya's layout, which has one."""


def name_weights(drawn, layout="peft", part="unet"):
    """The tensors of a file."""
    tensors = {}
    for name, pair in drawn.items():
        where = f"{part}.{name}"
        if layout == "kohya":
            where = f"lora_unet_{name.replace('.', '_')}"
            tensors[f"{where}.alpha"] = torch.tensor(ALPHA)
        for ending, weight in zip(ENDINGS[layout], pair, strict=True):
            tensors[f"{where}.{ending}"] = weight.contiguous()
    return tensors


def specify(folder, names, family="sdxl", num_places=4, scale=1.0, **told) -> ModelSpecification:
    loras = tuple(
        Lora(name=name, source=".", weights=f"{name}.safetensors", scale=scale) for name in names
    )
    told = {"name": "tiny", "family": family, "source": ".", "licence": "none"} | told
    return ModelSpecification(**told, loras=loras, max_resident_loras=num_places, folder=folder)


def open_loras(network, specification) -> Loras:
    loras = Loras.load_for(network, specification)
    assert loras is not None
    return loras


def load_one(folder, network, tensors, family="sdxl", metadata=None, **told):
    save_file(tensors, folder / "one.safetensors", metadata)
    loras = open_loras(network, specify(folder, ["one"], family, **told))
    return loras, loras.load("one")


def choose(loras, *chosen):
    """One row for each (style, strength)."""
    rows = [loras.conditions(style, strength) for style, strength in chosen]
    loras.select(*(torch.cat([row[name] for row in rows]) for name in ("style", "style_scale")))


def close(found, expected):
    return torch.allclose(found, expected, atol=1e-4)


def save_many(folder, network, names, modules, part="unet"):
    """LoRAs of different ranks; some touch a part of the modules only."""
    for seed, name in enumerate(names):
        drawn = draw(network, modules[seed % 2 :], rank=1 + seed % 3, seed=seed)
        save_file(name_weights(drawn, part=part), folder / f"{name}.safetensors")
