"""Scenes are the same for ever, told apart at a glance, and leave room for the product."""

import colorsys
import itertools
import re

import numpy as np
import pytest

from diffusion.palettes import channels, mix
from diffusion.scenes import (
    PALETTES,
    SEASONS,
    SETTINGS,
    Scene,
    Setting,
    draw_scene,
    render_scene,
)

EVERY_SCENE = [(palette, setting) for palette in PALETTES for setting in SETTINGS]


@pytest.fixture(scope="module")
def small() -> dict[tuple[str, str, int], np.ndarray]:
    """Every palette x setting x two seeds at 32 px, as float32 in 0..1."""
    return {
        (palette, setting, seed): render_scene(Scene(palette, setting, seed), 32) / np.float32(255)
        for palette, setting in EVERY_SCENE
        for seed in (1, 2)
    }


def test_there_are_at_least_eight_palettes_and_eight_settings():
    assert len(PALETTES) >= 8 and len(SETTINGS) >= 8


def test_a_name_in_the_tables_is_the_name_of_what_it_names():
    assert all(name == palette.name for name, palette in PALETTES.items())
    assert all(name == setting.name for name, setting in SETTINGS.items())


@pytest.mark.parametrize(("palette", "setting"), [("beige", "night"), ("sand", "moon")])
def test_an_unknown_name_is_refused_with_the_known_ones(palette, setting):
    with pytest.raises(ValueError, match="choose one of (sand|studio)"):
        Scene(palette, setting, 0)


@pytest.mark.parametrize("side", [32, 128, 200])
def test_a_scene_has_the_asked_side_and_three_channels(side):
    picture = render_scene(Scene("mint", "table", 5), side)
    assert picture.shape == (side, side, 3) and picture.dtype == np.uint8


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_same_scene_gives_the_same_pixels_and_another_seed_others(setting):
    first, again = (render_scene(Scene("sky", setting, 3), 64) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, render_scene(Scene("sky", setting, 4), 64))


@pytest.mark.parametrize("setting", SETTINGS)
def test_another_palette_moves_nothing(setting):
    drawn = {draw_scene(Scene(name, setting, 9)) for name in PALETTES}
    assert len(drawn) == len(PALETTES)
    assert len({re.sub("#[0-9a-f]{6}", "", svg) for svg in drawn}) == 1


def test_a_scene_fills_its_frame():
    # On nothing drawn, resvg leaves black: a hole would be darker than any palette.
    for palette, setting in EVERY_SCENE:
        picture = render_scene(Scene(palette, setting, 0), 32)
        darkest = min(channels(PALETTES[palette].night))
        assert picture.max(axis=-1).min() >= darkest


def test_the_settings_of_one_palette_differ_more_than_the_seeds_of_one_setting(small):
    for palette in PALETTES:
        for one, other in itertools.combinations(SETTINGS, 2):
            between = np.abs(small[palette, one, 1] - small[palette, other, 1]).mean()
            assert between > 0.03, (palette, one, other)


def test_the_palette_is_the_one_whose_colours_are_nearest(small):
    """Nearest mean colour among the palettes of the same setting, from the other seed."""
    for palette, setting in EVERY_SCENE:
        seen = small[palette, setting, 2].mean(axis=(0, 1))
        distance = {
            name: np.abs(small[name, setting, 1].mean(axis=(0, 1)) - seen).sum()
            for name in PALETTES
        }
        assert min(distance, key=distance.__getitem__) == palette, setting


@pytest.mark.parametrize("palette", [name for name in PALETTES if name != "graphite"])
def test_every_setting_keeps_the_hue_of_its_palette_by_night_as_well(palette, small):
    def hue(rgb) -> float:
        return colorsys.rgb_to_hsv(*rgb)[0]

    called = hue([value / 255 for value in channels(PALETTES[palette].main)])
    for setting in SETTINGS:
        turn = abs(hue(small[palette, setting, 1].mean(axis=(0, 1))) - called)
        assert min(turn, 1 - turn) < 0.06, setting


def test_graphite_is_grey_everywhere(small):
    for setting in SETTINGS:
        mean = small["graphite", setting, 1].mean(axis=(0, 1))
        assert np.ptp(mean) < 0.08, setting


def suited(season, locale=""):
    return {name for name, setting in SETTINGS.items() if setting.suits(season, locale)}


@pytest.mark.parametrize("season", ["spring", "summer", "autumn"])
def test_all_settings_suit_the_seasons_in_which_trees_have_leaves(season):
    assert suited(season) == set(SETTINGS)


def test_nothing_in_leaf_is_shown_in_winter():
    assert set(SETTINGS) - suited("winter") == {"table", "outdoor"}


@pytest.mark.parametrize("locale", ["fi", "sv-SE", "NB", "et_EE"])
def test_no_stars_are_shown_to_those_whose_summer_nights_are_bright(locale):
    assert set(SETTINGS) - suited("summer", locale) == {"night"}
    assert suited("winter", locale) == suited("winter")


@pytest.mark.parametrize("locale", ["de", "es-MX", "zh-Hant", "fil", ""])
def test_everyone_else_is_shown_what_the_season_allows(locale):
    assert all(suited(season, locale) == suited(season) for season in SEASONS)


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"seasons": ("monsoon",)}, "cellar: no season 'monsoon': one of spring, summer"),
        ({"avoided": (("fi", "yule"),)}, "cellar: no season 'yule'"),
        ({"avoided": (("Finland!", "summer"),)}, "cellar: no language 'Finland!'"),
        ({"avoided": (("fi-FI", "summer"),)}, "cellar: no language 'fi-FI'"),
        (
            {"seasons": ("winter",), "avoided": (("fi", "summer"),)},
            "cellar: is not for summer, so not avoided then either",
        ),
        ({"seasons": ()}, "cellar: suits no season"),
    ],
)
def test_tags_that_say_nothing_are_refused(tags, told):
    with pytest.raises(ValueError, match=told):
        Setting("cellar", SETTINGS["studio"].paint, **tags)


def test_tags_can_be_neither_changed_nor_left_unhashed():
    with pytest.raises(AttributeError):
        SETTINGS["night"].name = "day"  # type: ignore[misc]
    assert len(set(SETTINGS.values())) == len(SETTINGS)


def test_mixing_goes_from_the_first_colour_to_the_second():
    assert mix("#000000", "#ffffff", 0) == "#000000"
    assert mix("#000000", "#ffffff", 1) == "#ffffff"
    assert mix("#204060", "#406080", 0.5) == "#305070"
