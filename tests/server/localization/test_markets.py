"""Seasons and festivals on days that are known, and files that a shop has edited."""

from datetime import date

import pytest
from dateutil.easter import EASTER_ORTHODOX, easter

from diffusion.palettes import PALETTES
from diffusion.scenery import SETTINGS
from server.localization.markets import SHIPPED, Markets, MarketsInvalid


@pytest.fixture(scope="module")
def markets():
    return Markets.read()


@pytest.mark.parametrize(
    ("market", "day", "season"),
    [
        ("DE", date(2026, 1, 15), "winter"),
        ("DE", date(2026, 2, 28), "winter"),
        ("DE", date(2026, 3, 1), "spring"),
        ("US", date(2026, 7, 4), "summer"),
        ("JP", date(2026, 11, 30), "autumn"),
        ("AU", date(2026, 1, 15), "summer"),
        ("AR", date(2026, 7, 9), "winter"),
        ("NZ", date(2026, 10, 1), "spring"),
        ("ZA", date(2026, 4, 1), "autumn"),
        ("SG", date(2026, 1, 15), None),
        ("TH", date(2026, 7, 1), None),
        ("150", date(2026, 12, 24), "winter"),
        ("053", date(2026, 12, 24), "summer"),
        ("419", date(2026, 12, 24), None),
        ("001", date(2026, 12, 24), None),
    ],
)
def test_seasons_follow_the_hemisphere(markets, market, day, season):
    assert markets.find_season(market, day) == season


@pytest.mark.parametrize(
    ("market", "day", "festival"),
    [
        ("CN", date(2026, 2, 17), "Lunar New Year"),
        ("KR", date(2027, 2, 7), "Seollal"),
        ("VN", date(2026, 2, 16), "Tết"),
        ("IN", date(2026, 11, 8), "Diwali"),
        ("IN", date(2027, 3, 22), "Holi"),
        ("SA", date(2026, 2, 25), "Ramadan"),
        ("SA", date(2026, 3, 20), "Eid al-Fitr"),
        ("ID", date(2026, 5, 27), "Eid al-Adha"),
        ("DE", date(2026, 4, 5), "Easter"),
        ("GR", date(2026, 4, 12), "Orthodox Easter"),
        ("TH", date(2026, 4, 13), "Songkran"),
        ("JP", date(2026, 5, 3), "Golden Week"),
        ("CN", date(2026, 10, 1), "National Day Golden Week"),
        ("KR", date(2026, 9, 25), "Chuseok"),
        ("CN", date(2026, 11, 11), "Singles' Day"),
        ("US", date(2026, 11, 26), "Thanksgiving"),
        ("US", date(2026, 11, 27), "Black Friday"),
        ("DE", date(2024, 11, 29), "Black Friday"),
        ("US", date(2026, 10, 31), "Halloween"),
        ("AU", date(2026, 12, 24), "Christmas"),
        ("419", date(2026, 12, 24), "Christmas"),
        ("GB", date(2026, 2, 14), "Valentine's Day"),
        ("BR", date(2026, 6, 12), "Dia dos Namorados"),
        ("BR", date(2026, 2, 14), None),
        ("SE", date(2026, 6, 23), "Midsummer"),
        ("FI", date(2026, 12, 31), "New Year"),
        ("FI", date(2027, 1, 1), "New Year"),
        ("DE", date(2026, 8, 1), None),
        ("SA", date(2026, 12, 24), None),
        ("DE", date(2026, 11, 11), None),
    ],
)
def test_festivals_are_where_and_when_they_are(markets, market, day, festival):
    found = markets.find_festival(market, day)
    assert (found and found.name) == festival


def test_the_nearer_of_two_festivals_counts(markets):
    # Eid is the end of Ramadan: from the day when it is nearer than the beginning.
    assert markets.find_festival("SA", date(2026, 3, 10)).name == "Ramadan"
    assert markets.find_festival("SA", date(2026, 3, 16)).name == "Eid al-Fitr"


@pytest.mark.parametrize(("name", "method"), [("Easter", 3), ("Orthodox Easter", EASTER_ORTHODOX)])
def test_the_table_of_easter_is_the_computed_one(markets, name, method):
    festival = next(f for f in markets.festivals if f.name == name)
    assert list(festival.dates) == [easter(year, method) for year in range(2025, 2036)]


def test_moon_festivals_move_by_a_month_at_most(markets):
    for name in ("Lunar New Year", "Diwali", "Chuseok", "Mid-Autumn Festival", "Holi"):
        dates = next(f for f in markets.festivals if f.name == name).dates
        assert [day.year for day in dates] == list(range(2025, 2036))
        assert all(350 <= (b - a).days <= 390 for a, b in zip(dates, dates[1:], strict=False))


def test_islamic_festivals_come_every_354_days(markets):
    for name in ("Ramadan", "Eid al-Fitr", "Eid al-Adha"):
        dates = next(f for f in markets.festivals if f.name == name).dates
        assert all(353 <= (b - a).days <= 356 for a, b in zip(dates, dates[1:], strict=False))
    fasting, feasting = (
        next(f for f in markets.festivals if f.name == name).dates
        for name in ("Ramadan", "Eid al-Fitr")
    )
    assert {(b - a).days for a, b in zip(fasting, feasting, strict=True)} <= {29, 30}


def test_every_avoidance_has_a_reason(markets):
    assert markets.avoidances and all(len(a.reason) > 5 for a in markets.avoidances)
    assert {w for a in markets.find_avoidances("SA") for w in a.words} >= {"alcohol", "pork"}
    assert markets.find_avoidances("US") == []


def test_an_area_avoids_what_a_part_of_it_does(markets):
    assert "swastika" in {w for a in markets.find_avoidances("150") for w in a.words}


def test_a_shop_replaces_one_file_and_keeps_the_other(tmp_path):
    (tmp_path / "festivals.yaml").write_text(
        "festivals: [{name: Opening, markets: [DE], day: 08-01, days_before: 0, palette: mint}]"
    )
    markets = Markets.read(tmp_path)
    opening = markets.find_festival("DE", date(2026, 8, 1))
    assert opening is not None and opening.palette == "mint"
    assert markets.find_festival("DE", date(2026, 12, 24)) is None
    assert markets.find_season("AU", date(2026, 1, 1)) == "summer"


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ("festivals: [{name: X, markets: [QQ], day: 01-01}]", "", "no market or area QQ"),
        ("festivals: [{name: X, markets: [DE], day: 13-01}]", "festivals.0.day", "pattern"),
        ("festivals: [{name: X, markets: [DE], day: 02-30}]", "festivals.0", "day"),
        ("festivals: [{name: X, markets: [DE]}]", "festivals.0", "exactly one"),
        ("festivals: [{name: X, markets: [DE], day: 01-01, palette: red}]", "palette", "no 'red'"),
        ("festivals: [{name: X, markets: [DE], day: 01-01, colour: red}]", "colour", "permitted"),
        (
            "festivals: [{name: X, markets: [DE], day: 01-01, palette: sky, "
            "avoided_palettes: [sky]}]",
            "festivals.0",
            "both wanted and avoided",
        ),
        ("festivals: 5", "festivals", "valid tuple"),
        ("[1, 2]", "", "no mapping"),
        ("a: [", "", "can't be read"),
    ],
)
def test_a_broken_file_is_named_with_its_field(tmp_path, text, field, reason):
    (tmp_path / "festivals.yaml").write_text(text)
    with pytest.raises(MarketsInvalid, match=reason) as caught:
        Markets.read(tmp_path)
    assert field in caught.value.field
    assert str(tmp_path) in caught.value.path


def test_areas_that_hold_themselves_are_refused(tmp_path):
    (tmp_path / "markets.yaml").write_text("areas: {a: [b], b: [a]}")
    with pytest.raises(MarketsInvalid, match="holds itself"):
        Markets.read(tmp_path)


def test_the_shipped_files_speak_the_words_of_scenes(markets):
    assert (SHIPPED / "markets.yaml").is_file()
    for festival in markets.festivals:
        assert festival.palette in PALETTES and festival.setting in SETTINGS
