"""Plaintext only where it is harmless or asked for; TLS against real certificates."""

import subprocess
from pathlib import Path

import grpc
import pytest

import etalage
from etalage.channels import is_loopback, resolve_endpoint
from tests.clients.scripted import serve, succeed

ONCE = etalage.Retries(max_attempts=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """`<name>.pem` and `<name>.key`, self-signed for loopback."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    for name in ("server", "shopfront", "stranger"):
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
            f"-subj /CN={name} -addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
            f"-keyout {name}.key -out {name}.pem"
        )
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


def _server_credentials(folder: Path, client_ca: str = "") -> grpc.ServerCredentials:
    pair = ((folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes())
    root = (folder / client_ca).read_bytes() if client_ca else None
    return grpc.ssl_server_credentials([pair], root, require_client_auth=bool(client_ca))


def test_tls_by_path_by_bytes_and_by_ready_credentials(face, folder):
    ca = folder / "server.pem"
    ready = grpc.ssl_channel_credentials(ca.read_bytes())
    with serve(succeed, credentials=_server_credentials(folder)) as (server, service):
        for options in ({"ca": ca}, {"ca": str(ca)}, {"ca": ca.read_bytes()}):
            assert face.generate(server, "wrench", **options).arm == "personalized"
        assert face.generate(server, "wrench", credentials=ready).arm == "personalized"
    assert len(service.requests) == 4


def test_a_server_that_nobody_vouches_for_is_refused(face, folder):
    with serve(succeed, credentials=_server_credentials(folder)) as (server, service):
        with pytest.raises(etalage.Unavailable):
            face.generate(server, "wrench", ca=folder / "stranger.pem", retries=ONCE)
    assert service.requests == []


def test_both_sides_may_show_a_certificate(face, folder):
    credentials = _server_credentials(folder, client_ca="shopfront.pem")
    ca, cert, key = (folder / name for name in ("server.pem", "shopfront.pem", "shopfront.key"))
    with serve(succeed, credentials=credentials) as (server, service):
        face.generate(server, "wrench", ca=ca, cert=cert, key=key)
        with pytest.raises(etalage.Unavailable):
            face.generate(server, "wrench", ca=ca, retries=ONCE)
    assert len(service.requests) == 1


HERE = """localhost:1 127.0.0.1:1 127.9.9.9 [::1]:1 [::1] unix:/tmp/s unix-abstract:s
dns:localhost:1 dns:///127.0.0.1:1 ipv4:127.0.0.1:1 ipv6:[::1]:1"""
HERE += " 127.0.0.1:1,127.0.0.2:2 [::1]:1,[::1]:2"
ELSEWHERE = """etalage.example:443 10.0.0.1:1 dns:///example [2001:db8::1]:1
localhost.example:1 ipv4:10.0.0.1:1 0.0.0.0:1"""


@pytest.mark.parametrize("server", HERE.split())
def test_plaintext_stays_on_this_machine(server):
    assert is_loopback(server)
    assert resolve_endpoint(server).credentials is None


@pytest.mark.parametrize("server", [*ELSEWHERE.split(), "127.0.0.1:1,10.0.0.1:1"])
def test_another_machine_gets_tls_unless_insecure_is_said(server):
    assert not is_loopback(server)
    assert resolve_endpoint(server).credentials is not None
    assert resolve_endpoint(server, insecure=True).credentials is None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"insecure": True, "ca": b"x"}, "insecure"),
        ({"credentials": grpc.ssl_channel_credentials(), "ca": b"x"}, "credentials"),
        ({"credentials": grpc.ssl_channel_credentials(), "insecure": True}, "insecure"),
        ({"cert": b"x"}, "cert and key"),
        ({"key": b"x"}, "cert and key"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, named):
    with pytest.raises(ValueError, match=named):
        etalage.Client("127.0.0.1:1", **options)


@pytest.mark.parametrize(
    "server", ["127.0.0.1:1,example:1", "127.0.0.1:1,", "127.0.0.1:1,[::1]:1", "127.0.0.1,10.0.0.1"]
)
def test_a_list_that_grpc_could_not_read_is_refused_by_name(server):
    with pytest.raises(ValueError, match="^server: "):
        etalage.Client(server, insecure=True)


def test_of_several_servers_those_are_asked_that_are_there(face):
    with serve(succeed) as (first, one), serve(succeed) as (second, other):
        for _ in range(4):  # each with a channel of its own
            face.generate(f"{first},{second},127.0.0.1:1", "wrench")
    assert len(one.requests) + len(other.requests) == 4


def test_a_missing_certificate_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.pem"):
        etalage.Client(ca=tmp_path / "missing.pem")


def test_more_options_of_grpc_reach_the_channel(face):
    options = [("grpc.max_receive_message_length", 10)]
    with (
        serve(succeed) as (server, _),
        pytest.raises(etalage.EtalageError, match="larger than max"),
    ):
        face.generate(server, "wrench", channel_options=options, retries=ONCE)
