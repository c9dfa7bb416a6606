"""Where images come from, asked of a whole server and of its command line."""

import subprocess
import sys

import pytest

from etalage import Caption
from etalage.cli import main


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
def test_an_image_is_signed_and_the_server_knows_it_again(client, running, format):
    image = client.generate("handbag", steps=4, seed=3, format=format, longest_side=256).image
    assert image.is_signed and not image.is_watermarked
    verified = client.verify(image.data)
    assert verified.manifest == "valid" and not verified.faults
    assert verified.signer.trust == "development" and verified.origin.seed == 3
    assert verified.origin.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert verified.is_watermarked is None
    assert running.metric('etalage_signatures_total{result="signed"}') >= 1


def test_the_command_lines_agree(client, running, tmp_path, capsys):
    caption = Caption(label=True)
    image = client.generate(
        "handbag", steps=4, seed=4, longest_side=256, caption=caption, user="shopper-00135"
    ).image
    assert b"shopper-00135" not in image.data
    path = image.save(tmp_path / "handbag.png")
    assert main(["verify", str(path), "--server", running.address]) == 0
    assert "manifest valid; signed by Etalage signer" in capsys.readouterr().out
    home = f"--features.home={running.log.parent}"
    command = [sys.executable, "-m", "server", "verify", str(path), home]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "(development)" in done.stdout
    path.write_bytes(image.data[:-1] + b"!")
    assert main(["verify", str(path), "--server", running.address]) in (1, 2)


def test_of_a_packshot_nothing_is_claimed(client):
    image = client.generate("handbag", arm="original", caption=Caption(label=True)).image
    assert image.is_original and not image.is_signed and image.layout is None
    assert client.verify(image.data).manifest == "absent"
