"""What must not be made of a shopper: interests that tell of health, faith, descent and the like.

They are put aside as they are read, so that no prompt, style or report ever has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from features.records import Products, Shopper
from server.safety import DeniedWords

if TYPE_CHECKING:
    from server.pipeline import Reader

SHIPPED = Path(__file__).with_name("sensitive_words.yaml")
LEFT_OUT = "an input was left out, since it may be sensitive"
"""Whose and which is not told."""


class SensitivityObserver(Protocol):
    def withheld(self, category: str) -> None:
        """An interest of that category was put aside."""


class SensitiveWords:
    """Immutable."""

    def __init__(self, words: DeniedWords) -> None:
        # Interests are few, and each is looked through in every request of whoever has it.
        self.find = lru_cache(maxsize=4096)(words.find_categories)

    @classmethod
    def read(cls, path: Path | None = None) -> SensitiveWords:
        """Those of a file, or those that come along. Raises server.safety.SafetyUnusable."""
        return cls(DeniedWords.read(path or SHIPPED))


class DiscreetReader:
    """Reads as another does, and puts sensitive interests aside."""

    def __init__(
        self, reader: Reader, words: SensitiveWords, observer: SensitivityObserver
    ) -> None:
        self.service, self.fingerprint = reader.service, reader.fingerprint
        self._reader, self._words, self._observer = reader, words, observer

    async def read(
        self, user_id: str | None, product_ids: Sequence[str], *, timeout_s: float
    ) -> tuple[Shopper | None, Products]:
        """As the other does."""
        shopper, products = await self._reader.read(user_id, product_ids, timeout_s=timeout_s)
        return shopper and self._withhold(shopper), products

    def _withhold(self, shopper: Shopper) -> Shopper:
        found = {each: self._words.find(each) for each in shopper.interests}
        withheld = tuple(each for each in shopper.interests if found[each])
        if not withheld:
            return shopper
        for category in _each_once(found[each] for each in withheld):
            self._observer.withheld(category)
        kept = tuple(each for each in shopper.interests if not found[each])
        return replace(shopper, interests=kept, withheld=withheld)


def _each_once(found: Iterator[tuple[str, ...]]) -> dict[str, None]:
    return dict.fromkeys(category for categories in found for category in categories)
