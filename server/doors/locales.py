"""The syntax of language tags: RFC 5646 (BCP 47), section 2.1, as a regular expression.

The grammar also knows languages of four to eight letters, of which none was ever registered: left
out, since whoever sends "german" should hear of it.
"""

from __future__ import annotations

import re

_IRREGULAR = (
    "en-GB-oed|i-ami|i-bnn|i-default|i-enochian|i-hak|i-klingon|i-lux|i-mingo|i-navajo|i-pwn|i-tao"
    "|i-tay|i-tsu|sgn-BE-FR|sgn-BE-NL|sgn-CH-DE"
)
_LANGTAG = r"""
    [a-z]{2,3}(?:-[a-z]{3}){0,3}                     # language
    (?:-[a-z]{4})?                                   # script
    (?:-(?:[a-z]{2}|[0-9]{3}))?                      # region
    (?P<variants>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*)
    (?P<extensions>(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*)
    (?:-x(?:-[a-z0-9]{1,8})+)?                       # private use
"""
_TAG = re.compile(
    rf"(?:{_LANGTAG}|x(?:-[a-z0-9]{{1,8}})+|{_IRREGULAR})", re.VERBOSE | re.IGNORECASE | re.ASCII
)
_MAX_CHARACTERS = 100


def is_language_tag(text: str) -> bool:
    """Whether the text is a well-formed tag without repeated variants or extensions."""
    match = _TAG.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    if match is None:
        return False
    variants = (match["variants"] or "").lower().split("-")[1:]
    singletons = re.findall(r"-([a-z0-9])(?=-)", (match["extensions"] or "").lower())
    return all(len(parts) == len(set(parts)) for parts in (variants, singletons))
