"""`python -m server ingest` as a merchant meets it: a catalogue with one of each mistake."""

import logging
import subprocess
import sys
from dataclasses import dataclass

import pyarrow.parquet as pq
import pytest

from diffusion.encoders import Encoders
from features.reader import FeatureReader
from features.records import ProductUnknown
from features.schema import PRODUCT_FEATURES
from features.store import StoreConfig
from server.__main__ import main
from tests.diffusion.encoder_families import save_clip
from tests.diffusion.tiny import save_checkpoint
from tests.features.pictures import save_pictures, write_jsonl

BAD = {
    2: {"product_id": "bare", "title": "Bare"},
    3: {"product_id": "ball", "title": "Ball again", "packshot": "book.png"},
    5: {"product_id": "torn", "title": "Torn", "packshot": "torn.png"},
    6: {"product_id": "mute", "title": " ", "packshot": "book.png"},
    7: {"product_id": "late", "title": "Late", "packshot": "book.png", "timestamp": "tomorrow"},
}
GOOD = {
    1: {"product_id": "ball", "title": "Ball", "packshot": "ball.png", "timestamp": "2026-01-02"},
    4: {"product_id": "book", "titles": {"en": "Book", "de": "Buch"}, "packshot": "book.png"},
}
TOLD = [
    "left out: products.jsonl line 2 (bare): has no image",
    "left out: products.jsonl line 3 (ball): has the id of products.jsonl line 1",
    "left out: products.jsonl line 5 (torn): the image does not decode as a picture",
    "left out: products.jsonl line 6 (mute): has an empty title for 'en'",
    "left out: products.jsonl line 7 (late): has a wrong timestamp: 'tomorrow'",
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "shop"
    save_pictures(folder, "ball.png", "book.png")
    (folder / "torn.png").write_bytes((folder / "ball.png").read_bytes()[:60])
    write_jsonl(folder / "products.jsonl", *(row for _, row in sorted((GOOD | BAD).items())))
    return folder


def ingest(shop, home, *flags):
    return subprocess.run(
        [sys.executable, "-m", "server", "ingest", shop, "--features.home", home, *flags],
        capture_output=True,
        text=True,
    )


@dataclass
class Ended:
    returncode: int
    stderr: str


@pytest.fixture
def ingest_here(capsys):
    """The same in this process, which has imported everything already."""

    def run(shop, home, *flags):
        told = ["ingest", shop, "--features.home", home, *flags]
        status = main([str(each) for each in told])
        return Ended(status, capsys.readouterr().err)

    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield run
    logging.captureWarnings(False)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


async def test_every_bad_row_is_named_and_every_good_one_is_in_the_store(
    shop, tmp_path, checkpoint
):
    home = tmp_path / "home"
    ended = ingest(shop, home, "--strict", "--model.checkpoint", checkpoint)
    assert [line for line in ended.stderr.splitlines() if line.startswith("left out")] == TOLD
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert ended.stdout.startswith("2 products in") and "5 problems" in ended.stdout
    config = StoreConfig(home=home)
    offline = pq.read_table(config.offline_folder(PRODUCT_FEATURES))
    assert sorted(offline.column("product_id").to_pylist()) == ["ball", "book"]
    encoders = Encoders.load(checkpoint / "encoders")
    reader = FeatureReader(config, width=encoders.width, encoder_digest=encoders.digest)
    reader.start()
    try:
        book = await reader.read_product("book", timeout_s=30)
        assert book.titles == {"en": "Book", "de": "Buch"}
        assert (await reader.read_product("ball", timeout_s=30)).titles == {"en": "Ball"}
        for lost in ("bare", "torn", "mute", "late"):
            with pytest.raises(ProductUnknown):
                await reader.read_product(lost, timeout_s=30)
    finally:
        await reader.close()


def test_without_strict_the_same_catalogue_is_no_failure_and_encoders_can_be_others(
    shop, tmp_path, ingest_here
):
    clip = save_clip(tmp_path / "clip", width=24)
    flags = ("--model.image_encoder", clip, "--model.text_encoder", clip)
    ended = ingest_here(shop, tmp_path / "home", *flags)
    assert ended.returncode == 0 and ended.stderr.count("left out: ") == len(TOLD)
    folder = StoreConfig(home=tmp_path / "home").offline_folder(PRODUCT_FEATURES)
    for vector in pq.read_table(folder).column("image_embedding").to_pylist():
        assert len(vector) == 24 and sum(x * x for x in vector) == pytest.approx(1, abs=1e-5)


def test_a_matting_model_that_is_none_is_told_in_one_line(shop, tmp_path, checkpoint, ingest_here):
    flags = ("--model.checkpoint", checkpoint, "--enhancement.photo_matting", shop)
    ended = ingest_here(shop, tmp_path / "home", *flags)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert f"ingest: enhancement: {shop} finds no products" in ended.stderr


def test_encoders_that_are_none_are_told_in_one_line(shop, tmp_path, ingest_here):
    flags = ("--model.image_encoder", shop, "--model.text_encoder", shop)
    ended = ingest_here(shop, tmp_path / "home", *flags)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert f"ingest: {shop} for images and {shop} for texts are no encoders" in ended.stderr
