"""Visits: slates through gRPC, and what came of them, told back as events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from etalage import AsyncClient, EtalageError, ShopEvent, SlateItem
from server.demo.shop.shoppers import BUY_SHARE, HIDE_SHARE, Eyes, Viewer, find_click_share

NUM_AT_ONCE = 12
TIMEOUT_S = 120.0
MODEL, SIDE = "fast", 128
PRICE, PRICE_SPREAD = 3.0, 0.6
"""Logarithms: a median of 20, some of much more."""


@dataclass(frozen=True, slots=True)
class Impression:
    """An image that was seen, and how likely its click was."""

    arm: str
    unit: str
    click_share: float
    is_clicked: bool


@dataclass(frozen=True, slots=True)
class Shop:
    """`num_visits` of each shopper, each a slate of `num_ranks` of the products."""

    client: AsyncClient
    eyes: Eyes
    products: Sequence[str]
    experiment: str
    num_visits: int = 2
    num_ranks: int = 4

    async def open(
        self, viewers: Sequence[Viewer], advance: Callable[[int], object]
    ) -> list[Impression]:
        """Everybody comes; events are told visit by visit. Raises EtalageError."""
        seen: list[Impression] = []
        room = asyncio.Semaphore(NUM_AT_ONCE)

        async def come(viewer: Viewer) -> None:
            async with room:
                for number in range(self.num_visits):
                    seen.extend(await self._visit(viewer, number))
                advance(1)

        async with asyncio.TaskGroup() as group:
            for viewer in viewers:
                group.create_task(come(viewer))
        return seen

    async def _visit(self, viewer: Viewer, number: int) -> list[Impression]:
        rng = viewer.draw(f"visit {number}")
        chosen = rng.permutation(len(self.products))[: self.num_ranks]
        slate = self.client.slate(
            [self.products[i] for i in chosen],
            user=viewer.user_id,
            model=MODEL,
            longest_side=SIDE,
            timeout_s=TIMEOUT_S,
        )
        impressions, events = [], []
        async with aclosing(slate) as items:
            async for item in items:
                impression, told = await self._look(viewer, number, item)
                impressions.append(impression)
                events += told
        recorded = await self.client.record(events)
        if recorded.rejections:
            raise EtalageError(f"an event was rejected: {recorded.rejections[0].message}")
        return impressions

    async def _look(
        self, viewer: Viewer, visit: int, item: SlateItem
    ) -> tuple[Impression, list[ShopEvent]]:
        if item.result is None or item.result.enrolment is None:
            raise item.error or EtalageError(f"{item.product_id} is in no experiment")
        image, arm = item.result.image, item.result.enrolment.arm
        is_plain = item.result.source == "original" or image.is_original
        look = None if is_plain else await asyncio.to_thread(self.eyes.read, image.data)
        share, rng = find_click_share(viewer, look), viewer.draw(f"{visit}/{item.product_id}")
        is_clicked, is_bought, is_hidden = rng.random(3) < (share, BUY_SHARE, HIDE_SHARE)
        events = [ShopEvent("render", image.exposure_token)]
        if is_clicked:
            events.append(ShopEvent("click", image.exposure_token))
            dwell_s = float(rng.gamma(2.0, 10.0))
            events.append(ShopEvent("dwell", image.exposure_token, value=dwell_s))
            if is_bought:
                price = float(rng.lognormal(PRICE, PRICE_SPREAD))
                events.append(ShopEvent("purchase", image.exposure_token, value=price))
        elif is_hidden:
            events.append(ShopEvent("hide", image.exposure_token))
        return Impression(arm, viewer.user_id, share, bool(is_clicked)), events
