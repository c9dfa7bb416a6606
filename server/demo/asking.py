"""Asks the server, through the Python client, all at once: the server batches by step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from etalage import AsyncClient, Progress, Result, SlateItem
from server.demo.program import SEED, Program, Shot

TIMEOUT_S = 120.0

WHOLE = 100
Advance = Callable[[int], object]
"""Told how many hundredths of an image have been made since it was told last."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A shot and what the server answered."""

    shot: Shot
    result: Result


async def ask_all(server: str, program: Program, advance: Advance) -> tuple[Picture, ...]:
    """The pictures in the order of the program's shots. Raises EtalageError."""
    async with AsyncClient(server, timeout_s=TIMEOUT_S) as client:
        singles = await asyncio.gather(
            *(_ask_one(client, shot, advance) for shot in program.singles)
        )
        return (*singles, *await _ask_slate(client, program.slate, advance))


async def _ask_one(client: AsyncClient, shot: Shot, advance: Advance) -> Picture:
    done = 0
    async for event in client.stream(
        shot.product_id,
        user=shot.user_id,
        mode=shot.mode,
        strength=shot.strength,
        seed=SEED,
        arm=shot.arm,
    ):
        if isinstance(event, Progress):
            share = WHOLE * event.step // max(event.total_steps, 1)
            advance(share - done)
            done = share
        elif isinstance(event, Result):
            advance(WHOLE - done)
            return Picture(shot, event)
    raise RuntimeError(f"{shot.name}: the stream ended without a result")


async def _ask_slate(
    client: AsyncClient, shots: Sequence[Shot], advance: Advance
) -> tuple[Picture, ...]:
    items: dict[int, SlateItem] = {}
    products = [shot.product_id for shot in shots]
    shared = shots[0]
    async for item in client.slate(
        products, user=shared.user_id, strength=shared.strength, seed=SEED
    ):
        items[item.rank] = item
        advance(WHOLE)
    return tuple(Picture(shot, items[rank].unwrap()) for rank, shot in enumerate(shots))
