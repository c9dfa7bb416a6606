"""How a model comes and goes on the devices of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffusion.families.specification import ModelSpecification
from server import logs
from server.revision import ModelFacts, Revision, identify

if TYPE_CHECKING:
    from diffusion.image_model import ImageModel

log = logs.logger(__name__)


@dataclass(frozen=True)
class Workshop:
    """`load`, `warm` and `close` are told a device by its number in `devices`.

    `warm` runs every bucket and gives the seconds of each; the others take long and are called in
    threads. What can't be served is a CheckpointUnusable. `close` follows every `warm`, also one
    that raised; a model that was not warmed is just dropped. `identify` gives what is the same for
    two specifications of the same content.
    """

    load: Callable[[ModelSpecification, int], ImageModel]
    warm: Callable[[ImageModel, int], Awaitable[Mapping[int, float]]]
    close: Callable[[ImageModel, int], None]
    describe: Callable[[ImageModel], ModelFacts]
    identify: Callable[[ModelSpecification], str] = identify
    devices: Sequence[str] = ("cpu",)

    async def load_all(self, new: Revision) -> None:
        assert new.specification is not None
        for number in range(len(self.devices)):
            new.models += (await asyncio.to_thread(self.load, new.specification, number),)
        new.digest = new.models[0].digest
        new.facts = await asyncio.to_thread(self.describe, new.models[0])

    async def warm_all(self, new: Revision) -> None:
        try:
            paces = [await self.warm(model, number) for number, model in enumerate(new.models)]
        except BaseException:
            await self.close_all(new)
            raise
        new.step_s = paces[0]

    async def close_all(self, old: Revision) -> None:
        for number, model in enumerate(old.models):
            try:
                await asyncio.to_thread(self.close, model, number)
            except Exception as error:  # the others must still be closed
                log.error("closing failed", model=old.name, exc_info=error)
        old.models = ()
