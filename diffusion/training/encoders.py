"""Trains the encoders: title in any language ↔ packshot or creative, and scene words ↔ creative."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast, ViTConfig, ViTModel

from diffusion.encoders import MAX_TOKENS, DualEncoder
from diffusion.scenes import PALETTES, SETTINGS
from diffusion.training.corpus import ARTWORKS, NATURAL, Corpus, Product
from diffusion.training.loop import Schedule, draw, fit
from diffusion.treatments import TREATMENTS

TEMPERATURE = 0.07


def train_tokenizer(products: list[Product], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE over the titles of the training products in all their languages."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    titles = [t for p in products if not p.held_out for t in p.titles.values()]
    words = [" ".join(words) for words in (PALETTES, SETTINGS, TREATMENTS)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(titles + words * 50, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<end>",
        model_max_length=MAX_TOKENS,
        padding_side="right",
    )


def build_encoders(products: list[Product], width: int = 128) -> DualEncoder:
    tokenizer = train_tokenizer(products, vocab_size=8192)
    image = ViTModel(
        ViTConfig(
            hidden_size=192,
            num_hidden_layers=5,
            num_attention_heads=6,
            intermediate_size=768,
            image_size=96,
            patch_size=16,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        add_pooling_layer=False,
    )
    text = GPT2Model(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=MAX_TOKENS,
            n_embd=192,
            n_layer=3,
            n_head=6,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=1,
            eos_token_id=1,
            pad_token_id=0,
        )
    )
    return DualEncoder(image, text, tokenizer, width)


def sample_creatives(
    corpus: Corpus, trained: Tensor, generator: torch.Generator, count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random products in random scenes: (view, product, scene, seed); scene [n, 3] holds palette,
    setting and treatment."""
    product = trained[draw(generator, len(trained), count)]
    artwork = draw(generator, len(ARTWORKS), count)
    scene = torch.stack(
        [draw(generator, len(axis), count) for axis in (PALETTES, SETTINGS, TREATMENTS)], dim=1
    )
    index = torch.from_numpy(corpus.view_index)
    view = index[product, artwork, scene[:, 2], scene[:, 0]]
    # Only some artworks were treated: the others' creatives are treated views of the first.
    view = torch.where(view < 0, index[product, 0, scene[:, 2], scene[:, 0]], view)
    return view, product, scene, draw(generator, corpus.scenes.shape[2], count)


def match(images: Tensor, texts: Tensor, same: Tensor) -> Tensor:
    """InfoNCE both ways, all pairs in `same` [n, n] being positive (Khosla et al., 2020)."""
    with torch.autocast(images.device.type, enabled=False):
        logits = images.float() @ texts.float().T / TEMPERATURE

    def one_way(scores: Tensor, positive: Tensor) -> Tensor:
        kept = scores.masked_fill(~positive, float("-inf"))
        return (scores.logsumexp(dim=1) - kept.logsumexp(dim=1)).mean()

    return (one_way(logits, same) + one_way(logits.T, same.T)) / 2


def describe(scene: list[int]) -> str:
    axes = (list(PALETTES), list(SETTINGS), list(TREATMENTS))
    return " ".join(axis[i] for axis, i in zip(axes, scene, strict=True))


def train_encoders(corpus: Corpus, schedule: Schedule, folder: Path, batch: int) -> DualEncoder:
    """Trains on the training split only; the mean over creatives becomes the population's zero."""
    trained = corpus.trained
    network = build_encoders(corpus.products)
    index = torch.from_numpy(corpus.view_index)

    def loss(model: DualEncoder, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        half = batch // 4
        view, product, scene, seed = sample_creatives(corpus, trained, generator, batch - half)
        alone = trained[draw(generator, len(trained), half)]
        packshot = corpus.packshot(index[alone, draw(generator, len(ARTWORKS), half), NATURAL, 0])[
            0
        ]
        creatives = corpus.composite(view, scene, seed)
        images = model.encode_images(torch.cat([creatives, packshot]))
        shown = torch.cat([product, alone])
        titles = []
        for p, pick in zip(shown.tolist(), draw(generator, 1 << 30, batch).tolist(), strict=True):
            known = list(corpus.products[p].titles.values())
            titles.append(known[pick % len(known)])
        words = [describe(row) for row in scene.tolist()]
        texts = model.encode_texts(titles + words)
        of_title = match(images, texts[:batch], shown[:, None] == shown)
        where = (scene[:, None] == scene).all(dim=2)
        of_scene = match(images[: len(scene)], texts[batch:], where)
        return of_title + of_scene, {"title": of_title.item(), "scene": of_scene.item()}

    average = fit("encoders", network, loss, schedule, folder)
    centre(average, corpus, trained)
    return average


@torch.inference_mode()
def centre(network: DualEncoder, corpus: Corpus, trained: Tensor, count: int = 1024) -> None:
    generator = torch.Generator().manual_seed(0)
    view, _, scene, seed = sample_creatives(corpus, trained, generator, count)
    pieces = [
        network.encode_images(corpus.composite(view[s], scene[s], seed[s]))
        for s in (slice(start, start + 64) for start in range(0, count, 64))
    ]
    network.mean.copy_(torch.cat(pieces).mean(dim=0))
