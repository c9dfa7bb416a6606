"""What the restorer does, as rows of the sampling engine: one for each tile of a picture.

The restorer joins the engines at the first picture that needs it, between the ticks of the other
models: a server that is never asked to repair pays nothing for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import Protocol, cast

import numpy as np

from diffusion.damage_levels import Levels
from diffusion.filling import fill_holes
from diffusion.image_model import Preset, Route
from diffusion.pictures import MAX_PIXELS
from diffusion.tiles import GRID, Places, cut_tiles, join_tiles
from server.core import ModelCard, Pixels
from server.enhancement.bench import Bench
from server.enhancement.detail import MAX_SIDE
from server.enhancement.nouns import Mask
from server.sampling.router import Router
from server.sampling.row import RowRequest

ROWS_AT_ONCE = 16
"""Tiles of one picture in a ticket: a large picture must not keep others out."""

MAX_TILES = 640
"""Of one picture, in which something is to be done: about 5.5 megapixels. More would take longer
than anybody waits."""


class TooLarge(Exception):
    """More than MAX_TILES are to be done, or the picture has more than MAX_PIXELS."""


class TileModel(Protocol):
    """What is asked of diffusion.restoration.Restorer."""

    name: str
    digest: str
    side: int
    preset: Preset

    def estimate(self, pixels: Pixels) -> Levels:
        """How much there is of each kind of damage in a picture [H, W, 3] of any size."""

    def plan(
        self,
        damaged: Pixels,
        mask: Mask | None = None,
        num_steps: int | None = None,
        levels: Levels | None = None,
    ) -> Route:
        """The way of one tile [S, S, 3], and what of it is unknown [S, S]; levels are those of
        the whole picture."""


class Restoring:
    def __init__(
        self, router: Router, workers: Executor, open_model: Callable[[], Awaitable[TileModel]]
    ) -> None:
        """`open_model` gives the model once it runs, warm, on every engine of the router."""
        self._router, self._workers, self._open = router, workers, open_model
        self._model: asyncio.Task[TileModel] | None = None

    async def open(self) -> TileModel:
        """The model, loaded at the first call: those who come meanwhile wait for the same, and who
        gives up waiting does not stop it. Raises what loading it raises, and then tries again."""
        if self._model is None or (self._model.done() and self._has_failed(self._model)):
            self._model = asyncio.ensure_future(self._open())
        return await asyncio.shield(self._model)

    async def restore(
        self,
        pixels: Pixels,
        mask: Mask | None = None,
        num_steps: int | None = None,
        deadline_s: float | None = None,
    ) -> Pixels:
        """A picture uint8 [H, W, 3] without blur, noise and blocks; with a mask [H, W] only what is
        under it is painted anew, and all else stays.

        Raises TooLarge, and what an engine raises.
        """
        model, bench = await self.open(), Bench(self._workers, deadline_s)
        tiles, places, routes = await bench.run(plan_tiles, model, pixels, mask, num_steps)
        todo = sorted(routes)
        for start in range(0, len(todo), ROWS_AT_ONCE):
            numbers = todo[start : start + ROWS_AT_ONCE]
            chosen = [routes[number] for number in numbers]
            tiles[numbers] = await self._sample(model, chosen, deadline_s)
        return await bench.run(put_back, pixels, mask, tiles, places)

    async def close(self) -> None:
        if self._model is not None:
            self._model.cancel()
            await asyncio.gather(self._model, return_exceptions=True)

    async def _sample(
        self, model: TileModel, routes: Sequence[Route], deadline_s: float | None
    ) -> list[Pixels]:
        rows = [RowRequest.along(route, model.name, 0, deadline_s) for route in routes]
        ticket = self._router.submit(rows)
        try:
            return await ticket.result
        finally:
            ticket.release()

    @staticmethod
    def _has_failed(task: asyncio.Task[TileModel]) -> bool:
        return task.cancelled() or task.exception() is not None


def card_of(model: TileModel) -> ModelCard:
    return ModelCard(model.name, model.digest)


def plan_tiles(
    model: TileModel, pixels: Pixels, mask: Mask | None, num_steps: int | None
) -> tuple[Pixels, Places, dict[int, Route]]:
    """All tiles, where they lie, and the ways of those in which something is to be done: a tile of
    one colour has nothing to restore. How damaged the picture is, is estimated once for all."""
    tall, wide = (max(length, model.side) for length in pixels.shape[:2])
    if tall * wide > MAX_PIXELS:
        raise TooLarge
    known = pixels if mask is None else fill_holes(pixels, mask)
    hole = np.zeros(pixels.shape[:2], np.bool_) if mask is None else mask
    cut, places = cut_tiles(known, model.side)
    tiles, holes = cast(Pixels, cut), cast(Mask, cut_tiles(hole, model.side)[0])
    todo = [
        number
        for number, (tile, unknown) in enumerate(zip(tiles, holes, strict=True))
        if (unknown.any() if mask is not None else np.ptp(tile, axis=(0, 1)).any())
    ]
    if len(todo) > MAX_TILES:
        raise TooLarge
    levels = model.estimate(crop_middle(known))
    routes = {
        number: model.plan(tiles[number], holes[number], num_steps, levels) for number in todo
    }
    return tiles, places, routes


def crop_middle(pixels: Pixels) -> Pixels:
    """Of a huge picture the middle, along the same grid of JPEG blocks."""
    top, left = (max(0, length - MAX_SIDE) // (2 * GRID) * GRID for length in pixels.shape[:2])
    return pixels[top : top + MAX_SIDE, left : left + MAX_SIDE]


def put_back(pixels: Pixels, mask: Mask | None, tiles: Pixels, places: Places) -> Pixels:
    """Tiles joined; with a mask only what is under it is theirs."""
    restored = cast(Pixels, join_tiles(tiles, places))
    return restored if mask is None else np.where(mask[..., None], restored, pixels)
