"""Walks that agree are walked once: side by side, where one row leads and others wait for it, and
over time, from states that were kept.

What is shared is exact: a segment's key digests all that the walk depends on up to its end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

from diffusion.walks import Segment
from server.sampling.observer import EngineObserver
from server.sampling.row import Row, State, Ticket


class SharedWalks:
    """Who leads, who waits for whom, and what is kept; only the engine's thread comes here.

    `hurry(row)` is called where a row that leads has to be more urgent, since one that waits for it
    is. With `max_bytes` 0 nothing is kept over time; with `is_on` False nothing is shared at all.
    """

    def __init__(
        self,
        max_bytes: int,
        observer: EngineObserver,
        hurry: Callable[[Row], None],
        is_on: bool = True,
    ) -> None:
        self._max_bytes, self._observer, self._hurry = max_bytes, observer, hurry
        self._is_on = is_on
        self._leaders: dict[Hashable, Row] = {}
        self._followers: dict[Row, list[tuple[Hashable, Row]]] = {}
        self._kept: OrderedDict[Hashable, State] = OrderedDict()
        self._num_bytes = 0

    @property
    def num_kept(self) -> int:
        """States; asked for from other threads too."""
        return len(self._kept)

    @property
    def num_waiting(self) -> int:
        return sum(map(len, self._followers.values()))

    def tickets_behind(self, row: Row) -> list[Ticket]:
        """Of those who wait for this row."""
        return [follower.ticket for _, follower in self._followers.get(row, ())]

    def join(self, row: Row) -> bool:
        """Brings the row as far as others have come; whether it goes on by itself from there.

        Else it waits for the row that leads; `arrive` and `leave` give it back.
        """
        if not self._is_on:
            return True
        for segment in reversed(row.request.walk):
            if segment.stop <= row.num_ticks_done:
                break
            key = _name(row, segment)
            if state := self._find(key):
                _take(row, state)
                self._observer.shared("kept", segment.stop)
                break
            if leader := self._leaders.get(key):
                self._follow(row, leader, key)
                return False
        self._lead(row)
        return True

    def arrive(self, row: Row) -> list[Row]:
        """Called after each tick: at a segment's end, those who waited for this; each `join`s."""
        ended = next((s for s in row.request.walk if s.stop == row.num_ticks_done), None)
        if not self._is_on or ended is None:
            return []
        key = _name(row, ended)
        if self._leaders.get(key) is row:
            del self._leaders[key]
        waiting = self._followers.get(row, [])
        if not is_sound(row.state):  # nobody shall catch what this row has
            return self._part(row, None)
        self._keep(key, row.state)
        reached = [follower for name, follower in waiting if name == key]
        self._followers[row] = [(name, other) for name, other in waiting if name != key]
        if not self._followers[row]:
            del self._followers[row]
        for follower in reached:
            follower.leader = None
            self._observer.shared("joined", row.num_ticks_done - follower.num_ticks_done)
            _take(follower, row.state)
        return reached

    def leave(self, row: Row) -> list[Row]:
        """The row goes, unfinished: who waited for it goes on from where it stood; each `join`s."""
        if row.leader is not None:
            waiting = [pair for pair in self._followers[row.leader] if pair[1] is not row]
            self._followers[row.leader] = waiting
            if not waiting:
                del self._followers[row.leader]
            row.leader = None
            return []
        if row not in self._followers:
            return self._part(row, None)
        return self._part(row, row.state if is_sound(row.state) else None)

    def clear(self) -> None:
        """Forgets what was kept, to give its memory back."""
        self._kept.clear()
        self._num_bytes = 0
        self._observer.latents_bytes(0)

    def _part(self, row: Row, state: State | None) -> list[Row]:
        """Nobody follows this row any more; the first who did takes over its state, if any."""
        for segment in row.request.walk:
            if self._leaders.get(key := _name(row, segment)) is row:
                del self._leaders[key]
        # Who shares most goes first, so that the others find it ahead of them.
        waiting = self._followers.pop(row, [])
        stops = {_name(row, segment): segment.stop for segment in row.request.walk}
        waiting.sort(key=lambda pair: -stops[pair[0]])
        for _, heir in waiting:
            heir.leader = None
        heirs = [heir for _, heir in waiting if not heir.ticket.is_released]
        if heirs and state is not None:
            _take(heirs[0], state)
        return heirs

    def _follow(self, row: Row, leader: Row, key: Hashable) -> None:
        row.leader = leader
        self._followers.setdefault(leader, []).append((key, row))
        is_sooner = row.haste_s is not None and (
            leader.haste_s is None or row.haste_s < leader.haste_s
        )
        is_awaited = leader.is_background and not row.is_background
        if is_sooner or is_awaited:
            leader.haste_s = row.haste_s if is_sooner else leader.haste_s
            leader.is_background = leader.is_background and row.is_background
            self._hurry(leader)

    def _lead(self, row: Row) -> None:
        for segment in row.request.walk:
            if segment.stop > row.num_ticks_done:
                self._leaders[_name(row, segment)] = row

    def _find(self, key: Hashable) -> State | None:
        if (state := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
        return state

    def _keep(self, key: Hashable, state: State) -> None:
        if key in self._kept or state.num_bytes > self._max_bytes:
            return
        self._kept[key] = state.copy()
        self._num_bytes += state.num_bytes
        while self._num_bytes > self._max_bytes:
            self._num_bytes -= self._kept.popitem(last=False)[1].num_bytes
        self._observer.latents_bytes(self._num_bytes)


def is_sound(state: State) -> bool:
    return bool(torch.isfinite(state.x).all())


def _name(row: Row, segment: Segment) -> Hashable:
    return row.key, segment.key, row.request.max_reuse_error


def _take(row: Row, state: State) -> None:
    row.num_ticks_shared += state.num_ticks_done - row.num_ticks_done
    row.state = state
