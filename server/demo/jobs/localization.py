"""The third job: one product for markets of eight scripts, and for every place on a screen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from etalage import Caption, Client, Localization, Price, Result
from etalage.creatives import Placement
from server.demo.jobs.source import show_source
from server.demo.page import Figure, Gallery, Section, Shelf
from server.demo.program import SEED, Cast

PRODUCT = "handbag"


@dataclass(frozen=True, slots=True)
class Market:
    """`title` where the catalogue has none in that language; `feast` is what the day is near."""

    locale: str
    country: str
    day: date
    feast: str
    price: Price
    former: Price
    badge: str
    title: str = ""


MARKETS = (
    Market("en-US", "United States", date(2026, 11, 26), "Thanksgiving",
           Price("129.90", "USD"), Price("159.00", "USD"), "−20%"),
    Market("uk-UA", "Ukraine", date(2027, 4, 30), "Orthodox Easter",
           Price("4990", "UAH"), Price("5990", "UAH"), "НОВЕ"),
    Market("ar-AE", "United Arab Emirates", date(2027, 3, 8), "Eid al-Fitr",
           Price("449", "AED"), Price("529", "AED"), "خصم 15%", "حقيبة يد"),
    Market("hi-IN", "India", date(2026, 11, 6), "Diwali",
           Price("7999", "INR"), Price("9999", "INR"), "२०% छूट"),
    Market("th-TH", "Thailand", date(2027, 4, 12), "Songkran",
           Price("3990", "THB"), Price("4690", "THB"), "ลด 15%"),
    Market("zh-CN", "China", date(2027, 1, 28), "Lunar New Year",
           Price("899", "CNY"), Price("1099", "CNY"), "新年特惠"),
    Market("ja-JP", "Japan", date(2027, 5, 1), "Golden Week",
           Price("14800", "JPY"), Price("18500", "JPY"), "20%オフ"),
    Market("ko-KR", "South Korea", date(2026, 9, 22), "Chuseok",
           Price("149000", "KRW"), Price("179000", "KRW"), "추석 특가"),
    Market("pt-BR", "Brazil", date(2027, 6, 8), "Dia dos Namorados",
           Price("649.90", "BRL"), Price("799.90", "BRL"), "−19%"),
    Market("de-DE", "Germany", date(2026, 12, 12), "Christmas",
           Price("119", "EUR"), Price("149", "EUR"), "−20 %"),
)  # fmt: skip

PLACES: tuple[Placement, ...] = ("story", "square", "thumbnail", "banner")
PLACED = ("ja-JP", "ar-AE")


def ask_market(client: Client, market: Market, place: Placement, side: int = 512) -> Result:
    return client.generate(
        PRODUCT,
        locale=market.locale,
        localization=Localization(day=market.day, occasion=True),
        caption=Caption(market.title or True, market.price, market.former, market.badge),
        placement=place,
        longest_side=side,
        model="fast",
        seed=SEED,
        format="webp",
    )


def show(client: Client, cast: Cast, shelf: Shelf) -> Section:
    markets = tuple(_put(shelf, market, ask_market(client, market, "square")) for market in MARKETS)
    places = (
        Gallery(
            tuple(
                _place(shelf, market, place, ask_market(client, market, place, 1024))
                for place in PLACES
            ),
            f"{market.country}: story, square, thumbnail, banner",
            height=250,
        )
        for market in MARKETS
        if market.locale in PLACED
    )
    return Section(
        "localization",
        "Localization",
        "One product goes to every market with its language, money, season and feasts, and fits "
        "every place on a screen. Fonts set the words, the model draws none, and layouts come back "
        "to be edited.",
        (Gallery(markets, height=176), *places),
        show_source(ask_market),
        f"etalage generate --product {PRODUCT} --locale ja-JP --day 2027-05-01 --occasion \\\n"
        "    --title --price 14800JPY --former-price 18500JPY --placement banner -o banner.webp",
    )


def _put(shelf: Shelf, market: Market, result: Result) -> Figure:
    look = ", ".join(result.image.look)
    return shelf.put(
        f"market-{market.locale}",
        result.image.data,
        f"handbag for {market.country}, with title, price and badge",
        f"{market.country} · {market.locale}",
        f"{market.feast}: {look}" if look else market.feast,
    )


def _place(shelf: Shelf, market: Market, placement: Placement, result: Result) -> Figure:
    image = result.image
    return shelf.put(
        f"place-{market.locale}-{placement}",
        image.data,
        f"handbag as a {placement} for {market.country}",
        placement.capitalize(),
        f"{image.width} × {image.height}",
    )
