import asyncio
import threading

from server.core import Accepted, Progress
from server.doors.updates import Updates


async def test_who_reads_late_gets_the_latest_progress_only():
    updates = Updates()
    for step in range(1, 1001):
        updates.tell(Progress(step, 1000))
    await updates.wait()
    assert updates.take() == Progress(1000, 1000)
    assert updates.take() is None
    assert updates.is_accepted


async def test_another_thread_may_tell_and_wakes_the_reader():
    updates = Updates()
    telling = threading.Thread(target=updates.tell, args=(Accepted(),))
    telling.start()
    async with asyncio.timeout(10):
        await updates.wait()
    telling.join()
    assert updates.is_accepted
    assert updates.take() is None
