"""Encoders: saved and loaded, centred, and the same however they are batched."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion.encoders import DualEncoder, Encoders, to_pixels
from tests.diffusion.tiny import WIDTH, make_encoders


@pytest.fixture(scope="module")
def network() -> DualEncoder:
    return make_encoders()


@pytest.fixture(scope="module")
def encoders(network, tmp_path_factory) -> Encoders:
    folder = tmp_path_factory.mktemp("encoders")
    network.save(folder)
    return Encoders.load(folder)


def draw_images(count, side=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_a_saved_pair_encodes_as_before(network, encoders):
    images, texts = draw_images(3), ["running shoe", "Trommel"]
    with torch.inference_mode():
        seen = network.encode_images(to_pixels(images)) - network.mean
        read = network.encode_texts(texts)
    assert np.allclose(encoders.encode_images(images), seen, atol=1e-6)
    assert np.allclose(encoders.encode_texts(texts), read, atol=1e-6)


def test_weights_saved_in_half_precision_compute_in_full(tmp_path):
    make_encoders().bfloat16().save(tmp_path)
    encoders = Encoders.load(tmp_path)
    assert {parameter.dtype for parameter in encoders.network.parameters()} == {torch.float32}
    assert encoders.encode_images(draw_images(1)).dtype == np.float32
    assert encoders.encode_texts(["drum"]).dtype == np.float32


def test_the_digest_is_that_of_the_weights(tmp_path):
    digests = []
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        make_encoders(seed).save(tmp_path / name)
        digests.append(Encoders.load(tmp_path / name).digest)
    assert digests[0] == digests[1] != digests[2]
    assert len(digests[0]) == 16 and int(digests[0], 16)


def test_images_are_centred_on_the_population(network, encoders):
    assert encoders.width == WIDTH
    uncentred = encoders.encode_images(draw_images(4)) + network.mean.numpy()
    assert np.linalg.norm(uncentred, axis=1) == pytest.approx(np.ones(4), abs=1e-5)


def test_texts_have_unit_length(encoders):
    found = encoders.encode_texts(["drum", "running shoe"])
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(2), abs=1e-5)


def test_batches_do_not_change_an_embedding(encoders):
    images, texts = draw_images(5), ["a", "running shoe", "drum", "Laufschuh und Trommel", "b"]
    assert np.allclose(
        encoders.encode_images(images), encoders.encode_images(images, batch_size=2), atol=1e-6
    )
    assert np.allclose(
        encoders.encode_texts(texts), encoders.encode_texts(texts, batch_size=2), atol=1e-6
    )


def test_nothing_encodes_to_nothing(encoders):
    assert encoders.encode_images(draw_images(0)).shape == (0, WIDTH)
    assert encoders.encode_texts([]).shape == (0, WIDTH)


def test_pictures_of_any_size_are_taken(encoders):
    plain = [np.full((1, side, side, 3), 90, np.uint8) for side in (16, 32, 200)]
    found = [encoders.encode_images(images)[0] for images in plain]
    assert np.allclose(found[0], found[1], atol=1e-4) and np.allclose(found[2], found[1], atol=1e-4)


def test_pictures_that_cannot_be_written_to_are_taken(encoders):
    picture = np.asarray(Image.new("RGB", (32, 32), "teal"))
    assert not picture.flags.writeable
    assert np.isfinite(encoders.encode_images(picture[None])).all()


@pytest.mark.parametrize("text", ["", " ", "\u00ad", "靴", "x" * 10_000, "a b " * 500])
def test_any_text_has_an_embedding(encoders, text):
    found = encoders.encode_texts([text, "drum"])
    assert np.isfinite(found).all()
    assert np.allclose(found[1], encoders.encode_texts(["drum"])[0], atol=1e-6)


def test_case_and_width_of_letters_do_not_matter(encoders):
    plain, shouted, wide = encoders.encode_texts(["drum", "DRUM", "ｄｒｕｍ"])
    assert np.array_equal(plain, shouted) and np.array_equal(plain, wide)


def test_codes_become_pixels_from_minus_one_to_one():
    pixels = to_pixels(np.array([[[[0, 255, 51]]]], np.uint8))
    assert pixels.shape == (1, 3, 1, 1)
    assert pixels.flatten().tolist() == pytest.approx([-1, 1, -0.6])
