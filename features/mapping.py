"""A file that says which features of a shop's own Feast repository are the ones that are read here.

Nothing of the repository is opened; features/repository.py does that, and checks what is named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diffusion.declarations import DeclarationInvalid
from features.schema import PRODUCT_FEATURES, USER_PROFILE, View

Reference = Annotated[str, Field(pattern=r"^[^:\s]+:[^:\s]+$")]
"""A feature as Feast writes it, "view:feature"."""

Name = Annotated[str, Field(min_length=1)]


class MappingInvalid(DeclarationInvalid):
    """A mapping that can't be used, as it is written or since the repository has no such thing."""


class Columns(BaseModel):
    """Of one kind of entity: its key in the repository, and where each column comes from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Name

    def references(self) -> dict[str, str]:
        """By our column, without those that are not there; the one whose age counts comes first."""
        told = self.model_dump(exclude={"key", "title_locale"})
        return {column: reference for column, reference in told.items() if reference is not None}


class ShopperColumns(Columns):
    embedding: Reference
    consent: Reference
    age_band: Reference | None = None
    gender: Reference | None = None
    locale: Reference | None = None
    interests: Reference | None = None


class ProductColumns(Columns):
    """Titles are a JSON object of locale to title, or one `title` in `title_locale`."""

    image_embedding: Reference
    text_embedding: Reference
    packshot: Reference
    category: Reference | None = None
    titles: Reference | None = None
    title: Reference | None = None
    title_locale: Name = "en"

    @model_validator(mode="after")
    def _check_title(self) -> Self:
        if (self.titles is None) == (self.title is None):
            raise ValueError("names either titles or title")
        return self


class FeatureMapping(BaseModel):
    """`fingerprint` says what made the embeddings, unless the feature service has it as a tag.
    Without `product`, products are those of `python -m server ingest`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: Path
    service: Name
    fingerprint: str = ""
    shopper: ShopperColumns
    product: ProductColumns | None = None

    def find(self, view: View) -> Columns | None:
        """What stands for one of our views, if anything does."""
        told = {USER_PROFILE.name: self.shopper, PRODUCT_FEATURES.name: self.product}
        return told.get(view.name)


def read_mapping(path: Path) -> FeatureMapping:
    """Its repository is named from the folder of the file. Raises MappingInvalid."""
    told: dict[str, Any] = MappingInvalid.read(path)
    try:
        mapping = FeatureMapping.model_validate(told)
    except ValidationError as error:
        raise MappingInvalid.given(path, error) from error
    return mapping.model_copy(update={"repository": path.parent / mapping.repository})
