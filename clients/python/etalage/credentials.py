"""Who calls: an API key or a token, put on every call.

Each is given, or comes from the environment: ETALAGE_API_KEY, ETALAGE_TOKEN, or a file that
ETALAGE_API_KEY_FILE or ETALAGE_TOKEN_FILE names and that may be exchanged while the client lives.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Secret = str | Callable[[], str]
"""Said, or asked for at every call: what is called must be quick."""

Metadata = tuple[tuple[str, str], ...]


class Credentials:
    """What is put on a call; nothing where there is neither a key nor a token."""

    def __init__(self, api_key: Secret | None = None, token: Secret | None = None) -> None:
        if api_key is not None and token is not None:
            raise ValueError("api_key and token: exclude each other")
        self._api_key, self._token = api_key, token

    def __bool__(self) -> bool:
        return self._api_key is not None or self._token is not None

    def __repr__(self) -> str:
        return f"Credentials({'given' if self else 'none'})"

    def metadata(self) -> Metadata:
        if self._api_key is not None:
            return (("x-api-key", _say(self._api_key)),)
        if self._token is not None:
            return (("authorization", f"Bearer {_say(self._token)}"),)
        return ()


def find_credentials(
    api_key: Secret | None,
    token: Secret | None,
    environment: Mapping[str, str] = os.environ,
) -> Credentials:
    """What is given, or else what the environment says."""
    if api_key is None and token is None:
        api_key = _look_up("ETALAGE_API_KEY", environment)
        token = _look_up("ETALAGE_TOKEN", environment)
    return Credentials(api_key, token)


def read_secret(path: str | os.PathLike[str]) -> Callable[[], str]:
    """A secret that a file holds, read again at every call: others may exchange it."""
    return lambda: Path(path).read_text("utf-8").strip()


class SignedChannel:
    """A channel of either kind, with credentials on every call."""

    def __init__(self, channel: Any, credentials: Credentials) -> None:
        self._channel, self._credentials = channel, credentials

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        return self._sign(self._channel.unary_unary(*arguments, **options))

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        return self._sign(self._channel.unary_stream(*arguments, **options))

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        return self._sign(self._channel.stream_unary(*arguments, **options))

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        return self._sign(self._channel.stream_stream(*arguments, **options))

    def close(self, *arguments: Any, **options: Any) -> Any:
        return self._channel.close(*arguments, **options)

    def _sign(self, call: Any) -> Callable[..., Any]:
        def signed(*arguments: Any, metadata: Any = (), **options: Any) -> Any:
            shown = self._credentials.metadata()
            return call(*arguments, metadata=(*(metadata or ()), *shown), **options)

        return signed


def _say(secret: Secret) -> str:
    said = secret if isinstance(secret, str) else secret()
    if not said or not said.isascii() or not said.isprintable():
        raise ValueError("api_key or token: is empty, or has characters that no header may have")
    return said


def _look_up(name: str, environment: Mapping[str, str]) -> Secret | None:
    if file := environment.get(f"{name}_FILE"):
        return read_secret(file)
    return environment.get(name) or None
