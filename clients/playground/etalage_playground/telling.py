"""From the client's results to JSON: field by field, pictures as data URLs.

What a shop hands back to the server stays out of the page, and a shopper's vector is nowhere: a
server does not tell it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from etalage import EtalageError, Explanation, Image
from etalage_playground.wording import tell_error

LEFT_OUT = {"exposure_token"}


def tell(value: Any) -> Any:
    if isinstance(value, EtalageError):
        return tell_error(value)
    if isinstance(value, Image):
        return _tell_fields(value, "data") | {"src": _to_url(value.data, value.mime_type)}
    if isinstance(value, Explanation):
        shown = _to_url(value.shopper_map, "image/png") if value.shopper_map else None
        return _tell_fields(value) | {"shopper_map": shown}
    if is_dataclass(value):
        return _tell_fields(value)
    if isinstance(value, Mapping):
        return {str(name): tell(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return list(map(tell, value))
    return value.isoformat() if isinstance(value, datetime) else value


def tell_event(value: Any) -> dict[str, Any]:
    """The same with the kind of news: "accepted", "progress", "result", "slate_item", …"""
    kind = re.sub(r"(?<!^)([A-Z])", r"_\1", type(value).__name__).lower()
    return {"kind": kind, **tell(value)}


def _tell_fields(value: Any, *left_out: str) -> dict[str, Any]:
    names = (each.name for each in fields(value))
    return {
        name: tell(getattr(value, name)) for name in names if name not in {*LEFT_OUT, *left_out}
    }


def _to_url(data: bytes, mime_type: str) -> str:
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"
