"""`python -m server verify`, and starts that are refused by name."""

import json

import numpy as np
import pytest

from server.__main__ import main
from server.commands.provenance import open_sealer
from server.commands.start_failed import StartFailed
from server.configuration import Configuration, FeaturesSlice, ProvenanceSlice
from server.core import OutputSpec
from server.imaging.encode import encode
from server.provenance.origin import Making, SourceType
from tests.server.provenance.certificates import certify

MADE = Making(SourceType.GENERATED, "etalage", "abc", "generic", "create", 5, 4)


def configure(home, **told):
    return Configuration(features=FeaturesSlice(home=home), provenance=ProvenanceSlice(**told))


def make(home, **told):
    """An image as a server of that home would deliver it."""
    sealer = open_sealer(configure(home, **told))
    pixels = sealer.mark(np.full((256, 256, 3), 190, np.uint8))
    return sealer.sign(encode(pixels, OutputSpec()), MADE)[0].data


@pytest.fixture
def verify(tmp_path, capsys):
    def verify(*arguments, home=tmp_path / "home"):
        status = main(["verify", *map(str, arguments), f"--features.home={home}"])
        return status, *capsys.readouterr()

    return verify


def test_images_are_told_apart_in_lines_and_in_the_status(tmp_path, verify):
    signed = make(tmp_path / "home", watermark=True)
    files = {
        "good.png": signed,
        "changed.png": signed.replace(b"generic", b"genetic"),
        "bare.png": encode(np.zeros((9, 9, 3), np.uint8), OutputSpec()).data,
        "text.png": b"no image",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    status, said, _ = verify(tmp_path / "good.png")
    assert status == 0 and "manifest valid" in said and "(development)" in said
    assert "model etalage abc; generic, create, seed 5, 4 steps; watermark found" in said
    status, said, _ = verify(tmp_path / "good.png", tmp_path / "changed.png", tmp_path / "bare.png")
    assert status == 1 and "manifest tampered; assertion.hashedURI.mismatch" in said
    assert "bare.png: manifest absent; watermark not found" in said
    status, _, complaint = verify(tmp_path / "text.png", tmp_path / "nowhere.png")
    assert status == 2 and "the image does not decode as PNG, WebP or JPEG" in complaint
    assert "nowhere.png: No such file" in complaint


def test_json_has_it_all_and_a_stranger_says_what_it_does_not_know(tmp_path, verify):
    path = tmp_path / "good.png"
    path.write_bytes(make(tmp_path / "home"))
    status, said, _ = verify(path, "--json", home=tmp_path / "another")
    told = json.loads(said)
    assert status == 0 and told["manifest"] == "valid" and told["watermark"] is None
    assert told["signer"]["trust"] == "unknown" and told["origin"]["seed"] == 5
    assert not (tmp_path / "another").exists(), "to verify makes no keys"


def test_the_development_certificate_outlives_a_restart(tmp_path):
    kinds = {open_sealer(configure(tmp_path, watermark=True)).kind for _ in range(2)}
    assert len(kinds) == 1
    assert open_sealer(configure(tmp_path / "other", watermark=True)).kind not in kinds


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"certificate": "own/certificate.pem", "key": "other/key.pem"}, "does not belong to"),
        ({"certificate": "own/certificate.pem", "signer": "no.such:thing"}, "provenance.signer"),
        ({"certificate": "own/nothing.pem", "key": "own/key.pem"}, "provenance.certificate"),
        ({"sign": False, "watermark": True, "watermark_key": "own/key.pem"}, "no hexadecimal"),
    ],
)
def test_what_can_not_sign_stops_the_start_by_name(tmp_path, monkeypatch, told, fault):
    monkeypatch.chdir(tmp_path)
    certify(tmp_path / "own")
    certify(tmp_path / "other")
    with pytest.raises(StartFailed, match=fault):
        open_sealer(configure(tmp_path / "home", **told))


def test_without_signing_there_is_no_certificate(tmp_path):
    sealer = open_sealer(configure(tmp_path / "home", sign=False))
    assert sealer.sign_file is None and not (tmp_path / "home").exists()
