"""Who calls: from arguments, files and the environment, on calls of every kind."""

import pytest

import etalage
from etalage.credentials import Credentials, find_credentials, read_secret
from tests.clients.scripted import serve, succeed

KEY = "etalage_key"


def ask(face, **options):
    """What a call shows."""
    shown = []

    def keep(request, context):
        shown.extend(context.invocation_metadata())
        return succeed(request, context)

    with serve(keep) as (server, _):
        face.generate(server, "wrench", **options)
    return [(k, v) for k, v in shown if k in ("x-api-key", "authorization")]


def test_a_key_or_a_token_is_shown_with_a_call(face, tmp_path):
    assert ask(face) == []
    assert ask(face, api_key=KEY) == [("x-api-key", KEY)]
    assert ask(face, token=lambda: "a.b.c") == [("authorization", "Bearer a.b.c")]
    file = tmp_path / "token"
    file.write_text("d.e.f\n")
    assert ask(face, token=read_secret(file)) == [("authorization", "Bearer d.e.f")]


def test_the_environment_says_who_calls_where_nobody_else_does(face, tmp_path, monkeypatch):
    file = tmp_path / "key"
    file.write_text(KEY)
    monkeypatch.setenv("ETALAGE_API_KEY_FILE", str(file))
    assert ask(face) == [("x-api-key", KEY)]
    file.write_text("etalage_new")
    assert ask(face) == [("x-api-key", "etalage_new")]
    assert ask(face, token="a.b.c") == [("authorization", "Bearer a.b.c")]
    monkeypatch.setenv("ETALAGE_TOKEN", "a.b.c")
    with pytest.raises(ValueError, match="exclude each other"):
        ask(face)


def test_a_token_is_asked_for_at_every_call():
    tokens = iter(["one", "two"])
    credentials = Credentials(token=lambda: next(tokens))
    assert [credentials.metadata()[0][1] for _ in range(2)] == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize("wrong", ["", "a\nb", "schlüssel"])
def test_what_no_header_may_have_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match="^api_key or token: is empty, or has"):
        Credentials(api_key=wrong).metadata()


def test_credentials_are_never_shown(monkeypatch):
    credentials = find_credentials(KEY, None, {})
    assert KEY not in repr(credentials)
    assert not find_credentials(None, None, {})
    with pytest.raises(ValueError, match="exclude each other"):
        etalage.Client(api_key=KEY, token="a.b.c")
