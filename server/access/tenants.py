"""The file of those who may call, validated, then frozen.

issuers:
  login: {issuer: "https://login.example", audience: etalage, jwks: "https://login.example/jwks"}
tenants:
  - name: shop
    scopes: [generate, record]
    keys: ["sha256:9f86…"]            # of `python -m server keys new shop`
    tokens: {login: [shop-backend]}   # values of the issuer's claim, by default sub
    certificates: [shop.internal]     # a name among a client certificate's
    quotas: {requests_per_minute: 600, images_per_minute: 1200, concurrent_images: 32}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diffusion.declarations import DeclarationInvalid, find_fault
from server.access.jwks import is_url
from server.access.keys import HASH_PATTERN, Keyring
from server.access.scopes import Scope
from server.access.tokens import Subject

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=256)]
KeyHash = Annotated[str, Field(pattern=HASH_PATTERN)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]


class TenantsInvalid(DeclarationInvalid):
    """A file that can't be used; says which field, and never what was in it."""

    @classmethod
    def read(cls, path: Path) -> dict[str, Any]:
        try:
            return super().read(path)
        except cls as error:
            if isinstance(cause := error.__cause__, yaml.MarkedYAMLError):
                line = cause.problem_mark.line + 1 if cause.problem_mark else 1
                raise cls(path, "", f"can't be read: line {line} is no YAML") from None
            raise


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Quotas(_Part):
    """None stands for no limit."""

    requests_per_minute: Count | None = None
    images_per_minute: Count | None = None
    concurrent_images: Count | None = None


class Issuer(_Part):
    """Whose tokens are believed. `jwks` is a file beside this one, or a URL of https, whose host
    `jwks_ca` may vouch for."""

    issuer: Text
    audience: Text
    jwks: Text
    jwks_ca: Path | None = None
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    claim: Text = "sub"

    @model_validator(mode="after")
    def _check_source(self) -> Issuer:
        if "://" in self.jwks and not is_url(self.jwks):
            raise ValueError("jwks must be a file or a URL of https")
        return self


class Tenant(_Part):
    """One who may call."""

    name: Name
    scopes: frozenset[Scope] = Field(min_length=1)
    keys: tuple[KeyHash, ...] = Field(default=(), repr=False)
    tokens: Mapping[str, tuple[Text, ...]] = {}
    certificates: tuple[Text, ...] = ()
    quotas: Quotas = Quotas()

    @model_validator(mode="after")
    def _check_credentials(self) -> Tenant:
        if not (self.keys or any(self.tokens.values()) or self.certificates):
            raise ValueError("has no keys, no tokens and no certificates: nobody could be it")
        return self


class _File(_Part):
    issuers: Mapping[Name, Issuer] = {}
    tenants: tuple[Tenant, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Directory:
    """All who may call, by what they show."""

    issuers: Mapping[str, Issuer]
    tenants: Mapping[str, Tenant]
    keyring: Keyring[Tenant] = field(repr=False)
    by_subject: Mapping[Subject, Tenant]
    by_certificate: Mapping[str, Tenant]


def read_tenants(path: Path) -> Directory:
    """Raises TenantsInvalid."""
    try:
        file = _File.model_validate(TenantsInvalid.read(path))
    except ValidationError as error:
        raise TenantsInvalid(path, *find_fault(error)) from None
    refuse = _refuser(path)
    named = [(f"tenants.{number}", each) for number, each in enumerate(file.tenants)]
    for at, tenant in named:
        for issuer in tenant.tokens.keys() - file.issuers.keys():
            refuse(f"{at}.tokens.{issuer}", "is none of the issuers")
    _index([(at, "name", t.name, t) for at, t in named], refuse)
    issuers = [(f"issuers.{n}", "issuer", each.issuer, n) for n, each in file.issuers.items()]
    _index(issuers, refuse)
    keys = _index([(at, "keys", key, t) for at, t in named for key in t.keys], refuse)
    subjects = [
        (at, f"tokens.{issuer}", Subject(issuer, value), t)
        for at, t in named
        for issuer, values in t.tokens.items()
        for value in values
    ]
    shown = [(at, "certificates", name, t) for at, t in named for name in t.certificates]
    return Directory(
        {name: _place(each, path.parent) for name, each in file.issuers.items()},
        {tenant.name: tenant for tenant in file.tenants},
        Keyring(keys.items()),
        _index(subjects, refuse),
        _index(shown, refuse),
    )


def _place(issuer: Issuer, folder: Path) -> Issuer:
    """With paths that start from the folder of the file."""
    jwks = issuer.jwks if is_url(issuer.jwks) else str(folder / issuer.jwks)
    ca = None if issuer.jwks_ca is None else folder / issuer.jwks_ca
    return issuer.model_copy(update={"jwks": jwks, "jwks_ca": ca})


Refuse = Callable[[str, str], None]


def _refuser(path: Path) -> Refuse:
    def refuse(at: str, reason: str) -> None:
        raise TenantsInvalid(path, at, reason)

    return refuse


K = TypeVar("K")
V = TypeVar("V")


def _index(told: Iterable[tuple[str, str, K, V]], refuse: Refuse) -> dict[K, V]:
    """By what must be told once only; with where it is told."""
    found: dict[K, V] = {}
    for at, name, key, value in told:
        if key in found:
            refuse(f"{at}.{name}", "has what is told before")
        found[key] = value
    return found
