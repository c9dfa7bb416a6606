"""Markets: seasons, festivals and what is avoided, read from two YAML files and then frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from diffusion.declarations import DeclarationInvalid, find_fault
from diffusion.palettes import PALETTES
from diffusion.scenery import SETTINGS, Season
from server.localization.locales import known_regions

SHIPPED = Path(__file__).parent
FILES = ("markets.yaml", "festivals.yaml")
WORLD = "001"

Hemisphere = Literal["north", "south", "none"]
# Meteorological seasons of the north by month, from December.
MONTHS: tuple[Season, ...] = ("winter", "spring", "summer", "autumn")


class MarketsInvalid(DeclarationInvalid):
    """A file that can't be used; says which one and which field."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def one_of(known: Mapping[str, object]) -> AfterValidator:
    def check(word: str) -> str:
        if word and word not in known:
            raise ValueError(f"no {word!r}: one of {', '.join(known)}")
        return word

    return AfterValidator(check)


PaletteName = Annotated[str, one_of(PALETTES)]
SettingName = Annotated[str, one_of(SETTINGS)]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[Weekday, ...] = Weekday.__args__  # type: ignore[attr-defined]


class WeekdayRule(_Part):
    """The `number`th such weekday of a month, the last one for -1, and `plus_days` more."""

    month: int = Field(ge=1, le=12)
    weekday: Weekday
    number: int = Field(ge=-1, le=5)
    plus_days: int = Field(default=0, ge=-31, le=31)

    def find(self, year: int) -> date:
        first = date(year, self.month, 1)
        days = [first + timedelta(days) for days in range(31)]
        wanted = WEEKDAYS.index(self.weekday)
        hits = [day for day in days if day.month == self.month and day.weekday() == wanted]
        number = self.number if self.number < 0 else min(self.number, len(hits)) - 1
        return hits[number] + timedelta(self.plus_days)


class Festival(_Part):
    """Days for which creatives are made, and how they look."""

    name: str = Field(min_length=1)
    markets: tuple[str, ...] = Field(min_length=1)
    day: str | None = Field(default=None, pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")
    weekday: WeekdayRule | None = None
    dates: tuple[date, ...] = ()
    days_before: int = Field(default=7, ge=0, le=90)
    days_after: int = Field(default=0, ge=0, le=60)
    palette: PaletteName = ""
    setting: SettingName = ""
    avoided_palettes: tuple[PaletteName, ...] = ()
    avoided_settings: tuple[SettingName, ...] = ()
    avoided: tuple[str, ...] = ()
    reason: str = ""

    @model_validator(mode="after")
    def _have_a_day(self) -> Festival:
        if [bool(self.day), bool(self.weekday), bool(self.dates)].count(True) != 1:
            raise ValueError("want exactly one of day, weekday and dates")
        if self.palette and self.palette in self.avoided_palettes:
            raise ValueError(f"{self.palette} is both wanted and avoided")
        if self.setting and self.setting in self.avoided_settings:
            raise ValueError(f"{self.setting} is both wanted and avoided")
        if self.day:
            date.fromisoformat(f"2025-{self.day}")
        return self

    def find_dates(self, year: int) -> list[date]:
        """Its days in the year before, in this one and in the next."""
        years = (year - 1, year, year + 1)
        if self.day:
            return [date.fromisoformat(f"{y:04d}-{self.day}") for y in years if 0 < y < 10_000]
        if self.weekday:
            return [self.weekday.find(y) for y in years if 0 < y < 10_000]
        return [day for day in self.dates if day.year in years]

    def distance(self, today: date) -> int | None:
        """Days to its nearest day; None where `today` is outside its time."""
        gaps = [(day - today).days for day in self.find_dates(today.year)]
        near = [abs(gap) for gap in gaps if -self.days_after <= gap <= self.days_before]
        return min(near, default=None)

    def is_beyond_table(self, today: date) -> bool:
        return bool(self.dates) and today > max(self.dates) + timedelta(self.days_after)


class Avoidance(_Part):
    """What is kept out of creatives for some markets, and why."""

    markets: tuple[str, ...] = Field(min_length=1)
    words: tuple[str, ...] = ()
    palettes: tuple[PaletteName, ...] = ()
    settings: tuple[SettingName, ...] = ()
    reason: str = Field(min_length=1)


class Hemispheres(_Part):
    south: tuple[str, ...] = ()
    none: tuple[str | tuple[str, ...], ...] = ()

    @property
    def seasonless(self) -> frozenset[str]:
        rows = ((row,) if isinstance(row, str) else row for row in self.none)
        return frozenset(code for row in rows for code in row)


class Markets(_Part):
    """All that is known of markets; an unknown country has the seasons of the north, no festival
    but the world's, and nothing avoided."""

    areas: dict[str, tuple[str, ...]] = {}
    hemispheres: Hemispheres = Hemispheres()
    avoidances: tuple[Avoidance, ...] = ()
    festivals: tuple[Festival, ...] = ()

    @model_validator(mode="after")
    def _know_codes(self) -> Markets:
        used = {code for codes in self.areas.values() for code in codes}
        used |= {*self.hemispheres.south, *self.hemispheres.seasonless}
        used |= {code for avoidance in self.avoidances for code in avoidance.markets}
        used |= {code for festival in self.festivals for code in festival.markets}
        for area in self.areas:
            self._expand(area, ())
        if unknown := used - {WORLD} - self.areas.keys() - known_regions():
            raise ValueError(f"no market or area {', '.join(sorted(unknown))}")
        return self

    def _expand(self, code: str, above: tuple[str, ...]) -> frozenset[str]:
        if code in above:
            raise ValueError(f"area {code} holds itself")
        if code not in self.areas:
            return frozenset((code,))
        parts = (self._expand(part, (*above, code)) for part in self.areas[code])
        return frozenset().union(*parts)

    @cached_property
    def _countries(self) -> dict[str, frozenset[str]]:
        return {area: self._expand(area, ()) for area in self.areas}

    def find_countries(self, market: str) -> frozenset[str]:
        return self._countries.get(market, frozenset((market,)))

    def counts_in(self, codes: tuple[str, ...], market: str) -> bool:
        """Whether what is said of these codes is true of all of a market."""
        if WORLD in codes or market in codes:
            return True
        said = frozenset().union(*(self.find_countries(code) for code in codes))
        return self.find_countries(market) <= said

    def find_hemisphere(self, market: str) -> Hemisphere:
        countries = self.find_countries(market)
        if countries <= frozenset(self.hemispheres.south):
            return "south"
        touched = {*self.hemispheres.south, *self.hemispheres.seasonless}
        return "none" if market == WORLD or countries & touched else "north"

    def find_season(self, market: str, day: date) -> Season | None:
        """None where four seasons say nothing, or where they differ within the market."""
        hemisphere = self.find_hemisphere(market)
        if hemisphere == "none":
            return None
        quarter = day.month % 12 // 3 + (2 if hemisphere == "south" else 0)
        return MONTHS[quarter % 4]

    def find_festival(self, market: str, day: date) -> Festival | None:
        return self._festivals_found(market, day)

    @cached_property
    def _festivals_found(self) -> Callable[[str, date], Festival | None]:
        """Every request asks, and nearly all of them about today."""
        return lru_cache(1024)(self._look_for_festival)

    def _look_for_festival(self, market: str, day: date) -> Festival | None:
        near = [(festival.distance(day), place) for place, festival in enumerate(self.festivals)]
        hits = [
            (gap, place)
            for gap, place in near
            if gap is not None and self.counts_in(self.festivals[place].markets, market)
        ]
        return self.festivals[min(hits)[1]] if hits else None

    def find_avoidances(self, market: str) -> list[Avoidance]:
        """Also those of a part of the market: a creative for an area is seen in all of it."""
        countries = self.find_countries(market)
        return [
            avoidance
            for avoidance in self.avoidances
            if WORLD in avoidance.markets
            or any(self.find_countries(code) & countries for code in avoidance.markets)
        ]

    @classmethod
    def read(cls, folder: Path | None = None) -> Markets:
        """From a shop's folder; a file that it has not is the shipped one.

        Raises MarketsInvalid.
        """
        told: dict[str, Any] = {}
        origin: dict[str, Path] = {}
        for name in FILES:
            path = folder / name if folder and (folder / name).exists() else SHIPPED / name
            part = MarketsInvalid.read(path)
            told |= part
            origin |= dict.fromkeys(part, path)
        try:
            return cls.model_validate(told)
        except ValidationError as error:
            field, reason = find_fault(error)
            part_of = str(next(iter(error.errors()[0]["loc"]), ""))
            path = origin.get(part_of, folder or SHIPPED)
            raise MarketsInvalid(path, field, reason) from error
