"""Who may ask, and what the page may load.

The page speaks with the caller's own key, so no other site may speak through it: it answers to its
own names only (a name that was made to lead here is another site's), and to its own origin.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """Around the site. `names` are host and port as a browser says them."""

    def __init__(self, site: ASGIApp, names: Collection[str]) -> None:
        self._site = site
        self._names = frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._site(scope, receive, send)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._site if self._is_ours(Headers(scope=scope)) else _REFUSAL
        await answer(scope, receive, send_guarded)

    def _is_ours(self, headers: Headers) -> bool:
        host, origin = headers.get("host", ""), headers.get("origin")
        return host in self._names and origin in (None, f"http://{host}")


_REFUSAL = PlainTextResponse("The playground answers to its own page only.\n", 403)
