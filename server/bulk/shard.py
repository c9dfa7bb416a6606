"""Which rows are this run's: by a hash of their names, so that it holds whatever is added."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` of `count`, from 1. A row belongs to exactly one."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From "2/8". Raises ValueError."""
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal()):
            raise ValueError(f"{text!r} is no shard such as 2/8")
        if not 1 <= int(number) <= int(count):
            raise ValueError(f"{text!r}: the first number must be from 1 to the second")
        return cls(int(number), int(count))

    @property
    def is_all(self) -> bool:
        return self.count == 1

    @property
    def suffix(self) -> str:
        """For names of files: "-2-of-8", or nothing where there is but one."""
        return "" if self.is_all else f"-{self.number}-of-{self.count}"

    def has(self, name: str) -> bool:
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.number - 1
