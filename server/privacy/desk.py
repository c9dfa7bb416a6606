"""Privacy, for the door: shoppers erased, told what is held of them, and asked for consent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from features.consent import ConsentElsewhere, PermanentlyErased
from server import logs
from server.errors import FailedPrecondition, Unavailable
from server.privacy.eraser import Eraser
from server.privacy.holdings import HoldingsTooLarge
from server.privacy.proof import Proof

log = logs.logger(__name__)


class Desk:
    """Belongs to one event loop; `tell` and `set_consent` block, and run in threads."""

    def __init__(
        self,
        eraser: Eraser,
        tell: Callable[[str], Mapping[str, Any]],
        set_consent: Callable[[str, bool], datetime],
        on_withdrawal: Callable[[str], Any],
        max_export_bytes: int,
    ) -> None:
        """`on_withdrawal`, a coroutine function, drops what was made while there was consent."""
        self._eraser, self._tell, self._set_consent = eraser, tell, set_consent
        self._on_withdrawal, self._max_export_bytes = on_withdrawal, max_export_bytes

    async def erase(self, user_id: str, *, is_permanent: bool, is_patient: bool) -> Proof:
        """Raises Unavailable where it can't be written down."""
        try:
            return await self._eraser.erase(
                user_id, is_permanent=is_permanent, is_patient=is_patient
            )
        except Exception as error:
            log.error("an erasure can't be written down", exc_info=error)
            text = "erasures can't be written down now: nothing was erased"
            raise Unavailable(text, "ERASURES_UNAVAILABLE") from error

    async def export(self, user_id: str) -> bytes:
        """All that is held, as JSON. Raises FailedPrecondition where it is too much, Unavailable
        where a store does not answer."""
        try:
            data = await asyncio.to_thread(lambda: write_json(self._tell(user_id)))
        except HoldingsTooLarge as error:
            raise too_large(str(error)) from None
        except Exception as error:  # whatever a driver raises
            log.error("what is held can't be read", exc_info=error)
            raise Unavailable("a store can't be read now", "STORE_UNAVAILABLE") from error
        if len(data) > self._max_export_bytes:
            raise too_large(f"it takes {len(data)} bytes, of {self._max_export_bytes} allowed")
        return data

    async def set_consent(self, user_id: str, is_given: bool) -> datetime:
        """When from. Raises FailedPrecondition for who is erased for good and where it is not
        kept here, Unavailable."""
        try:
            when = await asyncio.to_thread(self._set_consent, user_id, is_given)
            if not is_given:
                await self._on_withdrawal(user_id)
        except PermanentlyErased:
            text = "this shopper was erased for good: nothing is taken in of them"
            raise FailedPrecondition(text, "SHOPPER_ERASED") from None
        except ConsentElsewhere:
            text = "consent is read from the shop's own feature repository: set it there"
            raise FailedPrecondition(text, "CONSENT_ELSEWHERE") from None
        except Exception as error:
            log.error("consent can't be written", exc_info=error)
            raise Unavailable("consent can't be written now", "STORE_UNAVAILABLE") from error
        return when


def write_json(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False, indent=1, default=str).encode()


def too_large(why: str) -> FailedPrecondition:
    text = f"more is held than one message carries: {why}; `python -m server export-user` writes it"
    return FailedPrecondition(text, "EXPORT_TOO_LARGE")
