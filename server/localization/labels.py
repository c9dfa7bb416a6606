"""What a picture says of having been made by a machine, in the language of who looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diffusion.declarations import DeclarationInvalid
from server.localization.locales import UNKNOWN, read_tag
from server.localization.titles import DEFAULT_LANGUAGE, Title, choose_title

SHIPPED = Path(__file__).with_name("labels.yaml")
MAX_LETTERS = 60


class LabelsInvalid(DeclarationInvalid):
    """A file that can't be used; says which language of it."""


@dataclass(frozen=True, slots=True)
class Labels:
    """A text for each language tag, English among them."""

    texts: Mapping[str, str]

    @classmethod
    def read(cls, path: Path | None = None) -> Labels:
        """Those of a file, or those that come along. Raises LabelsInvalid."""
        path = path or SHIPPED
        told = LabelsInvalid.read(path)
        for tag, text in told.items():
            if not isinstance(tag, str) or read_tag(tag).language == UNKNOWN:
                raise LabelsInvalid(path, str(tag), "is no BCP 47 tag; quote tags such as 'no'")
            if not isinstance(text, str) or not 0 < len(text.strip()) <= MAX_LETTERS:
                raise LabelsInvalid(path, tag, f"want a text of at most {MAX_LETTERS} characters")
            if "\n" in text.strip() or not text.strip().replace("\u200c", "").isprintable():
                raise LabelsInvalid(path, tag, "has characters that can't be set in a line")
        if DEFAULT_LANGUAGE not in told:
            raise LabelsInvalid(path, DEFAULT_LANGUAGE, "is missing: it stands in for the others")
        return cls({tag: text.strip() for tag, text in told.items()})

    def find(self, locale: str) -> Title:
        """The text for a locale, found as a product's title is."""
        return choose_title(self.texts, locale)
