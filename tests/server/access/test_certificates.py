"""What is no pair of certificate and key is refused by file."""

import pytest

from server.access.certificates import CertificateUnusable, read_certificates
from tests.server.access.papers import Authority

OURS = Authority("ours")


@pytest.fixture
def papers(tmp_path):
    names = ("cert", "key", "ca")
    for name, content in zip(names, (*OURS.issue("server"), OURS.pem), strict=True):
        (tmp_path / name).write_bytes(content)
    return tuple(tmp_path / name for name in names)


def test_a_sound_pair_is_read_and_its_key_never_shown(papers):
    cert, key, ca = papers
    found = read_certificates(cert, key, ca)
    assert (found.chain, found.client_ca) == (cert.read_bytes(), OURS.pem)
    assert "PRIVATE" not in repr(found)
    assert read_certificates(cert, key, None).client_ca is None


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("cert", b"no certificate", "has no certificate in PEM"),
        ("key", b"no key", "is no private key in PEM"),
        ("key", OURS.issue("server")[1], "is not the key of"),
        ("ca", b"", "has no certificate in PEM"),
        ("cert", None, "can't be read"),
    ],
)
def test_what_can_not_be_used_is_told_by_file(papers, tmp_path, name, content, told):
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CertificateUnusable, match=f"{name}: {told}"):
        read_certificates(*papers)
