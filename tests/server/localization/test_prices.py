"""Amounts of money against what CLDR writes."""

import pytest

from server.creative import Price
from server.localization.prices import format_price

NBSP, NARROW, RLM = "\u00a0", "\u202f", "\u200f"


@pytest.mark.parametrize(
    ("locale", "price", "written"),
    [
        ("en-US", Price("USD", 1234, 500_000_000), "$1,234.50"),
        ("de", Price("EUR", 1234, 500_000_000), f"1.234,50{NBSP}€"),
        ("fr", Price("EUR", 1234, 500_000_000), f"1{NARROW}234,50{NBSP}€"),
        ("pt-BR", Price("BRL", 1234, 500_000_000), f"R${NBSP}1.234,50"),
        ("sv", Price("SEK", 1234), f"1{NBSP}234,00{NBSP}kr"),
        ("ru", Price("RUB", 1234), f"1{NBSP}234,00{NBSP}₽"),
        ("en-IN", Price("INR", 1234567), "₹12,34,567.00"),
        ("hi", Price("INR", 1234567), "₹12,34,567.00"),
        ("th", Price("THB", 1234), "฿1,234.00"),
        ("ja", Price("JPY", 12345), "￥12,345"),
        ("ko", Price("KRW", 12345), "₩12,345"),
        ("zh-TW", Price("JPY", 12345), "¥12,345"),
        ("ar-EG", Price("EGP", 1234, 500_000_000), f"{RLM}١٬٢٣٤٫٥٠{NBSP}ج.م.{RLM}"),
        ("ar-AE", Price("AED", 1234, 500_000_000), f"{RLM}1,234.50{NBSP}د.إ.{RLM}"),
        ("fa", Price("IRR", 1234), f"\u200eریال{NBSP}۱٬۲۳۴"),
        ("bn-BD", Price("BDT", 1234567), "১২,৩৪,৫৬৭.০০৳"),
    ],
)
def test_a_price_is_written_as_its_locale_does(locale, price, written):
    assert format_price(price, locale) == written


def test_small_letters_of_a_currency_are_taken():
    assert format_price(Price("eur", 5), "en") == "€5.00"


@pytest.mark.parametrize("currency", ["", "EURO", "XYZ", "€", "12"])
def test_an_unknown_currency_is_told(currency):
    with pytest.raises(ValueError, match="no currency"):
        format_price(Price(currency, 5), "en")


@pytest.mark.parametrize("price", [Price("EUR", -1), Price("EUR", 1, -5), Price("EUR", 1, 10**9)])
def test_an_amount_out_of_range_is_told(price):
    with pytest.raises(ValueError, match="units of at least 0"):
        format_price(price, "en")


def test_an_amount_finer_than_its_currency_is_told_not_rounded():
    with pytest.raises(ValueError, match="JPY has 0 decimals"):
        format_price(Price("JPY", 5, 500_000_000), "ja")
    with pytest.raises(ValueError, match="EUR has 2 decimals"):
        format_price(Price("EUR", 5, 999_000_000), "de")


def test_the_largest_amount_is_exact():
    assert (
        format_price(Price("USD", 2**63 - 1, 990_000_000), "en") == "$9,223,372,036,854,775,807.99"
    )


def test_an_unknown_locale_is_written_as_english():
    assert format_price(Price("USD", 1234), "tlh") == "$1,234.00"
