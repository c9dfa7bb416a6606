"""The server's own certificate and key, and who vouches for clients: PEM, checked before use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)


class CertificateUnusable(ValueError):
    """Says which file, never what is in it."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a handshake needs; without a `client_ca` clients show none."""

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    expires_s: float
    """Unix time at which the server's own ends."""


def read_certificates(chain: Path, key: Path, client_ca: Path | None) -> Certificates:
    """Raises CertificateUnusable, also where the two don't belong together."""
    chain_pem, key_pem = _read(chain), _read(key)
    first = _parse(chain, chain_pem)[0]
    try:
        private = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateUnusable(f"{key}: is no private key in PEM without a password") from error
    if _public_bytes(private.public_key()) != _public_bytes(first.public_key()):
        raise CertificateUnusable(f"{key}: is not the key of {chain}")
    roots = None if client_ca is None else _read(client_ca)
    if roots is not None and client_ca is not None:
        _parse(client_ca, roots)
    return Certificates(chain_pem, key_pem, roots, first.not_valid_after_utc.timestamp())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateUnusable(f"{path}: can't be read: {error.strerror}") from error


def _parse(path: Path, pem: bytes) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateUnusable(f"{path}: has no certificate in PEM") from error


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
