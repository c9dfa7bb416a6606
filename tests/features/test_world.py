"""The catalogue that ships is whole, and its builder takes nothing but the pinned packages."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features.world.artworks import fit, normalise
from features.world.assortment import category_of
from features.world.build import SOURCES, WORLD, main, slug, split_of
from features.world.packages import BuildError, Packages

ROWS = [json.loads(line) for line in (WORLD / "products.jsonl").read_text("utf-8").splitlines()]
LOCALES = json.loads(SOURCES.read_text())["locales"]


def test_there_are_about_560_products_with_unique_ids():
    ids = [row["product_id"] for row in ROWS]
    assert 500 <= len(ids) <= 600 and len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", product_id) for product_id in ids)


def test_every_product_has_a_packshot_that_decodes_with_real_transparency():
    for row in ROWS:
        with Image.open(WORLD / row["packshot"]) as image:
            assert image.size == (512, 512) and image.mode == "RGBA", row["product_id"]
            alpha = np.asarray(image.getchannel("A"))
        assert alpha.max() == 255 and (alpha == 0).mean() > 0.02, row["product_id"]


def test_no_packshot_lies_about_without_a_product():
    lying = {path.name for path in (WORLD / "packshots").iterdir()}
    assert lying == {Path(row["packshot"]).name for row in ROWS}


def test_a_packshot_fills_its_frame_and_touches_no_edge():
    for row in ROWS[::10]:
        with Image.open(WORLD / row["packshot"]) as image:
            seen = np.asarray(image.getchannel("A")) > 40
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) > 440, row["product_id"]
        assert min(rows[0], columns[0]) > 4 and max(rows[-1], columns[-1]) < 507


def test_the_whole_folder_stays_below_eight_megabytes():
    assert sum(path.stat().st_size for path in WORLD.rglob("*") if path.is_file()) < 9 * 2**20
    assert sum(path.stat().st_size for path in (WORLD / "packshots").iterdir()) < 8 * 2**20


def test_titles_exist_in_all_28_locales_and_none_is_empty():
    assert len(LOCALES) == 28
    for row in ROWS:
        assert sorted(row["titles"]) == sorted(row["tags"]) == LOCALES
        assert all(title.strip() == title != "" for title in row["titles"].values())


def test_nearly_every_product_has_tags_in_every_locale():
    empty = sum(not tags for row in ROWS for tags in row["tags"].values())
    assert empty <= 0.001 * len(ROWS) * len(LOCALES)


def test_one_product_in_ten_is_held_out_by_its_id_alone():
    held_out = [row for row in ROWS if row["split"] == "held_out"]
    assert 0.07 < len(held_out) / len(ROWS) < 0.13
    assert all(row["split"] == split_of(row["product_id"]) for row in ROWS)
    assert (split_of("guitar"), split_of("popcorn")) == ("train", "held_out")


def test_every_category_has_enough_products_to_prefer_it():
    categories = [row["category"] for row in ROWS]
    assert all(categories.count(category) >= 5 for category in set(categories))


def test_nothing_unfit_for_a_family_shop_is_sold():
    ids = {row["product_id"] for row in ROWS}
    assert ids.isdisjoint({"bomb", "dagger", "cigarette", "coffin", "syringe", "one-oclock"})
    assert {"guitar", "running-shoe", "teapot", "backpack"} <= ids


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("woman’s boot", "womans-boot"),
        ("T-shirt", "t-shirt"),
        ("piñata", "pinata"),
        ("1st place medal", "1st-place-medal"),
    ],
)
def test_an_id_is_the_english_label_in_kebab_case(label, expected):
    assert slug(label) == expected


def test_the_shelf_comes_from_the_subgroup_unless_the_emoji_is_picked_or_unsold():
    assert category_of("clothing", "jeans") == "clothing"
    assert category_of("place-other", "tent") == "travel"
    assert category_of("tool", "bomb") is None
    assert category_of("time", "one o’clock") is None
    assert category_of("face-smiling", "grinning face") is None
    assert category_of(None, "anything") is None


def test_code_points_agree_without_variation_selectors():
    assert normalise("1F6CD-FE0F") == normalise("1f6cd") == "1f6cd"


def test_a_drawing_is_fitted_into_the_middle_of_its_square():
    drawing = Image.new("RGBA", (300, 300))
    drawing.paste((200, 10, 10, 255), (10, 20, 210, 120))
    alpha = np.asarray(fit(drawing, 128).getchannel("A")) > 127
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    assert (columns[0], columns[-1]) == (4, 123) and (rows[0], rows[-1]) == (34, 93)


def pinned(folder: Path, data: bytes, digest: str) -> Packages:
    (folder / "node_modules/set").mkdir(parents=True)
    (folder / "node_modules/set/a.json").write_bytes(data)
    return Packages(folder, {"set": {"version": "1.2.3", "sha256": {"a.json": digest}}})


def test_a_file_with_its_pinned_checksum_is_read(tmp_path):
    packages = pinned(tmp_path, b"[1]", hashlib.sha256(b"[1]").hexdigest())
    assert packages.read_json("set", "a.json") == [1]


def test_a_file_with_another_checksum_stops_the_build_and_says_which(tmp_path):
    packages = pinned(tmp_path, b"[2]", hashlib.sha256(b"[1]").hexdigest())
    with pytest.raises(BuildError, match=r"set/a\.json has sha256 .* version 1\.2\.3"):
        packages.read("set", "a.json")


def test_a_missing_file_stops_the_build_and_says_what_to_install(tmp_path):
    packages = pinned(tmp_path, b"", "")
    with pytest.raises(BuildError, match=r"install set@1\.2\.3"):
        packages.read("set", "b.json")


def test_the_command_without_packages_ends_with_a_message_and_touches_nothing(tmp_path, capsys):
    assert main(["--npm", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "is missing: install @iconify-json/noto@" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_packages_to_install(capsys):
    assert main(["--packages"]) == 0
    printed = capsys.readouterr().out.split()
    assert len(printed) == 5 and all(re.fullmatch(r".+@\d+\.\d+\.\d+", name) for name in printed)


def test_every_pinned_file_has_a_sha256():
    for pin in json.loads(SOURCES.read_text())["packages"].values():
        assert pin["sha256"]
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in pin["sha256"].values())
