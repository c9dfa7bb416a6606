"""The data set of an adapter: who clicked which picture, and these pictures in any size."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diffusion.taste import embed_shopper
from diffusion.training.pictures import DatasetUnusable, open_pictures, read_dataset, read_picture
from tests.diffusion.training.shop import COLOURS, WIDTH, draw_clicks, write_shop


def read(folder, typical_share=1.0):
    return read_dataset(folder, folder, typical_share)


def rewrite(file, **columns):
    """With other columns; None takes one out."""
    table = pq.read_table(file)
    for name, values in columns.items():
        table = table.drop_columns(name)
        if values is not None:
            table = table.append_column(name, pa.array(values))
    pq.write_table(table, file)


@pytest.fixture
def shop(tmp_path):
    return write_shop(tmp_path / "shop")


def test_a_shopper_comes_with_the_click_that_suits_them_best(shop):
    dataset, clicks = read(shop), draw_clicks(60, seed=1)
    assert (dataset.width, dataset.encoder_digest) == (WIDTH, "digest")
    rows = np.arange(60) % 10 > 0
    assert (dataset.trained.picture == clicks.picture[rows]).all()
    assert dataset.trained.shoppers == pytest.approx(clicks.shoppers[rows])
    assert dataset.held_out.shoppers == pytest.approx(clicks.shoppers[~rows])


def test_last_clicks_move_a_shoppers_vector_as_a_server_would(shop):
    recent = np.random.default_rng(0).normal(size=(60, 8, WIDTH)).astype(np.float32)
    weights = np.ones((60, 8), np.float32)
    rewrite(
        shop / "clicks.parquet",
        recent=recent.reshape(60, -1).tolist(),
        recent_weights=weights.tolist(),
    )
    known = draw_clicks(60, seed=1).shoppers
    expected = embed_shopper(known, recent, weights, np.zeros_like(known))
    rows = np.arange(60) % 10 > 0
    assert read(shop).trained.shoppers == pytest.approx(expected[rows], abs=1e-6)


def test_only_the_most_typical_moments_are_kept(shop):
    some, every = read(shop, 0.4), read(shop)
    assert len(every.trained) == 54 and 20 <= len(some.trained) <= 23
    directions = [d.shoppers / np.linalg.norm(d.shoppers, axis=1, keepdims=True) for d in
                  (some.trained, every.trained)]  # fmt: skip
    likeness = [part.max(axis=1) for part in directions]
    assert likeness[0].min() > np.median(likeness[1])


def test_pictures_that_nobody_clicked_are_left_out(shop):
    rewrite(shop / "clicks.parquet", clicked=[["creative-2"]] * 60)
    dataset = read(shop)
    assert [picture.creative_id for picture in dataset.pictures] == ["creative-2"]
    assert not dataset.trained.picture.any()


def test_titles_are_those_of_the_catalogue_in_english_where_there_is_one(shop):
    assert [p.title for p in read(shop).pictures] == ["red shoe", "red shoe", "drum", "drum"]


def test_a_shops_own_pictures_are_shown(shop):
    shown = open_pictures(read(shop).pictures, (24, 16))
    assert shown.shape == (4, 16, 24, 3) and shown.dtype == np.uint8
    assert [tuple(picture[8, 12].tolist()) for picture in shown] == COLOURS


def test_without_a_folder_of_pictures_they_are_drawn(tmp_path):
    folder = write_shop(tmp_path / "shop", has_pictures=False)
    shown = open_pictures(read(folder).pictures, (48, 32))
    assert shown.shape == (4, 32, 48, 3)
    assert (shown[[0, 1, 3], 17, 24] < 30).all(), "the black product in the middle"
    assert not (shown[0] == shown[1]).all() and not (shown[2] == shown[3]).all()
    assert shown[2, 17, 24].max() > 30, "in its palette's ink"


def test_a_picture_of_other_proportions_shows_its_middle(tmp_path):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert (read_picture(tmp_path / "wide.png", (16, 16)) > 190).mean() > 0.85


def test_what_is_transparent_is_white(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_picture(tmp_path / "clear.png", (8, 8)) == 255).all()


def test_the_digest_follows_clicks_titles_and_pictures(shop):
    digests = [read(shop).digest, read(shop).digest]
    os.utime(shop / "pictures" / "creative-1.png", (1, 1))
    digests.append(read(shop).digest)
    products = (shop / "products.jsonl").read_text().replace("red shoe", "blue shoe")
    (shop / "products.jsonl").write_text(products)
    digests.append(read(shop).digest)
    rewrite(shop / "clicks.parquet", clicked=[["creative-2"]] * 60)
    digests.append(read(shop).digest)
    assert digests[0] == digests[1] and len(set(digests)) == 4


def remove(name):
    return lambda shop: (shop / name).unlink()


def spoil_metadata(shop):
    file = shop / "clicks.parquet"
    pq.write_table(pq.read_table(file).replace_schema_metadata({}), file)


def name_unknown_product(shop):
    rewrite(shop / "creatives.parquet", product_id=["shoe", "shoe", "drum", "kite"])


def spoil_products(shop):
    (shop / "products.jsonl").write_text(json.dumps({"product_id": "shoe"}))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (remove("clicks.parquet"), "clicks.parquet can't be read"),
        (remove("creatives.parquet"), "creatives.parquet can't be read"),
        (remove("products.jsonl"), "products.jsonl can't be read"),
        (remove("pictures/creative-3.png"), "pictures: creative-3.png, .jpg or .webp is missing"),
        (lambda shop: (shop / "clicks.parquet").write_text("?"), "clicks.parquet can't be read"),
        (spoil_metadata, "clicks.parquet is no training set .*width"),
        (lambda shop: rewrite(shop / "clicks.parquet", profile=None), "clicks.parquet .*profile"),
        (
            lambda shop: rewrite(shop / "clicks.parquet", profile=[[1.0, 2.0]] * 60),
            "clicks.parquet is no training set",
        ),
        (
            lambda shop: rewrite(shop / "clicks.parquet", clicked=[["unheard-of"]] * 60),
            "clicks.parquet .*unheard-of",
        ),
        (
            lambda shop: rewrite(shop / "clicks.parquet", split=["held_out"] * 60),
            "clicks.parquet: split",
        ),
        (name_unknown_product, "products.jsonl: kite is missing"),
        (spoil_products, "products.jsonl can't be read: KeyError.*title"),
        (
            lambda shop: rewrite(shop / "creatives.parquet", product_id=None),
            "creatives.parquet: .*product_id",
        ),
    ],
)
def test_what_is_no_data_set_is_refused_with_the_file_named(shop, spoil, named):
    spoil(shop)
    with pytest.raises(DatasetUnusable, match=named):
        read(shop)


def test_a_picture_that_does_not_decode_is_named(shop):
    (shop / "pictures" / "creative-1.png").write_bytes(b"no picture")
    with pytest.raises(DatasetUnusable, match="creative-1.png"):
        open_pictures(read(shop).pictures, (16, 16))


def test_a_creative_that_says_nothing_of_its_look_can_t_be_drawn(tmp_path):
    folder = write_shop(tmp_path / "shop", has_pictures=False)
    rewrite(folder / "creatives.parquet", palette=None)
    with pytest.raises(DatasetUnusable, match="creatives.parquet: creative-0: 'palette'"):
        open_pictures(read(folder).pictures, (16, 16))
