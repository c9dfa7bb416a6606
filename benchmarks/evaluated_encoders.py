"""What is found out about encoders and judge, without a generated picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluated_world import SimulatedAudience, World, draw_looks, render_composites
from diffusion.composition import Pixels
from diffusion.encoders import Encoders
from diffusion.evaluation.findings import Finding
from diffusion.evaluation.metrics import Figure, estimate_mean, estimate_rate
from diffusion.evaluation.retrieval import match_centroids, recall_among
from diffusion.evaluation.study import Indices, Mask, Reader
from diffusion.looks import AXES
from diffusion.treatments import TREATMENTS, apply_treatment
from features.creatives import shrink
from features.packshots import open_packshot, show_product

MEAN_RECALL, WORST_RECALL = 0.95, 0.85
LONG = 20  # clicks
ENCODERS = "encoders"


def find_recall(world: World, encoders: Encoders, products: Indices) -> Iterator[Finding]:
    """Titles, tags and treated packshots of `products`, each asked for among all packshots."""
    held_out = world.shop.is_held_out[products]
    found = {
        name: Query(world, encoders, products, texts).recall()
        for name, texts in (("titles", _titles(world)), ("tags", _tags(world)))
    }
    for at, members in (("trained products", ~held_out), ("held-out products", held_out)):
        if not members.any():
            continue
        per_product, per_locale = found["titles"]
        target = MEAN_RECALL if at.startswith("trained") else None
        figure = estimate_mean([float(np.mean(per_product[p])) for p in products[members].tolist()])
        measure = "title to image, recall at 5"
        yield Finding("encoders", measure, f"{at}, mean", ENCODERS, figure, target=target)
        worst = _find_worst(per_locale, set(products[members].tolist()))
        target = WORST_RECALL if target else None
        yield Finding("encoders", measure, f"{at}, worst locale", ENCODERS, worst, target=target)
        tags = found["tags"][0]
        tagged = [float(np.mean(tags[p])) for p in products[members].tolist() if p in tags]
        if tagged:
            measure = "tag to image, recall at 5"
            yield Finding("encoders", measure, f"{at}, mean", ENCODERS, estimate_mean(tagged))
        yield _find_treated(world, encoders, products[members], f"{at}, mean")


Texts = list[tuple[int, str, str]]
"""Product, locale, text."""
PerProduct = dict[int, list[bool]]
PerLocale = dict[str, dict[int, bool]]


def _titles(world: World) -> Texts:
    return [(p, k, t) for p, row in enumerate(world.rows) for k, t in row["titles"].items()]


def _tags(world: World) -> Texts:
    """English ones: wordings that no encoder was trained with."""
    return [(p, "en", t) for p, row in enumerate(world.rows) for t in row["tags"].get("en", [])]


class Query:
    """Texts of some products, and what they find."""

    def __init__(self, world: World, encoders: Encoders, products: Indices, texts: Texts) -> None:
        wanted = set(products.tolist())
        self.texts = [text for text in texts if text[0] in wanted]
        words = sorted({text for _, _, text in self.texts})
        places = {word: place for place, word in enumerate(words)}
        queries = encoders.encode_texts(words)[[places[text] for _, _, text in self.texts]]
        gallery = world.shop.image_embeddings + encoders.network.mean.cpu().numpy()
        own = np.array([product for product, _, _ in self.texts])
        self.hits = recall_among(queries, gallery, own)

    def recall(self) -> tuple[PerProduct, PerLocale]:
        per_product: PerProduct = {}
        per_locale: PerLocale = {}
        for (product, locale, _), hit in zip(self.texts, self.hits.tolist(), strict=True):
            per_product.setdefault(product, []).append(hit)
            per_locale.setdefault(locale, {})[product] = hit
        return per_product, per_locale


def _find_worst(per_locale: PerLocale, members: set[int]) -> Figure:
    rates = [
        estimate_rate(np.array([hit for product, hit in hits.items() if product in members]))
        for hits in per_locale.values()
    ]
    return min(rates, key=lambda figure: figure.value)


def _find_treated(world: World, encoders: Encoders, products: Indices, at: str) -> Finding:
    """The other renderings of a packshot, each of which should find it."""
    treatments = TREATMENTS[1:]
    pictures = [_treat(world.shop.cutouts[p], t) for p in products.tolist() for t in treatments]
    hits = _find_packshots(world, encoders, products, np.stack(pictures))
    figure = estimate_mean(hits.mean(axis=1))
    return Finding("encoders", "treated packshot to packshot, recall at 5", at, ENCODERS, figure)


def find_artworks(
    world: World, encoders: Encoders, products: Indices, artworks: Path
) -> Iterator[Finding]:
    """What other artists draw of a product, each of which should find its packshot."""
    others = [folder for folder in sorted(artworks.iterdir()) if folder.name != "noto"]
    held_out = world.shop.is_held_out[products]
    for at, members in (("trained products", ~held_out), ("held-out products", held_out)):
        if not members.any():
            continue
        files = [f / f"{world.shop.ids[p]}.webp" for p in products[members] for f in others]
        pictures = np.stack([show_product(open_packshot(str(file))) for file in files])
        hits = _find_packshots(world, encoders, products[members], pictures)
        figure = estimate_mean(hits.mean(axis=1))
        measure = "another artwork to packshot, recall at 5"
        yield Finding("encoders", measure, f"{at}, mean", ENCODERS, figure)


def _find_packshots(
    world: World, encoders: Encoders, products: Indices, pictures: Pixels
) -> NDArray[np.bool_]:
    """[products, pictures of each]: `pictures` are those of the first product, then the next's."""
    own = np.repeat(products, len(pictures) // len(products))
    queries = encoders.encode_images(pictures)
    hits = recall_among(queries, world.shop.image_embeddings, own)
    return hits.reshape(len(products), -1)


def _treat(cutout: Pixels, treatment: str) -> Pixels:
    return show_product(apply_treatment(shrink(cutout), treatment))


def find_tastes(audience: SimulatedAudience, products: Indices) -> Iterator[Finding]:
    """Whether a shopper's embedding lies nearest to those of the same taste."""
    shoppers = np.flatnonzero(audience.num_clicks >= LONG)[: 3 * len(products)]
    shown = np.resize(products, len(shoppers)).tolist()
    pairs: Sequence[tuple[int, int]] = list(zip(shoppers.tolist(), shown, strict=True))
    vectors = np.stack([audience.embed(shopper, product) for shopper, product in pairs])
    for column, axis in enumerate(AXES):
        hits = match_centroids(vectors, audience.tastes[shoppers, column])
        measure, at = f"{axis} by nearest centroid", "shoppers of 20 clicks or more"
        yield Finding("encoders", measure, at, ENCODERS, estimate_rate(hits))


def find_judge(world: World, reader: Reader, count: int, seed: int) -> Iterator[Finding]:
    """What it reads from real composites in unseen scenes."""
    rng = np.random.default_rng(seed)
    products = rng.integers(len(world.rows), size=count)
    looks = draw_looks(count, rng, natural=False)
    looks[: count // 2, 2] = TREATMENTS.index("natural")
    read, found, _ = reader.read(render_composites(world.shop, products, looks), products)
    right = read == looks
    for column, axis in enumerate(AXES):
        drawn_evenly = slice(count // 2, None) if axis == "treatment" else slice(None)
        figure = estimate_rate(np.asarray(right[drawn_evenly, column]))
        yield Finding("judge", axis, "real composites", "judge", figure)
    is_natural: Mask = looks[:, 2] == TREATMENTS.index("natural")
    for name, members in (("natural", is_natural), ("treated", ~is_natural)):
        figure = estimate_rate(found[members])
        yield Finding("judge", f"product, {name}", "real composites", "judge", figure)
