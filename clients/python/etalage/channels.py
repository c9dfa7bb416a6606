"""How to reach the server: plaintext or TLS, retries, limits."""

from __future__ import annotations

import ipaddress
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar, cast

import grpc

from etalage.credentials import Credentials, Secret, SignedChannel, find_credentials

DEFAULT_SERVER = "127.0.0.1:50051"
DEFAULT_TIMEOUT_S = 30.0

_RECONNECTING = {"grpc.initial_reconnect_backoff_ms": 200, "grpc.max_reconnect_backoff_ms": 1000}
"""Of several servers one that is back must be found before the next one goes; gRPC's own pauses
grow to two minutes."""

_MAX_MESSAGE_BYTES = 256 * 1024 * 1024
_FILES = ("ETALAGE_CA", "ETALAGE_CERT", "ETALAGE_KEY")
_SERVICES = (
    "etalage.v1.ImageService",
    "etalage.v1.BatchService",
    "etalage.v1.EnhancementService",
    "etalage.v1.ProvenanceService",
)

C = TypeVar("C")


@dataclass(frozen=True)
class Retries:
    """How often a call is tried, and how long apart where the server does not say.

    Only what a repeat may cure is tried again: no server, a full one, a stopping one. The request
    id makes repeats harmless. `max_attempts` counts the first one, 1 (never again) to 5.
    `max_tokens` keeps a crowd of clients from drowning a server in trouble: a failure costs one, a
    success gives back a tenth, and at half of them nothing is tried again.
    """

    max_attempts: int = 4
    initial_backoff_s: float = 0.1
    max_backoff_s: float = 2.0
    backoff_multiplier: float = 2.0
    max_tokens: int = 20

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= 5:
            raise ValueError(f"max_attempts: {self.max_attempts} is not 1 to 5")


class ConnectionOptions(TypedDict, total=False):
    """How to reach the server, by keyword, for both clients."""

    ca: bytes | str | os.PathLike[str] | None  # certificates to trust, PEM; default: gRPC's own
    cert: bytes | str | os.PathLike[str] | None  # the client's own certificate, PEM
    key: bytes | str | os.PathLike[str] | None  # and its private key, PEM
    credentials: grpc.ChannelCredentials | None  # ready ones instead of the three above
    insecure: bool  # plaintext to a server that is not on this machine
    api_key: Secret | None  # who calls; default: ETALAGE_API_KEY, or ETALAGE_API_KEY_FILE's content
    token: Secret | None  # or a JWT, likewise by ETALAGE_TOKEN
    retries: Retries
    channel_options: Sequence[tuple[str, Any]]  # more of gRPC's own


@dataclass(frozen=True)
class Endpoint:
    """A server, how to speak to it, and as whom; no `credentials` means plaintext."""

    target: str
    credentials: grpc.ChannelCredentials | None
    options: tuple[tuple[str, Any], ...]
    caller: Credentials = Credentials()

    def open(self) -> grpc.Channel:
        if self.credentials is None:
            return self._sign(grpc.insecure_channel(self.target, options=self.options))
        channel = grpc.secure_channel(self.target, self.credentials, options=self.options)
        return self._sign(channel)

    def open_aio(self) -> grpc.aio.Channel:
        if self.credentials is None:
            return self._sign(grpc.aio.insecure_channel(self.target, options=self.options))
        channel = grpc.aio.secure_channel(self.target, self.credentials, options=self.options)
        return self._sign(channel)

    def _sign(self, channel: C) -> C:
        return cast(C, SignedChannel(channel, self.caller)) if self.caller else channel


def resolve_endpoint(
    server: str,
    *,
    ca: bytes | str | os.PathLike[str] | None = None,
    cert: bytes | str | os.PathLike[str] | None = None,
    key: bytes | str | os.PathLike[str] | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    insecure: bool = False,
    api_key: Secret | None = None,
    token: Secret | None = None,
    retries: Retries = Retries(),
    channel_options: Sequence[tuple[str, Any]] = (),
) -> Endpoint:
    """TLS unless the server is on this machine or `insecure` is said.

    Without any of `ca`, `cert` and `key`, ETALAGE_CA, ETALAGE_CERT and ETALAGE_KEY name the files.
    `server` may be several, IP addresses with commas between: calls go round among those that say
    they serve.
    """
    if not (insecure or credentials or ca or cert or key):
        ca, cert, key = map(os.environ.get, _FILES)
    files = (ca, cert, key)
    if insecure and (credentials or any(files)):
        raise ValueError("insecure: can't go with ca, cert, key or credentials")
    if credentials and any(files):
        raise ValueError("credentials: can't go with ca, cert or key")
    if bool(cert) != bool(key):
        raise ValueError("cert and key: one needs the other")
    plaintext = insecure or (is_loopback(server) and not credentials and not any(files))
    if not plaintext:
        credentials = credentials or grpc.ssl_channel_credentials(*map(_read, (ca, key, cert)))
    target = _target(server)
    options = _options(server, retries) | dict(channel_options)
    caller = find_credentials(api_key, token)
    return Endpoint(target, credentials, tuple(options.items()), caller)


def check_timeout(timeout_s: float) -> float:
    if not 0 < timeout_s < math.inf:
        raise ValueError(f"timeout_s: {timeout_s} is not a positive, finite number of seconds")
    return timeout_s


def is_loopback(server: str) -> bool:
    """Whether nothing sent to this gRPC target, or to any of several, leaves the machine."""
    if "," in server:
        return all(is_loopback(each) for each in server.split(","))
    if server.startswith(("unix:", "unix-abstract:")):
        return True
    address = server.rpartition("/")[2]
    for scheme in ("dns:", "ipv4:", "ipv6:"):
        address = address.removeprefix(scheme)
    host = address.rpartition(":")[0] if not address.endswith("]") else address
    host = (host or address).strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _target(server: str) -> str:
    """As gRPC wants it; the addresses of a list are all of one kind."""
    if "," not in server:
        return server
    kinds = set()
    for each in server.split(","):
        host, _, port = each.rpartition(":")
        try:
            kinds.add(f"ipv{ipaddress.ip_address(host.strip('[]')).version}")
        except ValueError:
            kinds.clear()
        if not port.isdigit() or len(kinds) != 1:
            raise ValueError(
                f"server: {each!r} in a list is no IP address with a port of the others' kind; "
                "give several hosts one name in DNS"
            )
    return f"{kinds.pop()}:{server}"


def _read(file: bytes | str | os.PathLike[str] | None) -> bytes | None:
    return Path(file).read_bytes() if isinstance(file, str | os.PathLike) else file


def _options(server: str, retries: Retries) -> dict[str, Any]:
    are_several = "," in server
    return {
        **(_RECONNECTING if are_several else {}),
        "grpc.service_config": json.dumps(_service_config(retries) | _balancing(are_several)),
        "grpc.max_receive_message_length": _MAX_MESSAGE_BYTES,
        "grpc.max_send_message_length": _MAX_MESSAGE_BYTES,
        # A request larger than this buffer is never tried again; gRPC's default is 256 KiB.
        "grpc.per_rpc_retry_buffer_size": _MAX_MESSAGE_BYTES,
        "grpc.enable_http_proxy": 0 if is_loopback(server) else 1,
    }


def _balancing(are_several: bool) -> dict[str, Any]:
    """A server that says it goes, as all do before they stop, gets no further calls."""
    if not are_several:
        return {}
    health = {"serviceName": _SERVICES[0]}
    return {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": health}


def _service_config(retries: Retries) -> dict[str, Any]:
    method: dict[str, Any] = {"name": [{"service": name} for name in _SERVICES]}
    if retries.max_attempts > 1:
        method["retryPolicy"] = {
            "maxAttempts": retries.max_attempts,
            "initialBackoff": f"{retries.initial_backoff_s}s",
            "maxBackoff": f"{retries.max_backoff_s}s",
            "backoffMultiplier": retries.backoff_multiplier,
            # CANCELLED: by a server that stops before it looked at the call; ours are not retried.
            "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"],
        }
    throttling = {"maxTokens": retries.max_tokens, "tokenRatio": 0.1}
    return {"methodConfig": [method], "retryThrottling": throttling}
