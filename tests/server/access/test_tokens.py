"""JWTs of a real issuer, checked with keys from a file and by HTTPS."""

import asyncio
import base64
import hmac
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from server.access.jwks import PAUSE_S, STALE_S, JwksUnusable, KeySet
from server.access.tenants import Issuer
from server.access.tokens import Subject, Tokens
from server.errors import Unauthenticated
from server.metrics import Metrics
from tests.server.access.papers import AUDIENCE, ISSUER, Authority, Login, replace

BACKEND = Subject("login", "shop-backend")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def login():
    login = Login()
    login.rotate("one")
    return login


@pytest.fixture
def file(tmp_path, login):
    file = tmp_path / "jwks.json"
    file.write_bytes(login.jwks())
    return file


def open_tokens(key_set, **claims):
    issuer = Issuer(issuer=ISSUER, audience=AUDIENCE, jwks="jwks.json", **claims)
    return Tokens({"login": (issuer, key_set)})


@pytest.fixture
def key_set(file):
    key_set = KeySet(str(file), None, Metrics(), Clock())
    key_set.load()
    return key_set


async def refusal_of(tokens, token):
    with pytest.raises(Unauthenticated) as caught:
        await tokens.read(token)
    return caught.value.reason


async def test_a_sound_token_says_whose_it_is(key_set, login):
    tokens = open_tokens(key_set)
    assert await tokens.read(login.token()) == BACKEND
    assert await tokens.read(login.token(aud=["other", AUDIENCE])) == BACKEND
    by_claim = open_tokens(key_set, claim="tenant")
    assert await by_claim.read(login.token(tenant="acme")) == Subject("login", "acme")
    assert await refusal_of(by_claim, login.token()) == "INVALID_CREDENTIALS"


NOW = int(time.time())


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW - 3600}, "EXPIRED"),
        ({"exp": None}, "INVALID_CREDENTIALS"),
        ({"exp": "soon"}, "INVALID_CREDENTIALS"),
        ({"aud": "other"}, "INVALID_CREDENTIALS"),
        ({"aud": None}, "INVALID_CREDENTIALS"),
        ({"iss": "https://elsewhere.test"}, "INVALID_CREDENTIALS"),
        ({"iss": None}, "INVALID_CREDENTIALS"),
        ({"nbf": NOW + 3600}, "INVALID_CREDENTIALS"),
        ({"sub": None}, "INVALID_CREDENTIALS"),
    ],
)
async def test_an_unsound_token_is_refused(key_set, login, claims, reason):
    assert await refusal_of(open_tokens(key_set), login.token(**claims)) == reason


async def test_neither_no_signature_nor_one_by_a_public_secret_will_do(key_set, login):
    claims = jwt.decode(login.token(), options={"verify_signature": False})
    forged = [
        jwt.encode(claims, "", "none", {"kid": "one"}),
        sign_with_secret(login.token(), login.jwks()),
        login.token()[:-4] + "AAAA",
        "a.b.c",
        "no token at all",
        "",
    ]
    tokens = open_tokens(key_set)
    assert [await refusal_of(tokens, each) for each in forged] == ["INVALID_CREDENTIALS"] * 6
    login.rotate("one")  # another key of the same name
    assert await refusal_of(tokens, login.token()) == "INVALID_CREDENTIALS"


def sign_with_secret(token, secret):
    """As PyJWT refuses to: with what everybody knows."""
    header, claims, _ = token.split(".")
    told = {"alg": "HS256", "typ": "JWT", "kid": "one"}
    header = base64.urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=").decode()
    signature = hmac.digest(secret, f"{header}.{claims}".encode(), "sha256")
    return f"{header}.{claims}." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


async def test_only_algorithms_that_are_allowed_are_believed(tmp_path):
    key = rsa.generate_private_key(65537, 2048)
    told = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "r", "alg": "RS512"}
    others = [
        {"kty": "oct", "kid": "s", "k": "c2VjcmV0"},
        {"kty": "EC", "kid": "c", "crv": "P-1000"},
        told | {"kid": "e", "use": "enc"},
    ]
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [told, *others]}))
    key_set = KeySet(str(tmp_path / "jwks.json"), None, Metrics())
    key_set.load()
    assert set(key_set.keys) == {"r"}
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop-backend", "exp": NOW + 86_400}
    token = jwt.encode(claims, key, "RS512", {"kid": "r"})
    assert await refusal_of(open_tokens(key_set), token) == "INVALID_CREDENTIALS"
    assert await open_tokens(key_set, algorithms=("RS512",)).read(token) == BACKEND


async def test_a_token_that_is_remembered_is_refused_once_its_key_is_gone(key_set, login, file):
    tokens, token = open_tokens(key_set), login.token()
    assert await tokens.read(token) == await tokens.read(token) == BACKEND
    login.rotate("two")
    replace(file, login.jwks())
    await key_set.refresh()
    assert await refusal_of(tokens, token) == "INVALID_CREDENTIALS"
    assert await tokens.read(login.token()) == BACKEND


async def test_a_token_that_is_remembered_expires(key_set, login):
    issuer = Issuer(issuer=ISSUER, audience=AUDIENCE, jwks="jwks.json")
    clock = Clock()
    tokens, token = Tokens({"login": (issuer, key_set)}, clock), login.token(exp=int(time.time()))
    assert await tokens.read(token) == BACKEND  # within the leeway
    clock.now_s = time.time() + 3600
    assert not tokens._is_good(next(iter(tokens._known.values())))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"[" * 100_000, b'{"keys": [1]}', b'{"keys": []}', b'{"keys": [{"kty": "RSA"}]}'],
)
async def test_a_broken_set_of_keys_changes_nothing(key_set, login, file, content):
    replace(file, content)
    await key_set.refresh()
    await key_set.refresh()
    assert await open_tokens(key_set).read(login.token()) == BACKEND
    told = key_set._observer.registry.get_sample_value(
        "etalage_access_reloads_total", {"what": "jwks", "result": "failed"}
    )
    assert told == 1  # not at every look
    with pytest.raises(JwksUnusable, match="jwks.json"):
        KeySet(str(file), None, Metrics()).load()


class Published(ThreadingHTTPServer):
    """The keys of a login by HTTPS, and how often they were asked for."""

    def __init__(self, login, folder):
        self.login, self.num_asked, self.status = login, 0, 200
        super().__init__(("127.0.0.1", 0), _Answer)
        authority = Authority("keys")
        for name, content in zip(("cert", "key"), authority.issue("localhost"), strict=True):
            (folder / name).write_bytes(content)
        self.authorities = folder / "ca.pem"
        self.authorities.write_bytes(authority.pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert", folder / "key")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server_port}/jwks"


class _Answer(BaseHTTPRequestHandler):
    server: Published

    def do_GET(self):
        self.server.num_asked += 1
        self.send_response(self.server.status)
        self.send_header("location", "https://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.login.jwks())

    def log_message(self, *_):
        pass


@pytest.fixture
def published(login, tmp_path):
    with Published(login, tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_keys_by_https_are_asked_for_again_but_not_as_often_as_strangers_like(
    published, login
):
    clock = Clock()
    key_set = KeySet(published.url, published.authorities, Metrics(), clock)
    key_set.load()
    tokens, old = open_tokens(key_set), login.token()
    assert await tokens.read(old) == BACKEND
    assert published.num_asked == 1
    login.rotate("two")
    new = login.token()
    clock.now_s = PAUSE_S
    both = await asyncio.gather(tokens.read(new), tokens.read(new))
    assert set(both) == {BACKEND}
    assert published.num_asked == 2  # together
    assert await refusal_of(tokens, old) == "INVALID_CREDENTIALS"
    assert published.num_asked == 2  # not again so soon
    await key_set.refresh()
    assert published.num_asked == 2
    clock.now_s += STALE_S
    await key_set.refresh()
    assert published.num_asked == 3


async def test_a_host_that_nobody_vouches_for_or_that_sends_elsewhere_is_not_believed(
    published, login, tmp_path
):
    strangers = tmp_path / "strangers.pem"
    strangers.write_bytes(Authority("strangers").pem)
    key_set = KeySet(published.url, strangers, Metrics(), Clock())
    key_set.load()  # the host may be down at the start
    assert await refusal_of(open_tokens(key_set), login.token()) == "INVALID_CREDENTIALS"
    published.status = 302
    key_set = KeySet(published.url, published.authorities, Metrics(), Clock())
    assert await refusal_of(open_tokens(key_set), login.token()) == "INVALID_CREDENTIALS"
    assert key_set.keys == {}
