"""Certificates as operators have them: of their own authority, or of another."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PURPOSES = [ExtendedKeyUsageOID.EMAIL_PROTECTION]
_USAGES = (
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
    "key_cert_sign crl_sign encipher_only decipher_only"
).split()


def certify(folder, key=None, purposes=PURPOSES, days=(-1, 30), name="Shop"):
    """certificate.pem with its authority, authority.pem and key.pem in the folder; the key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    by = ec.generate_private_key(ec.SECP256R1())
    root = _make(f"{name} authority", f"{name} authority", by, by, days)
    leaf = _make(f"{name} images", f"{name} authority", key, by, days, purposes)
    folder.mkdir(exist_ok=True)
    told = [each.public_bytes(serialization.Encoding.PEM) for each in (leaf, root)]
    (folder / "certificate.pem").write_bytes(b"".join(told))
    (folder / "authority.pem").write_bytes(told[1])
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return key


def _make(name, issuer, key, by, days, purposes=()):
    now, is_authority = datetime.now(UTC), name == issuer
    used = {"key_cert_sign"} if is_authority else {"digital_signature"}
    names = [
        x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A shop"),
                x509.NameAttribute(NameOID.COMMON_NAME, each),
            ]
        )
        for each in (name, issuer)
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.KeyUsage(**{each: each in used for each in _USAGES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False)
    )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(by, hashes.SHA256())


EDWARDS = ed25519.Ed25519PrivateKey.generate
