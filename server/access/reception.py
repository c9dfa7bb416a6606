"""Puts a caller to the test: its credentials, its right, its quotas."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from server.access.calls import Call
from server.access.jwks import KeySet
from server.access.quotas import Quotas
from server.access.scopes import Rule, Scope, need_of
from server.access.tenants import Directory, Issuer, Tenant, read_tenants
from server.access.tokens import Tokens
from server.access.watched import ReloadObserver, Watched
from server.errors import PermissionDenied, Unauthenticated

API_KEY = "x-api-key"
AUTHORIZATION = "authorization"
BEARER = "bearer "

Metadata = Iterable[tuple[str, str | bytes]]
"""As gRPC has it: keys in lower case, some of them more than once."""


class AccessObserver(ReloadObserver, Protocol):
    def authenticated(self, kind: str, result: str) -> None: ...

    def quota_refused(self, tenant: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Known:
    """The tenants of a moment, and what checks their tokens."""

    directory: Directory
    tokens: Tokens


class Reception:
    """Knows the tenants of a file, and hears of its changes by `refresh`."""

    def __init__(self, file: Path, observer: AccessObserver, quotas: Quotas | None = None) -> None:
        """Raises TenantsInvalid and JwksUnusable."""
        self.quotas = quotas or Quotas(tell_refusal=observer.quota_refused)
        self._file, self._observer = file, observer
        self._key_sets: dict[tuple[str, Path | None], KeySet] = {}
        self._watched = Watched("tenants", [file], self._read, observer)

    async def refresh(self) -> None:
        await self._watched.refresh()
        await asyncio.gather(*(key_set.refresh() for key_set in self._key_sets.values()))

    async def admit(
        self, method: str, metadata: Metadata, certificate_names: Collection[str]
    ) -> Call | None:
        """The call that may go on; None where the method is open to all.

        Raises Unauthenticated and PermissionDenied.
        """
        need = need_of(method)
        if need is Rule.OPEN:
            return None
        tenant = await self._authenticate(metadata, certificate_names)
        if not isinstance(need, Scope):
            raise PermissionDenied("METHOD_NOT_ALLOWED")
        if need not in tenant.scopes:
            raise PermissionDenied("SCOPE_MISSING")
        return Call(tenant.name, tenant.quotas, self.quotas)

    async def _authenticate(self, metadata: Metadata, names: Collection[str]) -> Tenant:
        shown = [(k, v) for k, v in metadata if k in (API_KEY, AUTHORIZATION)]
        kind = _kind_of(shown, names)
        try:
            tenant = await self._recognize(shown, names)
        except Unauthenticated as error:
            self._observer.authenticated(kind, error.reason.lower())
            raise
        self._observer.authenticated(kind, "ok")
        return tenant

    async def _recognize(
        self, shown: Sequence[tuple[str, str | bytes]], names: Collection[str]
    ) -> Tenant:
        if len(shown) > 1:
            raise Unauthenticated("AMBIGUOUS_CREDENTIALS")
        by_certificate = self._find_certificate(names)
        if not shown:
            if by_certificate is None:
                raise Unauthenticated("INVALID_CREDENTIALS" if names else "NO_CREDENTIALS")
            return by_certificate
        tenant = await self._find(*shown[0])
        if tenant is None:
            raise Unauthenticated("INVALID_CREDENTIALS")
        if by_certificate is not None and by_certificate.name != tenant.name:
            raise Unauthenticated("AMBIGUOUS_CREDENTIALS")
        return tenant

    async def _find(self, header: str, value: str | bytes) -> Tenant | None:
        if not isinstance(value, str):
            return None
        known = self._watched.value
        if header == API_KEY:
            return known.directory.keyring.find(value)
        if value[: len(BEARER)].lower() != BEARER:
            return None
        subject = await known.tokens.read(value[len(BEARER) :].strip())
        return known.directory.by_subject.get(subject)

    def _find_certificate(self, names: Collection[str]) -> Tenant | None:
        """Raises Unauthenticated where a certificate has the names of two tenants."""
        by_certificate = self._watched.value.directory.by_certificate
        found = {tenant.name: tenant for n in names if (tenant := by_certificate.get(n))}
        if len(found) > 1:
            raise Unauthenticated("AMBIGUOUS_CREDENTIALS")
        return next(iter(found.values()), None)

    def _read(self) -> _Known:
        """Keys of issuers that were known before stay, so that nobody waits for them."""
        directory = read_tenants(self._file)
        key_sets = {_source(each): self._open_keys(each) for each in directory.issuers.values()}
        self._key_sets = key_sets
        issuers = {
            name: (each, key_sets[_source(each)]) for name, each in directory.issuers.items()
        }
        return _Known(directory, Tokens(issuers))

    def _open_keys(self, issuer: Issuer) -> KeySet:
        known = self._key_sets.get(_source(issuer))
        if known is not None:
            return known
        key_set = KeySet(issuer.jwks, issuer.jwks_ca, self._observer)
        key_set.load()
        return key_set


def _source(issuer: Issuer) -> tuple[str, Path | None]:
    return issuer.jwks, issuer.jwks_ca


def _kind_of(shown: Sequence[tuple[str, object]], names: Collection[str]) -> str:
    if len(shown) > 1:
        return "several"
    if shown:
        return "key" if shown[0][0] == API_KEY else "token"
    return "certificate" if names else "none"
