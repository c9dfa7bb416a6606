"""Names to begin with: a server lists neither its products nor its shoppers, and need not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

SUGGESTIONS = Path(__file__).with_name("suggestions.json")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An id, and what is said of it."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Suggestions:
    products: tuple[Suggestion, ...]
    shoppers: tuple[Suggestion, ...]


def read_suggestions(path: Path) -> Suggestions:
    """Raises OSError, and ValueError that names the file and what is wrong in it."""
    try:
        told = json.loads(path.read_text("utf-8"))
        lists = (told["products"], told["shoppers"])
        return Suggestions(*(tuple(Suggestion(**each) for each in some) for some in lists))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        wanted = '{"products": [{"id": …, "text": …}], "shoppers": […]}'
        raise ValueError(f"{path}: expected {wanted}: {error}") from error
