"""Any segmentation checkpoint as a matting model: the same as its own classes make by hand."""

import numpy as np
import pytest
import torch
from transformers import (
    MobileViTConfig,
    MobileViTForSemanticSegmentation,
    MobileViTImageProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    ViTConfig,
    ViTModel,
)
from transformers.utils import logging

from diffusion.checkpoint import CheckpointUnusable
from diffusion.pretrained_matting import PretrainedMatting

PICTURE = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)


@pytest.fixture(autouse=True, scope="module")
def no_progress_bars():
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


def save_segformer(folder, labels):
    torch.manual_seed(0)
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        patch_sizes=[7, 3],
        strides=[4, 2],
        hidden_sizes=[8, 16],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        initializer_range=0.3,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return str(folder)


def read_by_hand(folder, picture):
    """Logits [labels, 16, 16] of what is 64 px already."""
    network = SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    processor = SegformerImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        return network(**processor([picture], return_tensors="pt")).logits[0]


def test_the_map_is_the_share_of_all_that_is_not_background(tmp_path):
    folder = save_segformer(tmp_path, ["shoe", "background", "hat"])
    matting = PretrainedMatting.load(folder)
    picture = PICTURE[:64, :64]
    expected = read_by_hand(folder, picture).softmax(dim=0)[[0, 2]].sum(dim=0)
    assert matting.labels == (0, 2)
    found = matting._look([picture])[0]
    assert found.std() > 1e-3
    assert torch.allclose(found, expected, atol=1e-5)


def test_products_are_what_is_named(tmp_path):
    folder = save_segformer(tmp_path, ["wall", "shoe", "sky"])
    matting = PretrainedMatting.load(folder, products=["shoe"])
    expected = read_by_hand(folder, PICTURE[:64, :64]).softmax(dim=0)[1]
    assert torch.allclose(matting._look([PICTURE[:64, :64]])[0], expected, atol=1e-5)
    with pytest.raises(CheckpointUnusable, match="no labels boot: it knows wall, shoe, sky"):
        PretrainedMatting.load(folder, products=["boot"])
    with pytest.raises(CheckpointUnusable, match="none of its labels is called background"):
        PretrainedMatting.load(folder)


def test_one_label_is_the_product(tmp_path):
    folder = save_segformer(tmp_path, ["matte"])
    expected = read_by_hand(folder, PICTURE[:64, :64]).sigmoid()[0]
    found = PretrainedMatting.load(folder)._look([PICTURE[:64, :64]])[0]
    assert torch.allclose(found, expected, atol=1e-5)


def test_alpha_has_the_pictures_own_size_whatever_its_batch(tmp_path):
    matting = PretrainedMatting.load(save_segformer(tmp_path, ["background", "product"]))
    pictures = [PICTURE, PICTURE[:40], PICTURE[:64, :64]]
    for picture, matte in zip(pictures, matting.find_alphas(pictures, batch_size=2), strict=True):
        assert matte.alpha.shape == picture.shape[:2]
        assert matte.alpha.min() >= 0 and matte.alpha.max() <= 1
        assert np.allclose(matte.alpha, matting.find_alpha(picture).alpha, atol=1e-4)


def test_what_a_processor_would_crop_is_seen_as_well(tmp_path):
    torch.manual_seed(0)
    config = MobileViTConfig(
        image_size=64,
        hidden_sizes=[8, 12, 16],
        neck_hidden_sizes=[8, 8, 16, 16, 16, 16, 32],
        num_attention_heads=2,
        aspp_out_channels=16,
        id2label={0: "background", 1: "product"},
        label2id={"background": 0, "product": 1},
    )
    MobileViTForSemanticSegmentation(config).save_pretrained(tmp_path)
    crop = {"height": 64, "width": 64}
    processor = MobileViTImageProcessor(size={"shortest_edge": 96}, crop_size=crop)
    processor.save_pretrained(tmp_path)
    matting = PretrainedMatting.load(str(tmp_path))
    assert matting.size == (64, 64)
    assert matting.find_alpha(PICTURE).alpha.shape == PICTURE.shape[:2]


def test_a_digest_is_of_weights_and_labels(tmp_path):
    folder = save_segformer(tmp_path, ["background", "shoe", "hat"])
    one, same = PretrainedMatting.load(folder), PretrainedMatting.load(folder)
    other = PretrainedMatting.load(folder, products=["hat"])
    assert one.digest == same.digest != other.digest


def test_what_finds_nothing_is_refused(tmp_path):
    with pytest.raises(CheckpointUnusable, match="finds no products"):
        PretrainedMatting.load(str(tmp_path / "nowhere"))
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointUnusable, match="finds no products"):
        PretrainedMatting.load(str(tmp_path))
