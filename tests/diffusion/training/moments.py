"""A small training set, as `features.training_set` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diffusion.scenes import PALETTES, SETTINGS
from diffusion.taste import NUM_RECENT
from diffusion.training.clicks import CREATIVES as CREATIVES_FILE
from diffusion.treatments import TREATMENTS

CREATIVES = [("a", 1, 2, 3), ("b", 0, 7, 0), ("c", 4, 4, 4)]
PROFILES = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]], np.float32)
VECTORS = np.array([[0.9, 0.1, 0, 0], [-0.5, 0.5, 0, 0], [0, 0, 1, 0]], np.float32)


def write_training_set(
    folder: Path,
    width: int,
    digest: str = "digest",
    weights: Sequence[float] = (1.0, 1.0, 1.0),
) -> Path:
    """Three moments of three shoppers, of whom the last is held out."""
    pad = np.zeros((3, width - 4), np.float32)
    profiles, vectors = np.hstack([PROFILES, pad]), np.hstack([VECTORS, pad])
    axes = (list(PALETTES), list(SETTINGS), list(TREATMENTS))
    columns = zip(*(look for _, *look in CREATIVES), strict=True)
    looks = [[axis[i] for i in column] for axis, column in zip(axes, columns, strict=True)]
    creatives = {
        "creative_id": [c[0] for c in CREATIVES],
        "product_id": ["shoe"] * 3,
        "palette": looks[0],
        "setting": looks[1],
        "treatment": looks[2],
        "seed": [0, 1, 0],
        "embedding": pa.array(vectors.tolist(), pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(creatives), folder / CREATIVES_FILE)
    recent = np.zeros((NUM_RECENT, width), np.float32)
    recent[0] = vectors[0]
    recent_weights = [1.0] + [0.0] * (NUM_RECENT - 1)
    floats = pa.list_(pa.float32())
    moments = {
        "user_id": ["anna", "ben", "cara"],
        "event_timestamp": [datetime(2026, 1, 1, tzinfo=UTC)] * 3,
        "split": ["train", "train", "held_out"],
        "profile": pa.array(profiles.tolist(), floats),
        "recent": pa.array([recent.flatten().tolist(), None, None], floats),
        "recent_weights": pa.array([recent_weights, None, None], floats),
        "clicked": [["b", "a", "c"], ["c", "b"], ["a"]],
        "clicked_weights": pa.array([[1.0, 1.0, 2.0], [1.0, 1.0], [1.0]], floats),
        "weight": pa.array(weights, pa.float32()),
    }
    told = {"fingerprint": "print", "encoder_digest": digest, "width": str(width)}
    file = folder / "clicks.parquet"
    pq.write_table(pa.table(moments).replace_schema_metadata(told), file)
    return file
