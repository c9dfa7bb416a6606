"""The file of tenants, and by name what is wrong with it."""

import pytest
import yaml

from server.access.keys import hash_key
from server.access.tenants import TenantsInvalid, read_tenants
from server.access.tokens import Subject
from tests.server.access.papers import SHOP_KEY, write_tenants


@pytest.fixture
def path(tmp_path):
    return write_tenants(tmp_path, images_per_minute=5)


def test_each_is_found_by_what_it_shows(path, tmp_path):
    directory = read_tenants(path)
    shop = directory.tenants["shop"]
    assert directory.keyring.find(SHOP_KEY) is shop
    assert directory.by_subject == {Subject("login", "shop-backend"): shop}
    assert directory.by_certificate["operator.internal"].scopes == {"admin"}
    assert directory.tenants["trial"].quotas.images_per_minute == 5
    assert directory.issuers["login"].jwks == str(tmp_path / "jwks.json")
    assert "sha256" not in repr(shop)


KEY = hash_key("another")
SECRET = "etalage_a-key-where-its-hash-should-be"


@pytest.mark.parametrize(
    ("field", "told", "reason"),
    [
        ("tenants.0.name", "My Shop", "match pattern"),
        ("tenants.0.scopes", [], "at least 1 item"),
        ("tenants.0.scopes.0", "root", "Input should be 'generate', 'record', 'admin' or 'erase'"),
        ("tenants.0.keys.0", SECRET, "match pattern"),
        ("tenants.1.keys", [hash_key(SHOP_KEY)], "told before"),
        ("tenants.1.name", "shop", "told before"),
        ("tenants.2.certificates", ["shop.internal"], "told before"),
        ("tenants.2.certificates", [], "nobody could be it"),
        ("tenants.1.quotas.images_per_minute", 0, "greater than or equal to 1"),
        ("tenants.1.quotas.images_per_second", 1, "Extra inputs"),
        ("tenants.0.tokens", {"elsewhere": ["a"]}, "none of the issuers"),
        ("issuers.login.algorithms.0", "HS256", "Input should be 'RS256'"),
        ("issuers.login.algorithms.0", "none", "Input should be 'RS256'"),
        ("issuers.login.algorithms", [], "at least 1 item"),
        ("issuers.login.jwks", "http://login.test/jwks", "a file or a URL of https"),
        ("issuers.login.audience", "", "at least 1 character"),
        ("tenants", [], "at least 1 item"),
    ],
)
def test_what_is_wrong_is_named_and_not_repeated(path, field, told, reason):
    content = yaml.safe_load(path.read_text())
    *way, last = [int(part) if part.isdigit() else part for part in field.split(".")]
    place = content
    for part in way:
        place = place.setdefault(part, []) if isinstance(place, dict) else place[part]
    if isinstance(place, list) and last == len(place):
        place.append(told)
    else:
        place[last] = told
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(TenantsInvalid, match=reason) as caught:
        read_tenants(path)
    assert str(path) in str(caught.value)
    assert field.split(".")[0] in caught.value.field
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("text", "reason"), [("- a", "no mapping"), ("a: [", "can't be read")])
def test_what_is_no_file_of_tenants_is_refused(path, text, reason):
    path.write_text(text)
    with pytest.raises(TenantsInvalid, match=reason):
        read_tenants(path)
