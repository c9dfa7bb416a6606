"""What market and day make of a wish."""

from datetime import UTC, date, datetime

import pytest

from diffusion.looks import SceneWish
from server.creative import Localization
from server.localization.markets import Markets
from server.localization.occasions import UnknownMarket, is_market, localize, read_occasion

NEW_YEAR = date(2026, 2, 17)


@pytest.fixture(scope="module")
def markets():
    return Markets.read()


def read(markets, locale="en", market="", day=date(2026, 8, 1)):
    return read_occasion(Localization(market, day), locale, markets)


def test_the_market_is_that_of_the_locale_unless_it_is_named(markets):
    assert read(markets, "pt-BR").region == "BR"
    assert read(markets, "pt").region == "BR"
    assert read(markets, "ja").region == "JP"
    assert read(markets, "en", "au").region == "AU"
    assert read(markets, "xx").region == "001"


@pytest.mark.parametrize("market", ["QQ", "ZZ", "Germany", "000", "🇩🇪"])
def test_an_unknown_market_is_told(markets, market):
    assert not is_market(market)
    with pytest.raises(UnknownMarket, match=f"no market '{market}'"):
        read(markets, market=market)


def test_no_day_is_today(markets):
    before = datetime.now(UTC).date()
    assert before <= read(markets, day=None).day <= datetime.now(UTC).date()


@pytest.mark.parametrize(
    ("locale", "is_mirrored"),
    [("ar", True), ("he-IL", True), ("fa", True), ("ur", True), ("pa-PK", True), ("pa", False)]
    + [("en", False), ("ja", False), ("az", False), ("az-Arab", True), ("", False)],
)
def test_scripts_from_the_right_are_known(markets, locale, is_mirrored):
    assert read(markets, locale).is_right_to_left == is_mirrored


def test_an_occasion_fills_what_is_open(markets):
    wanted = Localization("CN", NEW_YEAR, occasion=True)
    occasion = read_occasion(wanted, "zh", markets)
    scene = localize(SceneWish(), occasion, wanted).scene
    assert (scene.palette, scene.setting, scene.season) == ("coral", "festive", "winter")
    assert "graphite" in scene.avoided_palettes


def test_an_occasion_leaves_what_is_wished(markets):
    wanted = Localization("CN", NEW_YEAR, occasion=True)
    wish = SceneWish("mint", "studio", "summer", brief="a bag")
    scene = localize(wish, read_occasion(wanted, "zh", markets), wanted).scene
    assert (scene.palette, scene.setting, scene.season) == ("mint", "studio", "summer")
    assert scene.brief == "a bag"


def test_without_an_occasion_only_avoidances_are_added(markets):
    wanted = Localization("SA", date(2026, 3, 20))
    scene = localize(SceneWish(avoided="cats"), read_occasion(wanted, "ar", markets), wanted).scene
    assert (scene.palette, scene.setting, scene.season) == ("", "", "")
    assert scene.avoided == "cats" and {"alcohol", "pork"} <= set(scene.kept_out)


def test_a_wish_wins_over_an_avoidance_and_is_warned_of(markets):
    wanted = Localization("CN", NEW_YEAR)
    wish = SceneWish(palette="graphite", brief="one of our Clocks")
    localized = localize(wish, read_occasion(wanted, "zh", markets), wanted)
    assert localized.scene.palette == "graphite"
    assert "graphite" not in localized.scene.avoided_palettes
    assert "clocks" not in localized.scene.kept_out
    assert any("graphite is avoided in CN" in warning for warning in localized.warnings)
    assert any("'clocks'" in warning for warning in localized.warnings)


def test_a_festival_never_brings_what_a_request_avoids(markets):
    wanted = Localization("CN", NEW_YEAR, occasion=True)
    wish = SceneWish(avoided_palettes=frozenset({"coral"}), avoided_settings=frozenset({"festive"}))
    scene = localize(wish, read_occasion(wanted, "zh", markets), wanted).scene
    assert (scene.palette, scene.setting) == ("", "")


def test_places_out_of_season_are_avoided(markets):
    wanted = Localization("DE", date(2026, 1, 20), occasion=True)
    scene = localize(SceneWish(), read_occasion(wanted, "de", markets), wanted).scene
    assert scene.avoided_settings >= {"outdoor", "table"}
    summer = Localization("FI", date(2026, 7, 20), occasion=True)
    scene = localize(SceneWish(), read_occasion(summer, "fi", markets), summer).scene
    assert "night" in scene.avoided_settings and "outdoor" not in scene.avoided_settings


def test_a_festivals_own_place_is_not_out_of_season(markets):
    wanted = Localization("IN", date(2026, 3, 4), occasion=True)
    wish = SceneWish(setting="outdoor", season="winter")
    scene = localize(wish, read_occasion(wanted, "hi", markets), wanted).scene
    assert "outdoor" not in scene.avoided_settings


def test_a_day_beyond_the_tables_is_warned_of(markets):
    late = read(markets, "zh", day=date(2040, 2, 12))
    assert late.festival == ""
    assert "the dates of Lunar New Year are known until 2035 only" in late.warnings
    assert read(markets, "zh", day=NEW_YEAR).warnings == ()


def test_the_same_day_is_the_same_occasion(markets):
    assert read(markets, "ja", day=NEW_YEAR) == read(markets, "ja", day=NEW_YEAR)
