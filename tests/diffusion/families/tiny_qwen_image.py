"""A Qwen-Image of a few thousand weights, and the tokenizer that Z-Image shares with it."""

from __future__ import annotations

import json
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
WIDTH = 16
"""Of the text encoder."""

TEMPLATE_WORDS = (
    "system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, "
    "spatial relationships of the objects and background:\nuser\nassistant\n"
)
"""Each of them is one token, as in the published tokenizer; the pipeline counts on that."""


def tiny_qwen_tokenizer() -> Qwen2Tokenizer:
    """Reads letter by letter, but for the words of the template."""
    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, letters])
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(MARKS),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEMPLATE_WORDS], trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=trained["vocab"],
        merges=[tuple(pair) for pair in trained["merges"]],
        additional_special_tokens=list(MARKS[1:]),
    )


def enlarge(network: nn.Module, seed: int) -> nn.Module:
    """Weights so large that whatever goes in shows in what comes out; none is zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        scale = 0.3 if parameter.dim() < 2 else 0.8 * parameter.shape[1] ** -0.5
        offset = parameter.data.mean().round()  # ones stay around one
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = offset + scale * noise
    return network.eval()


def enlarge_vae(vae: Any, seed: int) -> Any:
    """The same, with pictures that seldom leave the range of pixels."""
    enlarge(vae, seed)
    vae.decoder.conv_out.weight.data *= 0.15
    return vae


def tiny_qwen_text(seed: int) -> Qwen2_5_VLForConditionalGeneration:
    torch.manual_seed(seed)
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 512,
            "hidden_size": WIDTH,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "initializer_range": 0.5,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1]},
            **ids,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
        },
    )
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def tiny_qwen_image(seed: int = 0, width: int = WIDTH) -> QwenImagePipeline:
    """With a transformer that expects a text encoder of this width. Its schedule shifts with the
    size of the picture and ends early, as the published one."""
    text_encoder = tiny_qwen_text(seed)
    torch.manual_seed(seed)
    vae = AutoencoderKLQwenImage(base_dim=4, num_res_blocks=1)
    transformer = QwenImageTransformer2DModel(
        in_channels=64,
        out_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=width,
        axes_dims_rope=(8, 4, 4),
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, shift_terminal=0.02
    )
    return QwenImagePipeline(
        scheduler=scheduler,
        vae=enlarge_vae(vae, seed + 1),
        text_encoder=text_encoder,
        tokenizer=tiny_qwen_tokenizer(),
        transformer=enlarge(transformer, seed + 2),
    )
