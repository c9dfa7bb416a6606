"""Who a shopper is to the log: a keyed hash, never an id.

The keys are a file (features.keys). The first one signs tokens and all of them verify; so a new one
is put before the others, and an old one taken out once nothing that it signed is of use any more.
"""

from __future__ import annotations

import base64
import hmac


class Pseudonyms:
    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"etalage pseudonyms", "sha256")

    def name(self, user_id: str, session_id: str = "") -> str:
        """22 characters (128 bits) for a shopper, or else for a session; "" for neither."""
        if not user_id and not session_id:
            return ""
        told = f"shopper\0{user_id}" if user_id else f"session\0{session_id}"
        digest = hmac.digest(self._key, told.encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:16])[:22].decode()
