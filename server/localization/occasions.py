"""Market and day become an occasion, and an occasion fills what a scene leaves open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from diffusion.looks import SceneWish
from diffusion.scenery import SEASONS, SETTINGS
from server.creative import Localization
from server.localization.locales import complete, is_right_to_left, known_regions, read_tag
from server.localization.markets import WORLD, Markets


class UnknownMarket(ValueError):
    """Neither an ISO 3166 country nor a UN M49 area."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a market and a day ask for; empty is nothing in particular.

    `language` is the tag that texts are set in, `avoided` are words for a prompt.
    """

    language: str
    region: str
    day: date
    season: str = ""
    festival: str = ""
    palette: str = ""
    setting: str = ""
    avoided_palettes: frozenset[str] = frozenset()
    avoided_settings: frozenset[str] = frozenset()
    avoided: tuple[str, ...] = ()
    is_right_to_left: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalizedScene:
    """The wish as it is served, and what had to be said about it."""

    scene: SceneWish
    warnings: tuple[str, ...] = ()


def is_market(code: str) -> bool:
    return code.upper() in known_regions()


def read_occasion(localization: Localization, locale: str, markets: Markets) -> Occasion:
    """Raises UnknownMarket. A day of None is today in UTC."""
    region = localization.market.upper() or complete(locale).region or WORLD
    if not is_market(region):
        raise UnknownMarket(
            f"no market {localization.market!r}: want a country such as BR or an area such as 419"
        )
    day = localization.day or datetime.now(UTC).date()
    season = markets.find_season(region, day) or ""
    festival = markets.find_festival(region, day)
    avoidances = markets.find_avoidances(region)
    words = [word for avoidance in avoidances for word in avoidance.words]
    words += festival.avoided if festival else ()
    palettes = {name for avoidance in avoidances for name in avoidance.palettes}
    settings = {name for avoidance in avoidances for name in avoidance.settings}
    return Occasion(
        language=str(read_tag(locale)) if locale else "en",
        region=region,
        day=day,
        season=season,
        festival=festival.name if festival else "",
        palette=festival.palette if festival else "",
        setting=festival.setting if festival else "",
        avoided_palettes=frozenset(palettes.union(festival.avoided_palettes if festival else ())),
        avoided_settings=frozenset(settings.union(festival.avoided_settings if festival else ())),
        avoided=tuple(dict.fromkeys(words)),
        is_right_to_left=is_right_to_left(locale),
        warnings=_find_gaps(markets, region, day),
    )


def localize(scene: SceneWish, occasion: Occasion, localization: Localization) -> LocalizedScene:
    """The wish with what the market avoids and, where `occasion` is set, with season and festival
    in what it leaves open. What a request wishes for itself stays, and is warned of."""
    warnings = _find_conflicts(scene, occasion)
    avoided_palettes = occasion.avoided_palettes - {scene.palette}
    avoided_settings = occasion.avoided_settings - {scene.setting}
    words = (word for word in occasion.avoided if word.casefold() not in scene.brief.casefold())
    scene = replace(
        scene,
        avoided_palettes=scene.avoided_palettes | avoided_palettes,
        avoided_settings=scene.avoided_settings | avoided_settings,
        kept_out=(*scene.kept_out, *words),
    )
    if localization.occasion:
        scene = _fill(scene, occasion)
    return LocalizedScene(scene, warnings)


def _fill(scene: SceneWish, occasion: Occasion) -> SceneWish:
    palette, setting = occasion.palette, occasion.setting
    if palette in scene.avoided_palettes:
        palette = ""
    if setting in scene.avoided_settings:
        setting = ""
    filled = replace(
        scene,
        palette=scene.palette or palette,
        setting=scene.setting or setting,
        season=scene.season or occasion.season,
    )
    # The festival's own place is right on its day, whatever the weather.
    unsuited = _find_unsuited(filled.season, occasion.language) - {filled.setting}
    return replace(filled, avoided_settings=filled.avoided_settings | unsuited)


def _find_unsuited(season: str, language: str) -> frozenset[str]:
    if season not in SEASONS:
        return frozenset()
    return frozenset(name for name, place in SETTINGS.items() if not place.suits(season, language))


def _find_conflicts(scene: SceneWish, occasion: Occasion) -> tuple[str, ...]:
    told = []
    if scene.palette in occasion.avoided_palettes:
        told.append(f"the palette {scene.palette} is avoided in {occasion.region}")
    if scene.setting in occasion.avoided_settings:
        told.append(f"the setting {scene.setting} is avoided in {occasion.region}")
    for word in occasion.avoided:
        if word.casefold() in scene.brief.casefold():
            told.append(f"the brief names {word!r}, which is avoided in {occasion.region}")
    return tuple(told)


def _find_gaps(markets: Markets, region: str, day: date) -> tuple[str, ...]:
    return tuple(
        f"the dates of {festival.name} are known until {max(festival.dates).year} only"
        for festival in markets.festivals
        if festival.is_beyond_table(day) and markets.counts_in(festival.markets, region)
    )
