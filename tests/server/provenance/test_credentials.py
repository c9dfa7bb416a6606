"""Who signs: what is made at the first start, what an operator brings, and what is refused."""

import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from server.provenance.credentials import (
    CERTIFICATE,
    KEY,
    CredentialsUnusable,
    load_credentials,
    load_development,
)
from server.provenance.signing import FileSigner
from tests.server.provenance.certificates import EDWARDS, certify


def load(folder, key="key.pem", signer=""):
    return load_credentials(folder / "certificate.pem", folder / key if key else None, signer)


def test_the_development_certificate_is_made_once_and_its_key_is_the_owners(tmp_path):
    folder = tmp_path / "keys" / "provenance"
    first, again = load_development(folder), load_development(folder)
    assert first.chain == again.chain and first.is_development and first.algorithm == "es256"
    assert first.chain.count(b"BEGIN CERTIFICATE") == 2, "an authority vouches for the signer"
    assert stat.S_IMODE((folder / KEY).stat().st_mode) == 0o600
    assert {each.name for each in folder.parent.iterdir()} == {"provenance"}, "nothing unfinished"
    FileSigner(first).check()


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: ec.generate_private_key(ec.SECP256R1()), "es256"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "es384"),
        (EDWARDS, "ed25519"),
        (lambda: rsa.generate_private_key(65537, 2048), "ps256"),
    ],
)
def test_an_operators_certificate_signs_what_can_be_read_back(tmp_path, make, algorithm):
    certify(tmp_path, make())
    credentials = load(tmp_path)
    assert credentials.algorithm == algorithm and not credentials.is_development
    FileSigner(credentials).check()


def test_a_callback_signs_in_the_place_of_a_key_and_may_speak_der(tmp_path, monkeypatch):
    key, service = certify(tmp_path), ModuleType("key_service")
    service.sign = lambda data: key.sign(data, ec.ECDSA(hashes.SHA256()))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "key_service", service)
    FileSigner(load(tmp_path, "", "key_service:sign")).check()


def test_a_key_of_another_certificate_is_named(tmp_path):
    certify(tmp_path)
    certify(tmp_path / "other")
    with pytest.raises(CredentialsUnusable, match=r"provenance\.key: .*other.*does not belong to"):
        load(tmp_path, "other/key.pem")


@pytest.mark.parametrize(
    ("signer", "fault"),
    [
        ("nowhere", "not package.module:callable"),
        ("no_such_module:sign", "ModuleNotFoundError"),
        ("math:pi", "is not callable"),
        ("builtins:bytes", "does not belong to"),
        ("json:loads", "does not belong to .*: "),
    ],
)
def test_a_callback_that_can_not_sign_is_named(tmp_path, signer, fault):
    certify(tmp_path)
    with pytest.raises(CredentialsUnusable, match=rf"provenance\.signer: .*{fault}"):
        load(tmp_path, "", signer)


def test_what_is_no_certificate_or_no_key_is_named(tmp_path):
    certify(tmp_path)
    with pytest.raises(CredentialsUnusable, match=r"provenance\.certificate: .*No such file"):
        load(tmp_path / "nowhere")
    with pytest.raises(CredentialsUnusable, match=r"provenance\.key: .*no private key in PEM"):
        load(tmp_path, "certificate.pem")
    (tmp_path / "certificate.pem").write_text("nothing")
    with pytest.raises(CredentialsUnusable, match=r"provenance\.certificate: .*no certificate"):
        load(tmp_path)


def test_a_certificate_that_is_over_is_named_with_its_dates(tmp_path):
    certify(tmp_path, days=(-9, -2))
    with pytest.raises(CredentialsUnusable, match=r"is valid from \d{4}-\d\d-\d\d to"):
        load(tmp_path)


def test_a_key_of_a_curve_that_c2pa_has_not_is_refused(tmp_path):
    certify(tmp_path, ec.generate_private_key(ec.SECP256K1()))
    with pytest.raises(CredentialsUnusable, match="its key is not of P-256"):
        load(tmp_path)


def test_a_certificate_for_nothing_that_c2pa_knows_is_found_before_anything_is_served(tmp_path):
    certify(tmp_path, purposes=[])
    with pytest.raises(CredentialsUnusable, match=r"C2PA does not take it|nothing can be signed"):
        FileSigner(load(tmp_path)).check()


def test_two_first_starts_at_once_agree_on_one_certificate(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(load_development, [tmp_path / "provenance"] * 4))
    assert len({each.chain for each in made}) == 1
    assert (tmp_path / "provenance" / CERTIFICATE).read_bytes() == made[0].chain
