"""Who a shopper is to the log: a keyed hash, never an id.

The keys are a file (features.keys). The first one signs tokens and all of them verify; so a new one
is put before the others, and an old one taken out once nothing that it signed is of use any more.
"""

from __future__ import annotations

import base64
import hmac


class Pseudonyms:
    def __init__(self, key: bytes) -> None:
        own = hmac.digest(key, b"etalage pseudonyms", "sha256")
        self._begun = hmac.new(
            own, digestmod="sha256"
        )  # to set up a key takes longer than to use it

    def name(self, user_id: str, session_id: str = "") -> str:
        """22 characters (128 bits) for a shopper, or else for a session; "" for neither."""
        if not user_id and not session_id:
            return ""
        told = f"shopper\0{user_id}" if user_id else f"session\0{session_id}"
        begun = self._begun.copy()
        begun.update(told.encode())
        return base64.urlsafe_b64encode(begun.digest()[:16])[:22].decode()
