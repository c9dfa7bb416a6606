"""Our own yardstick: a first-come-first-served queue before the sampler, whole requests at a time.

`python -m benchmarks.peers.servers.queue_server N` samples up to N at once. HTTP/1.1 by hand: a
POST of a job gets a PNG. Who has hung up is not sampled.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from benchmarks.peers.servers.sampling import EXPIRED, Job, Sampler, prepare
from benchmarks.peers.servers.settings import HOST, WINDOW_S, read_port


@dataclass(frozen=True, slots=True)
class Waiting:
    job: Job
    answer: asyncio.Future[bytes]


class QueueServer:
    def __init__(self, sampler: Sampler, max_batch: int) -> None:
        self._sampler, self._max_batch = sampler, max_batch
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue()

    async def sample(self) -> None:
        """One batch after another, for ever."""
        while True:
            batch = [w for w in await self._gather() if not w.answer.cancelled()]
            jobs = [waiting.job for waiting in batch]
            files = await asyncio.to_thread(self._sampler.sample_batch, jobs)
            for waiting, file in zip(batch, files, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(file)

    async def _gather(self) -> list[Waiting]:
        """Whoever waits, and who comes within the window, up to a full batch."""
        batch = [await self._queue.get()]
        end_s = asyncio.get_running_loop().time() + WINDOW_S
        while len(batch) < self._max_batch:
            left_s = end_s - asyncio.get_running_loop().time()
            try:
                batch.append(await asyncio.wait_for(self._queue.get(), max(left_s, 0)))
            except TimeoutError:
                break
        return batch

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            file = await self._ask(Job.read(await reader.readexactly(size)), reader)
            status = b"504 Gateway Timeout" if file == EXPIRED else b"200 OK"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(file)) + file)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # hung up
        finally:
            writer.close()

    async def _ask(self, job: Job, reader: asyncio.StreamReader) -> bytes:
        """Raises ConnectionError where the caller hangs up first."""
        waiting = Waiting(job, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        hung_up = asyncio.ensure_future(reader.read(1))
        await asyncio.wait((waiting.answer, hung_up), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.answer.done():
            waiting.answer.cancel()
            raise ConnectionError("hung up")
        hung_up.cancel()
        return waiting.answer.result()


async def run(max_batch: int) -> None:
    server = QueueServer(prepare(), max_batch)
    await asyncio.start_server(server.answer, HOST, read_port())
    await server.sample()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1])))
