"""Certificates, keys and tokens as a company would make them for itself, in a folder."""

from __future__ import annotations

import datetime
import ipaddress
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm

from server.access.keys import hash_key, make_key

ISSUER, AUDIENCE = "https://login.test", "etalage"
SHOP_KEY, TRIAL_KEY = make_key(), make_key()


class Authority:
    """A CA; what it signs is good for an hour."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.certificate = _sign(self._name, self._name, self._key.public_key(), self._key, True)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """A certificate for that name and loopback, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(_name(name), self._name, key.public_key(), self._key, False, name)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), private


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _sign(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    key: ec.EllipticCurvePrivateKey,
    is_authority: bool,
    host: str = "",
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    )
    if host:
        names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256())


@dataclass
class Login:
    """Who issues tokens, with keys that are exchanged."""

    keys: dict[str, Any] = field(default_factory=dict)

    def rotate(self, name: str) -> None:
        """A new key, and the old ones are gone."""
        self.keys = {name: ec.generate_private_key(ec.SECP256R1())}

    def jwks(self) -> bytes:
        told = [
            ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
            | {"kid": name, "use": "sig", "alg": "ES256"}
            for name, key in self.keys.items()
        ]
        return json.dumps({"keys": told}).encode()

    def token(self, **claims: Any) -> str:
        now = int(time.time())
        told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop-backend", "exp": now + 600} | claims
        (name, key), *_ = self.keys.items()
        told = {claim: value for claim, value in told.items() if value is not None}
        return jwt.encode(told, key, "ES256", {"kid": name})


def replace(path: Path, content: bytes) -> None:
    """At once, as secrets are exchanged."""
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def write_tenants(folder: Path, **quotas: int) -> Path:
    """`shop` may do what a shop does, by key, token or certificate; `trial` only generate, with
    these quotas; `operator` is who runs the server, by certificate."""
    told = {
        "issuers": {"login": {"issuer": ISSUER, "audience": AUDIENCE, "jwks": "jwks.json"}},
        "tenants": [
            {
                "name": "shop",
                "scopes": ["generate", "record"],
                "keys": [hash_key(SHOP_KEY)],
                "tokens": {"login": ["shop-backend"]},
                "certificates": ["shop.internal"],
            },
            {
                "name": "trial",
                "scopes": ["generate"],
                "keys": [hash_key(TRIAL_KEY)],
                "quotas": quotas,
            },
            {"name": "operator", "scopes": ["admin"], "certificates": ["operator.internal"]},
        ],
    }
    path = folder / "tenants.yaml"
    replace(path, yaml.safe_dump(told).encode())
    return path
