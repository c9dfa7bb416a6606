"""What the page's own site takes, and from whom."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import date

import pytest

from etalage import (
    Caption,
    Image,
    InvalidArgument,
    Localization,
    Overloaded,
    Price,
    Progress,
    Scene,
)
from etalage_playground.asking import read_items, read_options, read_products
from etalage_playground.site import MAX_PICTURE_BYTES
from etalage_playground.suggestions import SUGGESTIONS, read_suggestions
from etalage_playground.telling import tell, tell_event
from etalage_playground.wording import tell_error
from tests.clients.playground.conftest import run_playground

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def alone():
    """A playground that no server answers."""
    with run_playground("127.0.0.1:9") as address:
        yield address


def ask(url, body=None, **headers):
    """Status, headers and body."""
    wanted = urllib.request.Request(
        url, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )
    try:
        with DIRECT.open(wanted, timeout=30) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_the_page_may_load_nothing_of_others_and_run_nothing_inline(alone):
    status, headers, body = ask(alone)
    assert status == 200 and b"<title>Etalage playground" in body
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    text = body.decode()
    assert " on" not in text.replace(" on ", " ") or "onclick" not in text
    assert "style=" not in text and "https://" not in text


@pytest.mark.parametrize(
    "headers",
    [{"Host": "shop.example"}, {"Origin": "https://shop.example"}, {"Origin": "null"}],
    ids=["another name", "another site", "a file"],
)
def test_no_other_site_speaks_through_it(alone, headers):
    assert ask(f"{alone}/api/welcome", **headers)[0] == 403
    assert ask(f"{alone}/api/images", b"{}", **headers)[0] == 403


def test_its_own_page_may(alone):
    status, _, body = ask(f"{alone}/api/welcome", Origin=alone)
    told = json.loads(body)
    assert (status, told["is_serving"], told["start"]) == (200, False, "make serve")
    assert {"id": "handbag", "text": "handbag"} in told["products"]


@pytest.mark.parametrize(
    "body, told",
    [
        (b"{", "is no JSON"),
        (b"[]", "expected an object"),
        (b"{}", "product: expected a str"),
        (b'{"product": "a", "colour": "red"}', "colour: is no option of an image"),
        (b'{"product": "a", "scene": {"palette": "plaid"}}', "scene: 'plaid' is none of"),
        (b'{"product": "a", "scene": {"where": "here"}}', "unexpected keyword"),
        (b'{"product": "a", "localization": {"day": "soon"}}', "localization: Invalid isoformat"),
        (b'{"product": "a", "caption": {"price": {"amount": "?", "currency": "EUR"}}}', "amount"),
        (b" " * 300_000, "larger than 0.25 MiB"),
    ],
)
def test_what_no_request_can_hold_is_refused_by_name(alone, body, told):
    status, _, answer = ask(f"{alone}/api/images", body)
    refusal = json.loads(answer)
    assert (status, refusal["name"]) == (400, "InvalidArgument")
    assert told in refusal["wrong"][0]


def test_a_picture_has_its_bounds(alone):
    for body, told in ((b"", "there is no picture"), (bytes(MAX_PICTURE_BYTES + 1), "20 MiB")):
        status, _, answer = ask(f"{alone}/api/repairs", body)
        assert status == 400 and told in json.loads(answer)["wrong"][0]


def test_a_call_that_no_server_answers_says_how_to_start_one(alone):
    status, _, answer = ask(f"{alone}/api/explanations", b'{"product": "a"}')
    refusal = json.loads(answer)
    assert (status, refusal["name"]) == (503, "Unavailable") and "make serve" in refusal["text"]
    (line,) = ask(f"{alone}/api/images", b'{"product": "a"}')[2].splitlines()
    assert json.loads(line)["name"] == "Unavailable"


def test_wishes_become_the_clients_own_values():
    options = read_options(
        {
            "product": "a",
            "strength": 0,
            "scene": {"palette": "mint", "brief": "spring"},
            "localization": {"day": "2027-01-28", "occasion": True},
            "caption": {"title": True, "price": {"amount": "1.50", "currency": "EUR"}},
        }
    )
    assert options["strength"] == 0 and options["scene"] == Scene("mint", brief="spring")
    assert options["caption"] == Caption(title=True, price=Price("1.50", "EUR"))
    assert options["localization"] == Localization(day=date(2027, 1, 28), occasion=True)


def test_slates_and_batches_have_their_bounds():
    for read, field in ((read_products, "products"), (read_items, "items")):
        for some in ([], ["a"] * 101, "handbag", [7]):
            with pytest.raises(InvalidArgument, match=field):
                read({field: some})


def test_pictures_are_told_as_urls_and_tokens_not_at_all():
    image = Image(b"\x00", "image/png", 1, 1, 7, exposure_token="secret")
    told = tell(image)
    assert told["src"] == "data:image/png;base64,AA==" and told["seed"] == 7
    assert "secret" not in json.dumps(told) and "data" not in told
    assert tell_event(Progress(1, 4))["kind"] == "progress"


def test_a_full_server_is_told_with_how_long_to_wait():
    told = tell_error(Overloaded("no room", retry_after_s=2.4))
    assert told["text"] == "The server is full. Wait 2 s, then try again."


def test_suggestions_that_are_none_are_refused_with_the_file(tmp_path):
    assert len(read_suggestions(SUGGESTIONS).products) >= 6
    file = tmp_path / "suggestions.json"
    for text in ("{", "[]", '{"products": []}', '{"products": [{"name": 1}], "shoppers": []}'):
        file.write_text(text)
        with pytest.raises(ValueError, match="suggestions.json: expected"):
            read_suggestions(file)
