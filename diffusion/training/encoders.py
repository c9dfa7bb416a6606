"""Trains the encoders: title in any language ↔ packshot or creative, look in words ↔ creative."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast, ViTConfig, ViTModel

from diffusion.autoencoder import find_components
from diffusion.encoders import MAX_TOKENS, DualEncoder
from diffusion.looks import AXES
from diffusion.training.corpus import ARTWORKS, NATURAL, TREATED_ARTWORKS, Corpus, Product
from diffusion.training.loop import CPU, Schedule, draw, fit

TEMPERATURE = 0.05
PACKSHOT_SHARE = 0.3
WORDS = tuple(itertools.chain(*AXES.values()))


def train_tokenizer(products: list[Product], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE over the titles of the training products in all their languages."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    # Words whole: the usual pattern would cut Bengali and Hindi words at every vowel sign.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    titles = [t for p in products if not p.held_out for t in p.titles.values()]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(titles + list(WORDS) * 50, trainer)
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
            num_hidden_layers=6,
            num_attention_heads=6,
            intermediate_size=768,
            image_size=128,
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
    corpus: Corpus, products: Tensor, generator: torch.Generator, count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random products of `products` in random looks: (view, product, look, seed); look [n, 3] holds
    palette, setting and treatment."""
    product = products[draw(generator, len(products), count)]
    look = torch.stack([draw(generator, len(axis), count) for axis in AXES.values()], dim=1)
    # Artists who draw flat would be told natural: the treated artworks alone say what a look is.
    artwork = draw(generator, len(TREATED_ARTWORKS), count)
    view = torch.from_numpy(corpus.view_index)[product, artwork, look[:, 2], look[:, 0]]
    return view, product, look, draw(generator, corpus.scenes.shape[2], count)


class Anchored(nn.Module):
    """Both encoders around one learned anchor for each product: pictures and titles need not find
    each other, which takes them long among hundreds, but each the anchor of their product.

    Movshovitz-Attias et al. (2017), "No fuss distance metric learning using proxies".
    """

    def __init__(self, encoders: DualEncoder, num_products: int) -> None:
        super().__init__()
        self.encoders = encoders
        width = len(encoders.mean)
        self.anchors = nn.Parameter(torch.randn(num_products, width) / width**0.5)

    def match(self, vectors: Tensor, product: Tensor) -> Tensor:
        """Cross-entropy of [n, width] choosing among all products, [n] being right."""
        with torch.autocast(vectors.device.type, enabled=False):
            anchors = F.normalize(self.anchors.float(), dim=1)
            scores = vectors.float() @ anchors.T / TEMPERATURE
            return F.cross_entropy(scores, product.to(scores.device))


def match_looks(images: Tensor, words: Tensor, look: Tensor) -> Tensor:
    """Each axis is a choice among its own words: [n, w], [words, w], [n, 3] → mean over axes."""
    with torch.autocast(images.device.type, enabled=False):
        scores = images.float() @ words.float().T / TEMPERATURE
    axes = torch.split(scores, [len(axis) for axis in AXES.values()], dim=1)
    look = look.to(scores.device)
    return torch.stack([F.cross_entropy(s, look[:, i]) for i, s in enumerate(axes)]).mean()


def pick_titles(corpus: Corpus, products: Tensor, generator: torch.Generator) -> list[str]:
    """One title for each product, in a language drawn for each."""
    picks = draw(generator, 1 << 30, len(products)).tolist()
    known = [list(corpus.products[p].titles.values()) for p in products.tolist()]
    return [titles[pick % len(titles)] for titles, pick in zip(known, picks, strict=True)]


def train_encoders(
    corpus: Corpus, schedule: Schedule, folder: Path, batch: int, device: torch.device = CPU
) -> DualEncoder:
    """Trains on the training split only; the mean over creatives becomes the population's zero.

    A step sees `batch` pictures, a part of them packshots, and as many titles.
    """
    trained = corpus.trained
    index = torch.from_numpy(corpus.view_index)
    num_packshots = round(PACKSHOT_SHARE * batch)
    encoders = build_encoders(corpus.products)
    fit_patches(encoders.image, sample_pictures(corpus, torch.Generator().manual_seed(0), 256))
    network = Anchored(encoders, len(corpus.products)).to(device)

    def loss(model: Anchored, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        view, product, look, seed = sample_creatives(
            corpus, trained, generator, batch - num_packshots
        )
        alone = trained[draw(generator, len(trained), num_packshots)]
        artwork = draw(generator, len(ARTWORKS), num_packshots)
        packshots, _ = corpus.packshot(index[alone, artwork, NATURAL, 0])
        images = model.encoders.encode_images(
            torch.cat([corpus.composite(view, look, seed), packshots])
        )
        named = trained[draw(generator, len(trained), batch)]
        titles = pick_titles(corpus, named, generator)
        texts = model.encoders.encode_texts([*titles, *WORDS])
        of_image = model.match(images, torch.cat([product, alone]))
        of_title = model.match(texts[: len(named)], named)
        of_look = match_looks(images[: len(look)], texts[len(named) :], look)
        facts = {"image": of_image.item(), "title": of_title.item(), "look": of_look.item()}
        return of_image + of_title + 2 * of_look, facts

    average = fit("encoders", network, loss, schedule, folder).encoders
    centre(average, corpus, trained)
    return average


def train_titles(
    network: DualEncoder, corpus: Corpus, schedule: Schedule, folder: Path
) -> DualEncoder:
    """Trains the text side on, against what the image side, now fixed, makes of all packshots."""
    trained = corpus.trained
    views = torch.from_numpy(corpus.view_index)[trained, :, NATURAL, 0]
    with torch.inference_mode():
        packshots = torch.stack(
            [network.encode_images(corpus.packshot(column)[0]) for column in views.unbind(1)]
        ).clone()
    network.requires_grad_(False)
    network.text.requires_grad_(True)
    network.project_text.requires_grad_(True)
    right = torch.arange(len(trained), device=packshots.device)

    def loss(model: DualEncoder, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        # The first artist draws the packshots that are searched; the others say what they mean.
        artwork = draw(generator, 2 * len(ARTWORKS), len(trained)) % (len(ARTWORKS) + 1)
        images = packshots[artwork.to(right.device) % len(ARTWORKS), right]
        titles = model.encode_texts(pick_titles(corpus, trained, generator))
        with torch.autocast(titles.device.type, enabled=False):
            scores = titles.float() @ images.T / TEMPERATURE
        recall = (scores.argmax(dim=1) == right).float().mean()
        error = (F.cross_entropy(scores, right) + F.cross_entropy(scores.T, right)) / 2
        return error, {"recall_at_1": recall.item()}

    return fit("titles", network, loss, schedule, folder)


def sample_pictures(corpus: Corpus, generator: torch.Generator, count: int) -> Tensor:
    """Three creatives to a packshot: [count, 3, S, S] in [-1, 1]."""
    view, product, look, seed = sample_creatives(corpus, corpus.trained, generator, count)
    num_creatives = count - count // 4
    alone = torch.from_numpy(corpus.view_index)[product[num_creatives:], 0, NATURAL, 0]
    creatives = [part[:num_creatives] for part in (view, look, seed)]
    return torch.cat([corpus.composite(*creatives), corpus.packshot(alone)[0]])


@torch.no_grad()
def fit_patches(vit: ViTModel, pixels: Tensor) -> None:
    """Starts the ViT from the principal components of patches, half-way to white, in a random
    rotation: it need not learn first that there is more to a patch than its mean."""
    projection = vit.embeddings.patch_embeddings.projection
    side, width = vit.config.patch_size, vit.config.hidden_size
    mean, components, scale = find_components(pixels, side, width)
    rows = components / scale[:, None]
    rows = torch.linalg.qr(torch.randn(width, len(rows)))[0] @ rows
    projection.weight.copy_(rows.view_as(projection.weight))
    projection.bias.copy_(-rows @ mean)
    vit.embeddings.position_embeddings.normal_(std=0.3)


@torch.inference_mode()
def centre(network: DualEncoder, corpus: Corpus, trained: Tensor, count: int = 1024) -> None:
    generator = torch.Generator().manual_seed(0)
    view, _, look, seed = sample_creatives(corpus, trained, generator, count)
    pieces = [
        network.encode_images(corpus.composite(view[s], look[s], seed[s]))
        for s in (slice(start, start + 64) for start in range(0, count, 64))
    ]
    network.mean.copy_(torch.cat(pieces).mean(dim=0))
