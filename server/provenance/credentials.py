"""Who signs: a certificate with those that lead from it to an authority, and what makes signatures.

A development certificate is made at the first start. Nobody but this server trusts it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATE, KEY = "certificate.pem", "key.pem"
YEARS = 10
ORGANIZATION = "Etalage development"
_CHALLENGE = b"is this the key of that certificate?"
_HASHES: dict[str, hashes.HashAlgorithm] = {"es256": hashes.SHA256(), "es384": hashes.SHA384()}
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)

Sign = Callable[[bytes], bytes]


class CredentialsUnusable(ValueError):
    """Says which setting or file, and why; never what is in a key."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """`chain` is PEM, the signer's own certificate first; `sign` gives signatures as COSE has them,
    r and s side by side for elliptic curves, all of `signature_bytes`."""

    chain: bytes
    algorithm: str
    sign: Sign = field(repr=False)
    signature_bytes: int
    is_development: bool = False


def load_credentials(certificate: Path, key: Path | None, signer: str = "") -> Credentials:
    """The operator's own, of a key file or a callback. Raises CredentialsUnusable."""
    chain = read_chain(certificate, "provenance.certificate")
    own = chain[0].public_key()
    algorithm = find_algorithm(own, f"provenance.certificate: {certificate}")
    check_dates(chain[0], f"provenance.certificate: {certificate}")
    if key is not None:
        sign, whose = open_key(key), f"provenance.key: {key}"
    else:
        sign, whose = load_signer(signer), f"provenance.signer: {signer}"
    sign = as_cose(sign, algorithm)
    num_bytes = check_pair(own, algorithm, sign, f"{whose}: does not belong to {certificate}")
    return Credentials(_write(chain), algorithm, sign, num_bytes)


def load_development(folder: Path) -> Credentials:
    """Makes certificate and key where there are none, the key for its owner alone. Raises
    CredentialsUnusable."""
    try:
        if not (folder / KEY).exists():
            make_development(folder)
    except OSError as error:
        raise CredentialsUnusable(f"{folder}: can't be made: {error.strerror}") from error
    made = load_credentials(folder / CERTIFICATE, folder / KEY)
    return replace(made, is_development=True)


def read_chain(path: Path, setting: str) -> Sequence[x509.Certificate]:
    """Raises CredentialsUnusable."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise CredentialsUnusable(f"{setting}: {path}: {error.strerror}") from error
    except ValueError as error:
        raise CredentialsUnusable(f"{setting}: {path}: holds no certificate in PEM") from error


def find_algorithm(key: CertificatePublicKeyTypes, where: str) -> str:
    """As C2PA calls it. Raises CredentialsUnusable."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        if (found := {"secp256r1": "es256", "secp384r1": "es384"}.get(key.curve.name)) is not None:
            return found
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return "ps256"
    raise CredentialsUnusable(
        f"{where}: its key is not of P-256, P-384, Ed25519, or RSA of 2048 bits or more"
    )


def check_dates(certificate: x509.Certificate, where: str) -> None:
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        raise CredentialsUnusable(f"{where}: is valid from {start:%Y-%m-%d} to {end:%Y-%m-%d} only")


def open_key(path: Path) -> Sign:
    """Raises CredentialsUnusable."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise CredentialsUnusable(f"provenance.key: {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:  # TypeError where it is encrypted
        text = "holds no private key in PEM that is not encrypted"
        raise CredentialsUnusable(f"provenance.key: {path}: {text}") from error
    match key:
        case ec.EllipticCurvePrivateKey():
            digest = hashes.SHA256() if key.curve.name == "secp256r1" else hashes.SHA384()
            scheme = ec.ECDSA(digest, deterministic_signing=True)
            return lambda data: key.sign(data, scheme)
        case ed25519.Ed25519PrivateKey():
            return key.sign
        case rsa.RSAPrivateKey():
            return lambda data: key.sign(data, _PSS, hashes.SHA256())
    raise CredentialsUnusable(f"provenance.key: {path}: is a key that signs nothing here")


def load_signer(name: str) -> Sign:
    """What is called `package.module:callable`. Raises CredentialsUnusable."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise CredentialsUnusable(f"provenance.signer: {name!r} is not package.module:callable")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # it is the operator's own code
        text = f"{type(error).__name__}: {error}"
        raise CredentialsUnusable(f"provenance.signer: {name}: {text}") from error
    if not callable(found):
        raise CredentialsUnusable(f"provenance.signer: {name} is not callable")
    sign: Sign = found
    return sign


def as_cose(sign: Sign, algorithm: str) -> Sign:
    """Key services give ECDSA signatures in DER; those that are not are taken as they are."""
    size = {"es256": 32, "es384": 48}.get(algorithm)
    if size is None:
        return sign

    def sign_raw(data: bytes) -> bytes:
        signature = sign(data)
        if len(signature) == 2 * size:
            return signature
        r, s = decode_dss_signature(signature)
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign_raw


def check_pair(key: CertificatePublicKeyTypes, algorithm: str, sign: Sign, fault: str) -> int:
    """The length of a signature in bytes. Raises CredentialsUnusable."""
    try:
        signature = sign(_CHALLENGE)
        match key:
            case ec.EllipticCurvePublicKey():
                half = len(signature) // 2
                r, s = (int.from_bytes(part) for part in (signature[:half], signature[half:]))
                scheme = ec.ECDSA(_HASHES[algorithm])
                key.verify(encode_dss_signature(r, s), _CHALLENGE, scheme)
            case ed25519.Ed25519PublicKey():
                key.verify(signature, _CHALLENGE)
            case rsa.RSAPublicKey():
                key.verify(signature, _CHALLENGE, _PSS, hashes.SHA256())
    except InvalidSignature as error:
        raise CredentialsUnusable(fault) from error
    except Exception as error:  # it may be the operator's own code
        raise CredentialsUnusable(f"{fault}: {type(error).__name__}: {error}") from error
    return len(signature)


def make_development(folder: Path) -> None:
    """An authority whose key is thrown away, and a signer that it vouches for. Whole or not at all:
    whoever comes second takes what the first has made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unnamed = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))  # 0700
    try:
        authority, signer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _certify("authority", authority, "authority", authority)
        leaf = _certify("signer", signer, "authority", authority)
        pem = signer.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write_whole(unnamed / CERTIFICATE, _write([leaf, root]), 0o644)
        _write_whole(unnamed / KEY, pem, 0o600)
        unnamed.rename(folder)
    except OSError:
        if not (folder / KEY).exists():
            raise
    finally:
        shutil.rmtree(unnamed, ignore_errors=True)


def _certify(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """With what C2PA asks of a certificate, section 14.5.1."""
    is_authority, start = name == issuer, datetime.now(UTC) - timedelta(hours=1)
    usage = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    usage |= (
        {"key_cert_sign": True, "crl_sign": True} if is_authority else {"digital_signature": True}
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False)
    )
    if not is_authority:
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purposes, critical=False)
    return builder.sign(by, hashes.SHA256())


def _name(name: str) -> x509.Name:
    parts = {NameOID.ORGANIZATION_NAME: ORGANIZATION, NameOID.COMMON_NAME: f"Etalage {name}"}
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts.items()])


def _write(chain: Sequence[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)


def _write_whole(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
