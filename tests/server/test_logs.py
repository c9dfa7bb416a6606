"""What is told, and what never is."""

import asyncio
import contextvars
import io
import json
import logging
import warnings

import numpy as np
import pytest
import structlog

from etalage.v1 import images_pb2 as pb
from server import logs
from server.core import ImageRequest, InlineProduct
from tests.server.doors.conftest import opened_door, refusal_of
from tests.server.doors.sketching import SECRET

USER = "shopper-000042"
PACKSHOT = b"\x89PNG-the-bytes-of-the-packshot"
EMBEDDING = np.linspace(0.123456, 0.987654, 128, dtype=np.float32)


@pytest.fixture
def told():
    """Configures logs into a buffer and puts everything back as it was."""
    stream = io.StringIO()

    def configure(format="json", level="info"):
        logs.configure_logs(format, level, stream)
        return stream

    yield configure
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def in_request(function, *arguments):
    contextvars.copy_context().run(function, *arguments)


def test_a_line_is_json_with_time_level_name_and_the_id_of_its_request(told):
    stream = told()

    def work():
        logs.bind_request("request-1")
        logs.logger("server.test").info("answered", code="OK", seconds=0.25)

    in_request(work)
    logs.logger("server.test").info("idle")
    first, second = lines(stream)
    assert first["event"] == "answered"
    assert (first["level"], first["logger"]) == ("info", "server.test")
    assert first["timestamp"].endswith("Z")
    assert (first["request_id"], first["code"], first["seconds"]) == ("request-1", "OK", 0.25)
    assert "request_id" not in second


def test_ids_of_requests_do_not_mix_across_tasks(told):
    stream = told()

    async def work(number):
        logs.bind_request(f"request-{number}")
        await asyncio.sleep(0.001)
        logs.logger("x").info(str(number))

    async def all_of_them():
        await asyncio.gather(*(work(number) for number in range(20)))

    asyncio.run(all_of_them())
    assert len(lines(stream)) == 20
    for line in lines(stream):
        assert line["request_id"] == f"request-{line['event']}"


def test_the_standard_librarys_logging_and_warnings_come_out_the_same_way(told):
    stream = told()
    with warnings.catch_warnings():
        warnings.simplefilter("always")

        def work():
            logs.bind_request("request-1")
            logging.getLogger("grpc").warning("lost %s", "a peer")
            warnings.warn("old", DeprecationWarning, stacklevel=1)

        in_request(work)
    first, second = lines(stream)
    assert (first["event"], first["logger"]) == ("lost a peer", "grpc")
    assert first["request_id"] == "request-1"
    assert second["logger"] == "py.warnings"


def test_what_is_below_the_level_is_not_told(told):
    stream = told(level="warning")
    logs.logger("x").info("no")
    logging.getLogger("y").debug("no")
    logs.logger("x").warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


@pytest.mark.parametrize("format", ["json", "console"])
def test_no_shopper_no_embedding_and_no_image_is_ever_told(told, format):
    stream = told(format)
    request = ImageRequest(InlineProduct("Chair", PACKSHOT, {}), user_id=USER)

    def work():
        logs.bind_request("request-1", USER)
        log = logs.logger("server.test")
        log.info("received", request=request, requests=[request], user_id=USER, inner={"user": 1})
        log.info("read", embedding=EMBEDDING, anything=EMBEDDING, values=EMBEDDING.tolist())
        log.info("decoded", packshot=PACKSHOT, data=PACKSHOT, few=[PACKSHOT, EMBEDDING])
        log.info(f"a careless sentence about {USER}", detail={"careless": [USER]})
        logging.getLogger("feast").error("no row for %s: %r", USER, {"user_id": USER})
        try:
            raise KeyError(USER)
        except KeyError:
            log.exception("failed", error=KeyError(USER))
            logging.getLogger("other").exception("failed")

    in_request(work)
    text = stream.getvalue()
    assert text.count("KeyError") >= 3
    assert USER not in text
    assert "Chair" not in text
    assert "PNG-the" not in text
    assert "0.12" not in text and "0.98" not in text
    assert "[withheld]" in text


def test_the_lines_of_a_traceback_carry_no_local_variables(told):
    stream = told("console")

    def fail():
        private_thing = "a local value"  # noqa: F841
        raise ValueError("broken")

    try:
        fail()
    except ValueError:
        logs.logger("x").exception("failed")
    assert "broken" in stream.getvalue()
    assert "a local value" not in stream.getvalue()


@pytest.mark.parametrize("format", ["json", "console"])
async def test_a_server_tells_each_request_once_with_the_trace_of_what_nobody_expected(
    told, format
):
    stream = told(format)
    async with opened_door() as counter:
        for product_id in ("chair", "unknown", "cursed"):
            image = pb.GenerateImageRequest(
                product_id=product_id, user_id=USER, request_id=f"id-of-{product_id}"
            )
            call = counter.stub.GenerateImage(image)
            await (call if product_id == "chair" else refusal_of(call))
    text = stream.getvalue()
    assert USER not in text
    assert SECRET in text  # the full trace is in the log, and only there
    assert "Traceback" in text
    if format == "json":
        told_lines = [line for line in lines(stream) if "method" in line]
        assert [(line["event"], line["code"], line["request_id"]) for line in told_lines] == [
            ("answered", "OK", "id-of-chair"),
            ("refused", "NOT_FOUND", "id-of-unknown"),
            ("failed", "INTERNAL", "id-of-cursed"),
        ]
        assert told_lines[1]["reason"] == "PRODUCT_NOT_FOUND"
