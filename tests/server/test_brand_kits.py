"""Brand kits: read, refused by file and field, and kept to."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from diffusion.looks import SceneWish
from diffusion.palettes import PALETTES
from server.brand_kits import BrandKit, BrandKitInvalid, KitForbids, apply_kit, load_kits
from server.creative import Caption, Kind, Placement
from server.imaging.layout import arrange
from server.imaging.layout_checks import check_layout
from server.imaging.painting import paint
from server.imaging.text import fonts
from server.imaging.text.fonts import SHIPPED
from server.localization.titles import Title
from tests.server.imaging.captioned import (
    SIZES,
    arrange_caption,
    by_kind,
    contains,
    noise,
    occasion,
    overlaps,
    wall,
)

KIT = """
name: aurora
colours: {ink: "#1b2a41", paper: "#fffaf2", accent: "#c2410c"}
palettes: {preferred: [sand, coral], banned: [graphite], banned_colours: ["#5aa5ee"]}
fonts: {files: [own.ttf], title: Noto Sans Hebrew Bold}
logo: {file: logo.svg, on_dark: white.png, corner: bottom_end}
denied_words: [cheap, knock-off]
"""
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 50">'
    '<rect x="10" y="10" width="80" height="30" fill="#c2410c"/></svg>'
)
CORNERS = ("top_start", "top_end", "bottom_start", "bottom_end")


@pytest.fixture
def folder(tmp_path):
    shutil.copy(SHIPPED / "NotoSansHebrew-Bold.ttf", tmp_path / "own.ttf")
    (tmp_path / "logo.svg").write_text(LOGO)
    Image.new("RGBA", (80, 30), (255, 255, 255, 255)).save(tmp_path / "white.png")
    (tmp_path / "aurora.yaml").write_text(KIT)
    return tmp_path


@pytest.fixture
def kit(folder):
    return load_kits(folder)["aurora"]


def test_a_folder_of_kits_is_read_by_name(folder):
    (folder / "b.yaml").write_text("name: plain")
    kits = load_kits(folder)
    assert set(kits) == {"aurora", "plain"}
    assert kits["aurora"].colours.accent == "#c2410c"
    assert kits["plain"] == BrandKit(name="plain", folder=folder)
    assert load_kits(None) == {}


def test_a_kit_may_name_a_font_of_the_folders_that_all_share(folder, monkeypatch):
    shared = folder / "fonts"
    shared.mkdir()
    (folder / "own.ttf").rename(shared / "shared.ttf")
    (folder / "aurora.yaml").write_text("name: a\nfonts: {title: Noto Sans Hebrew Bold}")
    monkeypatch.setattr(fonts, "load_shipped", lambda: ())
    with pytest.raises(BrandKitInvalid, match="no font 'Noto Sans Hebrew Bold'"):
        load_kits(folder)
    kit = load_kits(folder, (shared,))["a"]
    font = kit.typefaces.find("Noto Sans Hebrew Bold")
    assert font is not None and font.path == shared / "shared.ttf"


def test_a_kit_is_frozen(kit):
    with pytest.raises(ValidationError, match="frozen"):
        kit.name = "other"


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        (("name: aurora", "name: Not A Name"), "name", "pattern"),
        (("name: aurora", "names: aurora"), "name", "Field required"),
        (('"#1b2a41"', "navy"), "colours.ink", "pattern"),
        (("banned: [graphite]", "banned: [grey]"), "palettes.banned.0", "no 'grey'"),
        (("banned: [graphite]", "banned: [sand]"), "palettes", "both preferred and banned"),
        (
            ("preferred: [sand, coral], banned: [graphite]", f"banned: [{', '.join(PALETTES)}]"),
            "palettes",
            "every palette is banned",
        ),
        (("[own.ttf]", "[none.ttf]"), "fonts.files", "none.ttf"),
        (("[own.ttf]", "[logo.svg]"), "fonts.files", "logo.svg"),
        (("Noto Sans Hebrew Bold", "Comic"), "fonts.title", "no font 'Comic'"),
        (("file: logo.svg", "file: none.svg"), "logo.file", "none.svg"),
        (("file: logo.svg", "file: own.ttf"), "logo.file", "no PNG or SVG"),
        (("on_dark: white.png", "on_dark: own.ttf"), "logo.on_dark", "no PNG or SVG"),
        (("bottom_end", "middle"), "logo.corner", "top_start"),
        (("corner: bottom_end", "height: 3"), "logo.height", "0.25"),
        (("denied_words:", "folder: /tmp\ndenied_words:"), "folder", "is no field"),
        (("name: aurora", "- aurora"), "", "can't be read"),
        ((KIT, "just words"), "", "no mapping"),
    ],
)
def test_a_broken_kit_is_named_with_its_field(folder, change, field, reason):
    assert change[0] in KIT
    (folder / "aurora.yaml").write_text(KIT.replace(*change))
    with pytest.raises(BrandKitInvalid, match=reason) as caught:
        load_kits(folder)
    assert caught.value.field == field
    assert caught.value.path.endswith("aurora.yaml")


def test_a_logo_that_is_empty_or_vast_is_refused(folder):
    Image.new("RGBA", (9, 9)).save(folder / "white.png")
    with pytest.raises(BrandKitInvalid, match="nothing can be seen"):
        load_kits(folder)
    (folder / "white.png").write_bytes(bytes(5 * 1024 * 1024))
    with pytest.raises(BrandKitInvalid, match="larger than"):
        load_kits(folder)


def test_a_logo_with_text_is_refused(folder):
    (folder / "logo.svg").write_text(LOGO.replace("<rect", "<text>A</text><rect"))
    with pytest.raises(BrandKitInvalid, match="want outlines"):
        load_kits(folder)


def test_two_kits_of_one_name_are_refused(folder):
    (folder / "b.yaml").write_text("name: aurora")
    with pytest.raises(BrandKitInvalid, match="another kit's name"):
        load_kits(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BrandKitInvalid, match="is no folder"):
        load_kits(tmp_path / "kits")


def test_banned_palettes_and_those_near_banned_colours_are_avoided(kit):
    scene = apply_kit(SceneWish(avoided_palettes=frozenset({"rose"}), avoided="cats"), kit)
    assert kit.palettes.all_banned == {"graphite", "sky"}
    assert scene.avoided_palettes == PALETTES.keys() - {"sand", "coral"}
    assert (scene.avoided, scene.kept_out) == ("cats", ("cheap", "knock-off"))


def test_a_kit_without_preferences_only_bans(kit):
    plain = kit.model_copy(update={"palettes": kit.palettes.model_copy(update={"preferred": ()})})
    assert apply_kit(SceneWish(), plain).avoided_palettes == {"graphite", "sky"}


def test_preferences_give_way_where_they_would_leave_nothing(kit):
    wish = SceneWish(avoided_palettes=frozenset({"sand", "coral"}))
    avoided = apply_kit(wish, kit).avoided_palettes
    assert avoided == {"sand", "coral", "graphite", "sky"}


def test_a_wish_within_the_rules_stays(kit):
    assert apply_kit(SceneWish(palette="mint"), kit).palette == "mint"


def test_a_wish_for_a_banned_palette_is_refused(kit):
    with pytest.raises(KitForbids, match="aurora bans the palette sky"):
        apply_kit(SceneWish(palette="sky"), kit)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A CHEAP bag", ("cheap",)),
        ("cheaper bags", ()),
        ("no knock-off!", ("knock-off",)),
        ("no knock off", ("knock-off",)),
        ("", ()),
    ],
)
def test_denied_words_are_found_as_words(kit, text, found):
    assert kit.find_denied(text) == found


def test_an_svg_logo_is_cut_to_what_is_seen(kit):
    height, width = kit.logo_pixels.shape[:2]
    assert width / height == pytest.approx(80 / 30, rel=0.02)
    assert tuple(kit.logo_pixels[height // 2, width // 2]) == (0xC2, 0x41, 0x0C, 255)


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("placement", [Placement.SQUARE, Placement.STORY, Placement.BANNER])
@pytest.mark.parametrize("language", ["en", "ar"])
def test_the_logo_stands_in_its_corner_clear_of_everything(kit, corner, placement, language):
    kit = kit.model_copy(update={"logo": kit.logo.model_copy(update={"corner": corner})})
    arrangement = arrange_caption(language, placement, kit=kit)
    layout = arrangement.layout
    found = by_kind(layout)
    logo = found.pop(Kind.LOGO)
    assert contains(layout.safe_area, logo.box)
    for element in found.values():
        assert not overlaps(logo.box, element.box), element
    edge, _, side = corner.partition("_")
    is_right = (side == "end") != (language == "ar")
    others = [element.box for kind, element in found.items() if kind is not Kind.PRODUCT]
    if placement is not Placement.BANNER:
        safe = layout.safe_area
        reached = logo.box.right - safe.right if is_right else logo.box.left - safe.left
        assert reached == pytest.approx(0, abs=1e-6)
        middle = layout.height / 2
        assert (logo.box.bottom < middle) == (edge == "top")
    else:
        tops = [box.top for box in others]
        assert (logo.box.bottom <= min(tops)) == (edge == "top")


def test_a_thumbnail_has_no_logo(kit):
    assert Kind.LOGO not in by_kind(arrange_caption(placement=Placement.THUMBNAIL, kit=kit).layout)


def test_the_version_that_stands_out_is_drawn(kit):
    for colour, drawn in (((255, 255, 255), (0xC2, 0x41, 0x0C)), ((30, 10, 60), (255, 255, 255))):
        picture = wall(SIZES[Placement.SQUARE], colour)
        layout = arrange_caption(pixels=picture, kit=kit).layout
        only = replace(layout, elements=(by_kind(layout)[Kind.LOGO],))
        painted = paint(picture, only, kit)
        box = only.elements[0].box
        middle = round(box.top + box.height / 2), round(box.left + box.width / 2)
        assert tuple(painted[middle]) == drawn
        outside = np.ones(picture.shape[:2], bool)
        clear = kit.logo.clear_space * box.height / (1 + 2 * kit.logo.clear_space)
        outside[
            int(box.top + clear) - 1 : int(box.bottom - clear) + 2,
            int(box.left + clear) - 1 : int(box.right - clear) + 2,
        ] = False
        assert np.array_equal(painted[outside], picture[outside])


def test_words_wear_the_kits_colours_and_fonts(kit):
    told = Caption(title=True, badge="חדש")
    picture = wall(SIZES[Placement.SQUARE])
    layout = arrange(
        picture, told, Title("תיק עור", "he"), occasion("he"), Placement.SQUARE, kit
    ).layout
    found = by_kind(layout)
    assert found[Kind.TITLE].style.colour == "#1b2a41"
    assert found[Kind.TITLE].style.font == "Noto Sans Hebrew Bold"
    assert found[Kind.BADGE].style.background == "#c2410c"
    assert check_layout(layout, SIZES[Placement.SQUARE], kit) == []


def test_a_plate_is_of_the_kits_paper(kit):
    layout = arrange_caption(pixels=noise(SIZES[Placement.SQUARE], 120, 256), kit=kit).layout
    assert by_kind(layout)[Kind.TITLE].style.background.startswith("#fffaf2")
