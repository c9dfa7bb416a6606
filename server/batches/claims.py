"""Batches as work: who works on which, what is left of it, what became of it.

A process works on a batch as long as it holds a *lease* on it and renews it; a batch whose process
died is free for others once the lease has ended. Each method is one transaction, so that counters
are exact whenever the process dies. Methods block, may be called from any thread, and raise
sqlalchemy.exc.SQLAlchemyError where the database does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Update, and_, or_, select, update

from server.batches.batch import BatchState, Claim, Request
from server.batches.tables import FAILED, PENDING, SUCCEEDED, batches, requests
from server.bulk.record import Record

LEASE_S = 10.0
PAGE = 256


class Claims:
    def __init__(
        self,
        engine: Engine,
        owner: str,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`owner` names this process among those that share the database."""
        self.lease_s = lease_s
        self._engine, self._owner, self._clock = engine, owner, clock

    def claim(self) -> Claim | None:
        """The oldest batch that waits, or that a process left, for this process to work on."""
        now_s = self._clock()
        free = and_(
            batches.c.is_closed.is_(False),
            or_(
                batches.c.owner.is_(None),
                batches.c.owner == self._owner,
                batches.c.lease_end_s < now_s,
            ),
        )
        with self._engine.begin() as connection:
            query = select(batches).where(free).order_by(batches.c.key).limit(1)
            if (row := connection.execute(query).first()) is None:
                return None
            told: dict[str, Any] = {"owner": self._owner, "lease_end_s": now_s + self.lease_s}
            if row.state == BatchState.PENDING.value:
                told |= {"state": BatchState.RUNNING.value, "start_s": now_s, "update_s": now_s}
            here = and_(batches.c.key == row.key, batches.c.state == row.state, free)
            if not connection.execute(update(batches).where(here).values(**told)).rowcount:
                return None  # another process was faster, or somebody cancelled it
            return Claim(row.key, row.batch_id, row.output_folder)

    def renew(self, claim: Claim) -> BatchState | None:
        """The state of the batch; None where it is another process's now."""
        ours = and_(batches.c.key == claim.key, batches.c.owner == self._owner)
        lease_end_s = self._clock() + self.lease_s
        with self._engine.begin() as connection:
            connection.execute(update(batches).where(ours).values(lease_end_s=lease_end_s))
            state = connection.execute(select(batches.c.state).where(ours)).scalar()
        return None if state is None else BatchState(state)

    def release(self, claim: Claim) -> None:
        """Leave the batch to whoever comes next."""
        ours = and_(batches.c.key == claim.key, batches.c.owner == self._owner)
        with self._engine.begin() as connection:
            connection.execute(update(batches).where(ours).values(owner=None))

    def pending(self, claim: Claim, after: int = 0, num: int = PAGE) -> list[Request]:
        """Requests without an answer, in order, with numbers above `after`."""
        query = (
            select(requests.c.number, requests.c.name, requests.c.content)
            .where(
                requests.c.batch_key == claim.key,
                requests.c.state == PENDING,
                requests.c.number > after,
            )
            .order_by(requests.c.number)
            .limit(num)
        )
        with self._engine.begin() as connection:
            return [Request(*row) for row in connection.execute(query)]

    def record(self, claim: Claim, records: Sequence[Record]) -> None:
        """Keep what became of requests; what was known already is left as it was."""
        now_s = self._clock()
        num_succeeded = num_failed = 0
        here = update(batches).where(batches.c.key == claim.key, batches.c.is_closed.is_(False))
        with self._engine.begin() as connection:
            if not connection.execute(here.values(update_s=now_s)).rowcount:
                return  # whoever took it over has closed it
            for record in records:
                is_new = connection.execute(_close_request(claim, record, now_s)).rowcount
                num_succeeded += is_new * record.is_finished
                num_failed += is_new * (not record.is_finished)
            counted = {
                "num_succeeded": batches.c.num_succeeded + num_succeeded,
                "num_failed": batches.c.num_failed + num_failed,
            }
            connection.execute(here.values(**counted))

    def records(self, claim: Claim) -> Iterator[Record]:
        """What is recorded, in the order of the requests, a page at a time."""
        number = 0
        while True:
            query = (
                select(requests.c.number, requests.c.record)
                .where(
                    requests.c.batch_key == claim.key,
                    requests.c.record.is_not(None),
                    requests.c.number > number,
                )
                .order_by(requests.c.number)
                .limit(PAGE)
            )
            with self._engine.begin() as connection:
                rows = connection.execute(query).all()
            yield from (Record.from_line(row.record) for row in rows)
            if len(rows) < PAGE:
                return
            number = rows[-1].number

    def finish(self, claim: Claim) -> None:
        """The batch has ended and its files are written; what was asked is forgotten."""
        now_s = self._clock()
        ours = and_(batches.c.key == claim.key, batches.c.owner == self._owner)
        running = and_(ours, batches.c.state == BatchState.RUNNING.value)
        told: dict[str, Any] = {"end_s": now_s, "update_s": now_s}
        ended = {
            BatchState.FAILED: and_(running, batches.c.num_failed > 0),
            BatchState.SUCCEEDED: and_(running, batches.c.num_failed == 0),
        }
        with self._engine.begin() as connection:
            for state, here in ended.items():
                values = told | {"state": state.value}
                connection.execute(update(batches).where(here).values(**values))
            connection.execute(update(batches).where(ours).values(is_closed=True, owner=None))
            forget_contents(connection, claim.batch_id)


def _close_request(claim: Claim, record: Record, now_s: float) -> Update:
    here = and_(
        requests.c.batch_key == claim.key,
        requests.c.number == record.number,
        requests.c.state == PENDING,
    )
    return (
        update(requests)
        .where(here)
        .values(
            content=b"",
            state=SUCCEEDED if record.is_finished else FAILED,
            done_s=now_s,
            num_images=len(record.images),
            record=record.to_line(),
        )
    )


def forget_contents(connection: Connection, batch_id: str) -> None:
    """Requests say who asked: they stay no longer than they are needed."""
    key = select(batches.c.key).where(batches.c.batch_id == batch_id).scalar_subquery()
    left = and_(requests.c.batch_key == key, requests.c.content != b"")
    connection.execute(update(requests).where(left).values(content=b""))
