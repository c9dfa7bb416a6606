"""What creatives keep to, as the configuration says."""

import re
import shutil
from itertools import takewhile

import numpy as np
import pytest

from server.commands.creatives import describe_safety, read_rules
from server.commands.start_failed import StartFailed
from server.configuration import Configuration, CreativesSlice, settings
from server.core import ImageRequest
from server.creative import Caption, Kind
from server.imaging import captions, painting
from server.imaging.layout import arrange
from server.imaging.painting import paint
from server.imaging.text import fonts
from server.localization.markets import FILES, SHIPPED
from server.localization.titles import Title
from server.safety import SHIPPED as DENIED_WORDS

THAI = "NotoSansThai-Bold.ttf"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The only fonts that there are, beside one of Latin letters: nothing that is the system's.

    What is chosen among them is remembered by a `Fonts` of its own, not by that of later tests.
    """
    folder = tmp_path / "fonts"
    folder.mkdir()
    shutil.copy(fonts.SHIPPED / THAI, folder)
    latin = fonts.Font(fonts.SHIPPED / "NotoSans-Bold.ttf")
    monkeypatch.setattr(fonts, "load_shipped", lambda: (latin,))
    for module in (captions, painting):
        monkeypatch.setattr(module, "SHIPPED_FONTS", fonts.Fonts())
    load_found = fonts.load_found
    monkeypatch.setattr(
        fonts, "load_found", lambda folders: () if folders == fonts.SYSTEM else load_found(folders)
    )
    return folder


def write(told, kit=""):
    """Warnings for a title in Thai letters, and the picture with it."""
    agreed = read_rules(told).agree(ImageRequest("shoe", locale="en", brand_kit=kit))
    scene = np.full((256, 256, 3), 200, np.uint8)
    title = Title("รองเท้า", "en")
    told = arrange(scene, Caption(title=True), title, agreed.occasion, None, agreed.kit)
    assert (Kind.TITLE in {each.kind for each in told.layout.elements}) == (not told.warnings)
    return told.warnings, paint(scene, told.layout, agreed.kit)


def test_letters_that_no_shipped_font_has_are_drawn_from_the_folders(folder, tmp_path):
    (tmp_path / "acme.yaml").write_text("name: acme")
    (warning,), bare = write(CreativesSlice())
    assert "title is left out" in warning
    with_folder = CreativesSlice(font_folders=(folder,), brand_kits=tmp_path)
    for kit in ("", "acme"):
        warnings, drawn = write(with_folder, kit)
        assert not warnings and not np.array_equal(drawn, bare)


def test_a_folder_that_is_not_there_ends_the_start(tmp_path):
    with pytest.raises(StartFailed, match="font_folders: .*nowhere: no such folder"):
        read_rules(CreativesSlice(font_folders=(tmp_path / "nowhere",)))


def test_a_folder_of_markets_that_has_none_ends_the_start(tmp_path):
    with pytest.raises(StartFailed, match=r"creatives\.markets: .*nowhere: no such folder"):
        read_rules(CreativesSlice(markets=tmp_path / "nowhere"))
    told = CreativesSlice(markets=tmp_path)
    with pytest.raises(StartFailed, match=r"neither markets\.yaml nor festivals\.yaml"):
        read_rules(told)
    (tmp_path / "festivals.yaml").write_text("festivals: []")
    assert not read_rules(told).markets.festivals


def test_what_the_heads_of_shipped_files_tell_to_set_can_be_set():
    names = {f"{slice_name}.{name}" for slice_name, name, _ in settings()}
    slices = "|".join(Configuration.model_fields)
    for path in (*map(SHIPPED.joinpath, FILES), DENIED_WORDS):
        lines = path.read_text("utf-8").splitlines()
        head = " ".join(takewhile(lambda line: line.startswith("#"), lines))
        told = set(re.findall(rf"\b(?:{slices}|localization)\.[a-z_]+\b", head))
        assert told and told <= names, path


def test_folders_are_parted_by_commas():
    told = Configuration.model_validate({"creatives": {"font_folders": "a,b"}})
    assert [str(folder) for folder in told.creatives.font_folders] == ["a", "b"]
    assert not Configuration().creatives.font_folders


def test_a_check_is_told_from_others_by_its_name_and_options():
    def describe(name, **options):
        return describe_safety(CreativesSlice(safety=name, safety_options=options))

    assert describe("") == "" and describe("a:b", x=1, y=2) == describe("a:b", y=2, x=1)
    told = [describe("a:b"), describe("a:c"), describe("a:b", x=1), describe("a:b", x=2)]
    assert len(set(told)) == 4
