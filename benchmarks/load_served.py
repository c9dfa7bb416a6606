"""Calls of a load as a client makes them over gRPC."""

from __future__ import annotations

import time

from benchmarks.load import Call, Ending, Send
from etalage import AsyncClient, DeadlineExceeded, EtalageError, Overloaded

MAX_SHOPPER_SCALE = 2.0
"""Of the server: strength 1 stands for so much."""


def ask_by(client: AsyncClient) -> Send:
    """An image counts where it is what was asked for: of this shopper, in so many steps; or the
    packshot, where no try was good enough. That is a judgement of the image, and takes as long."""

    async def send(call: Call) -> Ending:
        begun_s = time.perf_counter()
        try:
            result = await client.generate(
                call.product,
                user=call.shopper,
                steps=call.kind.num_steps,
                product_scale=call.kind.product_scale,
                strength=call.kind.shopper_scale / MAX_SHOPPER_SCALE,
                seed=call.seed,
                deadline_policy="strict",
                timeout_s=call.deadline_s,
            )
        except Overloaded:
            return Ending.REFUSED
        except DeadlineExceeded:
            # At once, where it could not be met even alone. Let in, it is told at the deadline.
            is_early = time.perf_counter() - begun_s < call.deadline_s / 4
            return Ending.REFUSED if is_early else Ending.EXPIRED
        except EtalageError:
            return Ending.FAILED
        is_walked = result.steps == call.kind.num_steps
        is_judged = result.degradation == "none" and all(each.is_original for each in result.images)
        is_whole = result.personalization.applied and (is_walked or is_judged)
        return Ending.DONE if is_whole else Ending.FAILED

    return send
