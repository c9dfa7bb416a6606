"""What can go wrong, from a real server's trailers to the caller's except."""

import pickle
import socket

import grpc
import pytest

import etalage
from etalage.details import read_details
from etalage.errors import CODE_TO_ERROR
from tests.clients.scripted import INVALID, OVERLOADED, fail, serve, sleep_until_cancelled

ONCE = etalage.Retries(max_attempts=1)


def test_every_status_but_ok_has_its_error(face):
    assert set(CODE_TO_ERROR) == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    for code, kind in CODE_TO_ERROR.items():
        with serve(fail(code, "because")) as (server, _), pytest.raises(kind) as caught:
            face.generate(server, "wrench", retries=ONCE, request_id="r-1")
        assert type(caught.value) is kind
        assert (str(caught.value), caught.value.code) == ("because", code.name)
        assert caught.value.request_id == "r-1"
        assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_an_invalid_argument_names_every_wrong_field(face):
    with serve(INVALID) as (server, _), pytest.raises(etalage.InvalidArgument) as caught:
        face.generate(server, "wrench", steps=0, strength=1.5)
    assert caught.value.violations == (
        etalage.Violation("steps", "0 is not 1 to 100"),
        etalage.Violation("guidance.strength", "1.5 is not 0 to 1"),
    )
    assert (caught.value.reason, caught.value.metadata) == ("INVALID_REQUEST", {"num_fields": "2"})
    assert isinstance(caught.value, ValueError)


def test_a_full_server_says_when_to_come_back(face):
    with serve(OVERLOADED) as (server, _), pytest.raises(etalage.Overloaded) as caught:
        face.generate(server, "wrench", retries=ONCE)
    assert (caught.value.reason, caught.value.retry_after_s) == ("OVERLOADED", 2.5)


def test_pushback_alone_says_it_as_well(face):
    full = fail(grpc.StatusCode.RESOURCE_EXHAUSTED, pushback_ms=1500)
    with serve(full) as (server, _), pytest.raises(etalage.Overloaded) as caught:
        face.generate(server, "wrench", retries=ONCE)
    assert caught.value.retry_after_s == 1.5


@pytest.mark.parametrize("verb", ["stream", "slate"])
def test_streams_raise_the_same_errors(face, verb):
    with serve(INVALID) as (server, _), pytest.raises(etalage.InvalidArgument) as caught:
        getattr(face, verb)(server, ["wrench"] if verb == "slate" else "wrench")
    assert len(caught.value.violations) == 2


def test_a_deadline_ends_the_call_here_and_there(face):
    with serve(sleep_until_cancelled) as (server, service):
        with pytest.raises(etalage.DeadlineExceeded):
            face.generate(server, "wrench", timeout_s=0.2)
    assert len(service.requests) == 1


def test_nobody_there_is_unavailable(face):
    with socket.socket() as taken:  # bound, never listening
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(etalage.Unavailable):
            face.generate(f"127.0.0.1:{taken.getsockname()[1]}", "wrench", retries=ONCE)


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan")])
def test_a_deadline_is_never_infinite(timeout_s):
    with pytest.raises(ValueError, match="timeout_s"):
        etalage.Client(timeout_s=timeout_s)
    with etalage.Client() as client, pytest.raises(ValueError, match="timeout_s"):
        client.generate("wrench", timeout_s=timeout_s)


def test_details_that_cannot_be_read_are_no_details():
    assert read_details(b"\xff\xff") == read_details(None) == read_details("text")


def test_errors_survive_a_process_pool():
    error = etalage.Overloaded("full", code="RESOURCE_EXHAUSTED", retry_after_s=2.5)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.code, copy.retry_after_s) == ("full", "RESOURCE_EXHAUSTED", 2.5)
