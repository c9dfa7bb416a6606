"""Small real stores for the tests, and a deterministic pair of encoders."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.definitions import to_key
from features.materialize import to_value
from features.reader import FeatureReader
from features.recent_clicks import keep_last
from features.records import LastClicks
from features.schema import View
from features.store import Store, StoreConfig, apply_store
from features.vector import fingerprint

WIDTH = 8
DIGEST = "0123456789abcdef"
LONG_S = 30.0  # more than any read takes


class SmallEncoders:
    """Random projections of an 8 x 8 thumbnail and of letter counts: fixed, without training."""

    width = WIDTH
    digest = DIGEST

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self._image = rng.standard_normal((8 * 8 * 3, WIDTH)).astype(np.float32) / 8
        self._text = rng.standard_normal((256, WIDTH)).astype(np.float32)

    def encode_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = np.linspace(0, images.shape[1] - 1, 8).astype(int)
        columns = np.linspace(0, images.shape[2] - 1, 8).astype(int)
        small = images[:, rows][:, :, columns].reshape(len(images), -1) / 255 - 0.5
        return np.asarray(small @ self._image, np.float32)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        counts = np.stack([np.bincount(list(text.encode()), minlength=256) for text in texts])
        return np.asarray(np.tanh(counts @ self._text), np.float32)


def make_store(home, **options) -> Store:
    return apply_store(StoreConfig(home=home, **options), fingerprint(WIDTH, DIGEST))


def make_reader(store: Store, **options) -> FeatureReader:
    return FeatureReader(store.config, width=WIDTH, encoder_digest=DIGEST, **options)


def write_row(store: Store, view: View, key: str, age_s: float = 0.0, **values) -> None:
    """Straight into the online store, past every check of ours, as another writer would."""
    kinds = dict(view.columns)
    protos = {name: to_value(kinds[name], value) for name, value in values.items()}
    when = datetime.fromtimestamp(time.time() - age_s, UTC)
    row = (to_key(view.key, key), protos, when, None)
    store.online.online_write_batch(store.feast.config, store.view(view), [row], None)


def taste(seed: int) -> list[float]:
    numbers: list[float] = taste_vector(seed).tolist()
    return numbers


def taste_vector(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)


def last_clicks(seed: int = 2) -> LastClicks:
    embeddings = np.stack([taste_vector(seed), taste_vector(seed + 100)])
    return keep_last(embeddings, np.array([0.5, 1], np.float32))


def profile(seed: int = 1, **changes) -> dict:
    values = {
        "embedding": taste(seed),
        "age_band": "25-34",
        "gender": "f",
        "locale": "de",
        "interests": ["sports", "books"],
        "consent": True,
    }
    return values | changes


def recent(seed: int = 2, **changes) -> dict:
    """Of two clicks."""
    clicks = last_clicks(seed)
    values = {
        "recent_embeddings": clicks.embeddings.reshape(-1).tolist(),
        "recent_weights": clicks.weights.tolist(),
    }
    return values | changes


def product(seed: int = 3, **changes) -> dict:
    values = {
        "image_embedding": taste(seed),
        "text_embedding": taste(seed + 1),
        "category": "sports",
        "titles": json.dumps({"en": "ball", "de": "Ball"}),
        "packshot": "/shop/ball.webp",
    }
    return values | changes


def table(view: View, rows: Sequence[dict]) -> pa.Table:
    columns = {name: [row.get(name) for row in rows] for name in view.arrow.names}
    return pa.table(columns, schema=view.arrow)
