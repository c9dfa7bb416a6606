"""Amounts of money as a locale writes them."""

from __future__ import annotations

from decimal import Decimal

from babel.numbers import get_currency_precision, is_currency
from icu4py.messageformat import MessageFormat

from server.creative import Price
from server.localization.locales import find_locale

BILLIONTH = Decimal(1).scaleb(-9)


def format_price(price: Price, locale: str) -> str:
    """CLDR's pattern, digits and symbol: "1.234,50 €" in German, "₹12,34,567.00" in India.

    Raises ValueError for a currency that ISO 4217 does not know, and for an amount that is none.
    """
    currency = price.currency.upper()
    if not is_currency(currency):
        raise ValueError(f"no currency {price.currency!r}: want an ISO 4217 code such as EUR")
    if price.units < 0 or not 0 <= price.nanos < 1_000_000_000:
        raise ValueError("want units of at least 0 and nanos from 0 to 999,999,999")
    amount = price.units + price.nanos * BILLIONTH
    if amount != round(amount, get_currency_precision(currency)):
        raise ValueError(f"{currency} has {get_currency_precision(currency)} decimals, no more")
    # ICU, since Babel has the separators of Arabic figures but not the figures.
    pattern = f"{{amount, number, ::currency/{currency}}}"
    return MessageFormat(pattern, str(find_locale(locale))).format({"amount": amount})
