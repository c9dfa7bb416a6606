"""`python -m server dataset`: what was logged becomes what `make train` reads."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffusion.encoders import Encoders
from diffusion.training.clicks import load_moments
from features.keys import load_keys
from features.offline import to_vectors, write_part
from features.schema import TIMESTAMP, USER_PROFILE
from features.store import StoreConfig, apply_store
from features.vector import fingerprint
from server.__main__ import main
from server.database import writing
from server.experiments.event_log.keeping import keep
from server.experiments.event_log.opening import open_events
from server.experiments.events import Event, EventKind, Exposure
from server.experiments.pseudonyms import Pseudonyms
from tests.diffusion.tiny import save_checkpoint
from tests.features.pictures import save_pictures, write_jsonl

SHOWN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
LOOKS = {"anna": ("mint", "studio"), "ben": ("rose", "outdoor")}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def home(tmp_path, checkpoint):
    """A shop that knows two shoppers, each of whom saw a lamp that chance had dealt and bought it,
    and one in an image of their own."""
    encoders = Encoders.load(checkpoint / "encoders")
    home = tmp_path / "home"
    store = apply_store(StoreConfig(home=home), fingerprint(encoders.width, encoders.digest))
    write_part(store.config.offline_folder(USER_PROFILE), "known", know(encoders.width))
    save_pictures(tmp_path / "shop", "lamp.png")
    lamp = {"product_id": "lamp", "title": "Lamp", "packshot": "lamp.png"}
    write_jsonl(tmp_path / "shop" / "products.jsonl", lamp)
    name = Pseudonyms(load_keys(home / "keys" / "experiments").lasting).name
    engine = open_events(f"sqlite:///{home / 'events.db'}")
    with writing(engine) as connection:
        keep(connection, list(tell_events(name)), SHOWN.timestamp())
    engine.dispose()
    return home


def know(width):
    columns = {
        USER_PROFILE.key: list(LOOKS),
        TIMESTAMP: pa.array([SHOWN - timedelta(days=1)] * 2, pa.timestamp("us", "UTC")),
        "embedding": to_vectors(np.eye(2, width, dtype=np.float32)),
        "age_band": [""] * 2,
        "gender": [""] * 2,
        "locale": ["en"] * 2,
        "interests": pa.array([[]] * 2, pa.list_(pa.string())),
        "consent": [True] * 2,
    }
    return pa.table(columns, schema=USER_PROFILE.arrow)


def tell_events(name):
    time_s = SHOWN.timestamp()
    for user, look in LOOKS.items():
        for shows in ("generic", "personalized"):
            shown = Exposure(
                f"{user} {shows}", time_s, name(user), shows, "lamp", 3, "faces", look=look
            )
            yield Event(f"seen {user} {shows}", EventKind.RENDER, time_s, shown)
            yield Event(f"bought {user} {shows}", EventKind.PURCHASE, time_s + 1, shown, 20.0)


def run(home, checkpoint, out, *flags):
    told = ["dataset", out, "--catalogue", home.parent / "shop", "--features.home", home]
    return main([str(each) for each in (*told, "--model.checkpoint", checkpoint, *flags)])


def test_who_bought_what_chance_had_dealt_is_what_training_reads(home, checkpoint, capsys):
    out = home.parent / "new" / "outcomes.parquet"
    assert run(home, checkpoint, out) == 0
    told = capsys.readouterr().out
    assert told.startswith("2 images of a look that owes nothing to who saw it, 2 of them liked")
    rows = {row["user_id"]: row for row in pq.read_table(out).to_pylist()}
    assert rows.keys() == LOOKS.keys()
    for number, (user, look) in enumerate(LOOKS.items()):
        assert rows[user]["clicked"] == ["/".join(("lamp", *look, "natural"))]
        assert rows[user]["profile"][number] == 1
    encoders = Encoders.load(checkpoint / "encoders")
    assert len(load_moments(out, encoders.digest, encoders.width)) > 0


def test_what_can_not_be_told_is_said_in_one_line(home, checkpoint, tmp_path, capsys):
    keys = tmp_path / "others"
    keys.write_text("ab" * 32 + "\n")
    empty = tmp_path / "empty"
    for flags, reason in (
        (("--experiments.keys", keys), "no shopper of the feature store liked any of 2"),
        (("--experiments.database", f"sqlite:///{tmp_path / 'new.db'}"), "are another's"),
        (("--features.home", empty), "run `python -m server ingest` first"),
        (("--catalogue", empty / "none.jsonl"), "none.jsonl"),
    ):
        assert run(home, checkpoint, tmp_path / "out.parquet", *flags) == 1
        told = capsys.readouterr().err
        assert "Traceback" not in told
        assert (last := told.splitlines()[-1]).startswith("dataset: ") and reason in last
    assert not (tmp_path / "out.parquet").exists()
