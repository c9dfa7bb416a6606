"""Files that say which features of a shop's repository are read."""

import pytest
import yaml

from features.mapping import MappingInvalid, read_mapping
from features.schema import PRODUCT_FEATURES, USER_PROFILE, USER_RECENT

SHOPPER = {"key": "customer_id", "embedding": "taste:vector", "consent": "account:may_personalize"}
PRODUCT = {
    "key": "sku",
    "image_embedding": "media:image_vector",
    "text_embedding": "media:title_vector",
    "packshot": "media:main_image",
    "title": "item:name",
}
MAPPING = {"repository": "repo", "service": "recommender_v3", "shopper": SHOPPER}


def write(folder, **changes):
    path = folder / "mapping.yaml"
    path.write_text(yaml.safe_dump({**MAPPING, **changes}))
    return path


def test_columns_are_told_by_our_names_the_one_whose_age_counts_first(tmp_path):
    mapping = read_mapping(write(tmp_path, product=PRODUCT))
    assert mapping.repository == tmp_path / "repo"
    shopper, product = mapping.find(USER_PROFILE), mapping.find(PRODUCT_FEATURES)
    assert shopper is not None and product is not None and mapping.find(USER_RECENT) is None
    told = {"embedding": "taste:vector", "consent": "account:may_personalize"}
    assert list(shopper.references().items()) == list(told.items())
    assert next(iter(product.references())) == "image_embedding"
    assert "title_locale" not in product.references()
    assert read_mapping(write(tmp_path)).find(PRODUCT_FEATURES) is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"service": ""}, "service: String should have at least 1 character"),
        ({"shopper": {**SHOPPER, "embedding": "vector"}}, "shopper.embedding: String should match"),
        ({"shopper": {"key": "k", "embedding": "a:b"}}, "shopper.consent: Field required"),
        ({"shopper": {**SHOPPER, "shoe_size": "a:b"}}, "shopper.shoe_size: Extra inputs are not"),
        ({"product": {**PRODUCT, "titles": "a:b"}}, "product: .*names either titles or title"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(tmp_path, changes, told):
    with pytest.raises(MappingInvalid, match=told):
        read_mapping(write(tmp_path, **changes))


def test_a_file_that_is_not_there_or_no_mapping_is_told(tmp_path):
    with pytest.raises(MappingInvalid, match="can't be read"):
        read_mapping(tmp_path / "nowhere.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(MappingInvalid, match="is no mapping of fields"):
        read_mapping(tmp_path / "list.yaml")
