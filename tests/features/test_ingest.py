"""From a catalogue to a product that the reader finds; what can't go there is reported."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diffusion.cutout import Matte
from features.catalogue import Catalogue
from features.ingest import ingest
from features.packshots import open_packshot, show_product
from features.records import ProductUnknown
from features.schema import PRODUCT_FEATURES
from features.store import StoreConfig, open_store
from features.vector import FingerprintMismatch
from tests.features.pictures import draw_on_clutter, draw_picture, save_pictures, write_jsonl
from tests.features.stores import LONG_S, SmallEncoders, make_reader


@pytest.fixture
def shop(tmp_path):
    names = [f"p{number}.png" for number in range(5)]
    save_pictures(tmp_path / "shop", *names)
    rows = [{"product_id": name[:-4], "title": name, "packshot": name} for name in names]
    write_jsonl(tmp_path / "shop" / "products.jsonl", *rows)
    return tmp_path / "shop"


@pytest.fixture
def config(tmp_path):
    return StoreConfig(home=tmp_path / "home")


def opaque(image):
    return np.asarray(image.convert("RGBA"))


async def read(config, product_id):
    reader = make_reader(open_store(config))
    reader.start()
    try:
        return await reader.read_product(product_id, timeout_s=LONG_S)
    finally:
        await reader.close()


async def test_every_product_can_be_read_with_its_embeddings(shop, config, encoders):
    report = ingest(shop, config, encoders, batch_size=2, progress=False)
    assert (report.num_products, report.problems) == (5, ())
    assert report.exit_code(strict=True) == 0
    found = await read(config, "p3")
    assert found.titles == {"en": "p3.png"} and found.packshot == str(shop / "p3.png")
    shown = show_product(open_packshot(found.packshot))
    assert np.allclose(found.image_embedding, encoders.encode_images(shown[None])[0], atol=1e-6)
    assert np.allclose(found.text_embedding, encoders.encode_texts(["p3.png"])[0], atol=1e-6)


async def test_a_product_before_clutter_is_embedded_without_it(shop, config, encoders):
    cluttered, alpha = draw_on_clutter()
    cluttered.save(shop / "p3.png")
    catalogue = Catalogue(shop, find_matte=lambda rgb: Matte.of(alpha))
    ingest(catalogue, config, encoders, progress=False)
    found = await read(config, "p3")
    assert found.packshot == str(shop / "p3.png"), "the merchant's own picture stays what it is"
    alone, whole = (
        show_product(pixels) for pixels in (np.asarray(draw_picture()), opaque(cluttered))
    )
    expected, other = encoders.encode_images(np.stack([alone, whole]))
    assert np.allclose(found.image_embedding, expected, atol=1e-6)
    assert not np.allclose(found.image_embedding, other, atol=1e-3)


async def test_good_rows_are_written_and_bad_ones_reported(shop, config, encoders):
    (shop / "p1.png").write_bytes(b"broken")
    (shop / "p2.png").unlink()
    report = ingest(shop, config, encoders, progress=False)
    assert report.num_products == 3
    assert [problem.row for problem in report.problems] == [
        "products.jsonl line 2",
        "products.jsonl line 3",
    ]
    assert (report.exit_code(strict=False), report.exit_code(strict=True)) == (0, 1)
    with pytest.raises(ProductUnknown):
        await read(config, "p1")


def test_nothing_good_at_all_is_a_failure_without_strict_too(tmp_path, config, encoders):
    write_jsonl(tmp_path / "products.jsonl", {"product_id": "a", "title": "A"})
    report = ingest(tmp_path, config, encoders, progress=False)
    assert report.num_products == 0 and report.exit_code(strict=False) == 1


async def test_ingesting_again_keeps_history_offline_and_the_newest_online(shop, config, encoders):
    ingest(shop, config, encoders, progress=False)
    rows = [{"product_id": "p0", "title": "renamed", "packshot": "p0.png"}]
    write_jsonl(shop / "products.jsonl", *rows)
    ingest(shop, config, encoders, progress=False)
    assert (await read(config, "p0")).titles == {"en": "renamed"}
    assert pq.read_table(config.offline_folder(PRODUCT_FEATURES)).num_rows == 6


def test_an_ingest_of_the_same_name_replaces_the_one_before(shop, config, encoders):
    for _ in range(2):
        ingest(shop, config, encoders, progress=False, name="shop")
    assert pq.read_table(config.offline_folder(PRODUCT_FEATURES)).num_rows == 5


async def test_an_older_catalogue_does_not_undo_a_newer_one(shop, config, encoders):
    ingest(shop, config, encoders, progress=False)
    row = {"product_id": "p0", "title": "old", "packshot": "p0.png", "timestamp": "2026-01-01"}
    write_jsonl(shop / "products.jsonl", row)
    ingest(shop, config, encoders, progress=False)
    assert (await read(config, "p0")).titles == {"en": "p0.png"}


async def test_a_masked_picture_is_kept_cut_out_under_home(tmp_path, config, encoders):
    draw_picture(alpha=False).save(tmp_path / "ball.jpg")
    shape = {"image_id": 7, "segmentation": [[8, 8, 40, 8, 40, 40, 8, 40]]}
    document = {
        "images": [{"id": 7, "file_name": "ball.jpg", "height": 64, "width": 64}],
        "annotations": [{"image_id": 7, "caption": "ball"}, shape],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    report = ingest(tmp_path / "coco.json", config, encoders, progress=False)
    assert report.num_products == 1
    found = await read(config, "7")
    assert found.packshot.startswith(str(config.home / "packshots"))
    with Image.open(found.packshot) as image:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
    assert alpha[20, 20] == 255 and alpha[50, 50] == 0


def test_other_encoders_are_refused_and_change_nothing(shop, config, encoders):
    ingest(shop, config, encoders, progress=False)
    other = SmallEncoders()
    other.digest = "f" * 16
    with pytest.raises(FingerprintMismatch):
        ingest(shop, config, other, progress=False)
    assert pq.read_table(config.offline_folder(PRODUCT_FEATURES)).num_rows == 5


def test_embeddings_that_are_not_finite_are_reported_and_not_written(shop, config, encoders):
    class Broken(SmallEncoders):
        def encode_texts(self, texts):
            vectors = super().encode_texts(texts)
            vectors[1] = np.nan
            return vectors

    report = ingest(shop, config, Broken(), progress=False)
    assert report.num_products == 4
    assert [problem.product_id for problem in report.problems] == ["p1"]
    assert "not finite" in str(report.problems[0])


def test_a_progress_bar_is_shown_when_asked_for(shop, config, encoders, capsys):
    ingest(shop, config, encoders)
    told = capsys.readouterr().err
    assert "ingest: 100%" in told and "materialize product_features: 100%" in told
