"""Encoders from any transformers checkpoints: each brings its own width and its own preprocessing.

Two that were trained together (CLIP, SigLIP) or two that never met (a ViT and a GPT-2), local
folders or names on a hub. Code that a checkpoint brings along is never run.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Sequence
from typing import Any, cast

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

from diffusion.checkpoint import CheckpointUnusable
from diffusion.encoders import Encoders, ImageTextNetwork

# What loading and a first try raise for what is no checkpoint, or one of something else.
_UNUSABLE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError),
    SafetensorError,
)


class PretrainedPair(ImageTextNetwork):
    """An image checkpoint and a text checkpoint as they are, side by side or one and the same."""

    def __init__(self, image: Any, processor: Any, text: Any, tokenizer: Any) -> None:
        super().__init__()
        self.image, self.processor = image, processor
        self.text, self.tokenizer = text, tokenizer
        config = text.config.get_text_config()
        self.max_tokens = min(tokenizer.model_max_length, config.max_position_embeddings)
        # SigLIP reads the last place, whatever stands there: it was trained on full lengths.
        self._is_padded_fully = "siglip" in text.config.model_type
        self.register_buffer("mean", torch.zeros(0))
        self.mean = torch.zeros(self._measure())

    def encode_images(self, pixels: Tensor) -> Tensor:
        codes = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        seen = self.processor(
            list(codes.permute(0, 2, 3, 1).cpu().numpy()),
            input_data_format="channels_last",
            return_tensors="pt",
        )
        return F.normalize(pool_image(self.image, seen["pixel_values"].to(self.mean.device)), dim=1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        ids, mask = (tensor.to(self.mean.device) for tensor in self._tokenize(texts))
        if "attention_mask" in self.tokenizer.model_input_names:
            return F.normalize(pool_text(self.text, ids, mask), dim=1)
        return F.normalize(pool_text(self.text, ids, None), dim=1)

    def _tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask [n, places]; a text without any token is one place of padding."""
        padding = self.tokenizer.pad_token_id
        if padding is None:  # GPT-2 has none
            padding = self.tokenizer.eos_token_id or 0
        found = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)
        rows = [row or [padding] for row in found["input_ids"]]
        places = self.max_tokens if self._is_padded_fully else max(map(len, rows))
        ids = torch.tensor([row + [padding] * (places - len(row)) for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        return ids, (torch.arange(places) < lengths[:, None]).long()

    @torch.inference_mode()
    def _measure(self) -> int:
        image = self.encode_images(torch.zeros(1, 3, 64, 64)).shape[1]
        text = self.encode_texts(["?"]).shape[1]
        if image != text:
            raise CheckpointUnusable(f"images become vectors of {image} numbers, texts of {text}")
        return image


def pool_image(network: Any, pixels: Tensor) -> Tensor:
    """One vector a picture: the projected one of a pair, else the pooled one, else class token."""
    if hasattr(network, "get_image_features"):
        seen = network.get_image_features(pixel_values=pixels)
    else:
        seen = network(pixel_values=pixels)
    pooled = seen.get("image_embeds", seen.get("pooler_output"))
    pooled = seen.last_hidden_state[:, 0] if pooled is None else pooled
    return cast(Tensor, pooled.flatten(1))


def pool_text(network: Any, ids: Tensor, mask: Tensor | None) -> Tensor:
    """One vector a text: projected, else pooled, else the last token that is not padding."""
    if hasattr(network, "get_text_features"):
        read = network.get_text_features(input_ids=ids, attention_mask=mask)
    else:
        read = network(input_ids=ids, attention_mask=mask)
    pooled = read.get("text_embeds", read.get("pooler_output"))
    if pooled is None:
        hidden = read.last_hidden_state
        ends = hidden.new_full((len(ids),), ids.shape[1]) if mask is None else mask.sum(dim=1)
        pooled = hidden[torch.arange(len(ids)), ends.long() - 1]
    return cast(Tensor, pooled)


def load_pretrained(image: str, text: str, device: str = "cpu") -> Encoders:
    """Encoders of two checkpoints, each a folder or a name on a hub; CheckpointUnusable."""
    try:
        processor = AutoImageProcessor.from_pretrained(image, backend="pil")
        tokenizer = AutoTokenizer.from_pretrained(text)
        towers = [_load_network(image)]
        towers += [_load_network(text)] if text != image else []
        digest = _digest(towers, processor, tokenizer)
        pair = PretrainedPair(towers[0], processor, towers[-1], tokenizer)
    except _UNUSABLE as error:
        problem = f"{image} for images and {text} for texts are no encoders: {error}"
        raise CheckpointUnusable(problem) from error
    return Encoders(pair.to(device), digest)


def _load_network(name: str) -> nn.Module:
    """In the class that keeps its projection, and without a head that it has no weights for."""
    config = AutoConfig.from_pretrained(name)
    named = (config.architectures or [""])[0]
    is_whole = type(config) in transformers.MODEL_MAPPING and not named.endswith("WithProjection")
    kind = transformers.MODEL_MAPPING[type(config)] if is_whole else getattr(transformers, named)
    # The pooler of a ViT belongs to its first training; most checkpoints come without it.
    can_drop = kind.main_input_name == "pixel_values"
    can_drop = can_drop and "add_pooling_layer" in inspect.signature(kind).parameters
    network, told = kind.from_pretrained(
        name,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        **({"add_pooling_layer": False} if can_drop else {}),
    )
    if told["missing_keys"]:
        missing = ", ".join(sorted(told["missing_keys"])[:3])
        raise CheckpointUnusable(f"{name} lacks weights of {kind.__name__}: {missing}")
    return cast(nn.Module, network.eval())


def _digest(towers: Sequence[nn.Module], processor: Any, tokenizer: Any) -> str:
    """SHA-256 over what was loaded, wherever it lay and however it was packed; 16 hex digits."""
    sha = hashlib.sha256()
    for tower in towers:
        config = tower.config.to_diff_dict()  # type: ignore[operator, union-attr]
        told = config | {"transformers_version": None, "_name_or_path": None}
        sha.update(json.dumps(told, sort_keys=True, default=str).encode())
        for name, tensor in sorted(tower.state_dict().items()):
            sha.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    sha.update(processor.to_json_string().encode())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = backend.to_str() if backend else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    sha.update(f"{tokenizer.model_max_length} {tokenizer.model_input_names} {words}".encode())
    return sha.hexdigest()[:16]
