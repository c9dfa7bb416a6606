"""What tests log: tracebacks are plain, since with all locals in a frame each takes seconds, and
handlers go with the test that made them."""

import logging
from collections.abc import Iterator

import pytest
import structlog

structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.fixture(autouse=True)
def no_handler_outlives_its_test() -> Iterator[None]:
    """A command that ran here would leave one that writes to what pytest has closed since."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
