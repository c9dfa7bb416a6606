"""SIGINT and SIGTERM as an exception, for commands that end by themselves."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal came; who handles the errors of something else does not mean it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def raising_signals() -> Iterator[None]:
    """Raises Interrupted in the main thread when a signal comes; a second ends the process."""

    def stop(number: int, frame: object) -> None:
        _let_go()
        raise Interrupted(number)

    before = [signal.signal(number, stop) for number in _NUMBERS]
    try:
        yield
    finally:
        for number, handler in zip(_NUMBERS, before, strict=True):
            signal.signal(number, handler)


async def cancel_at_signal(work: Coroutine[None, None, None]) -> None:
    """Cancels the work, and raises Interrupted once it has let go; a second signal ends the
    process."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    caught: list[int] = []

    def stop(number: int) -> None:
        for each in _NUMBERS:
            loop.remove_signal_handler(each)
        _let_go()
        caught.append(number)
        task.cancel()

    for number in _NUMBERS:
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not caught:
            raise
        raise Interrupted(caught[0]) from None


def _let_go() -> None:
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_DFL)
