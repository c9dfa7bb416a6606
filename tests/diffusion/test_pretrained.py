"""Any transformers checkpoint as encoders: the same vectors as its own classes make by hand."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    CLIPModel,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
    GPT2Model,
    SiglipModel,
    SiglipTextModel,
    SiglipVisionModel,
    ViTForImageClassification,
    ViTModel,
)

from diffusion.checkpoint import CheckpointUnusable
from diffusion.pretrained import load_pretrained
from tests.diffusion.encoder_families import (
    LAYERS,
    TITLES,
    configure_clip,
    configure_siglip,
    save_clip,
    save_gpt2,
    save_siglip,
    save_vit,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 60, 40, 3), dtype=np.uint8)
LONG = "violin " * 100


def prepare(folder, images=IMAGES):
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return processor(list(images), return_tensors="pt")["pixel_values"]


def tokenize(folder, texts, **options):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer(list(texts), truncation=True, return_tensors="pt", **options)


def close(found, expected):
    expected = F.normalize(expected.detach(), dim=1).numpy()
    return found.shape == expected.shape and np.allclose(found, expected, atol=2e-6)


def test_a_vit_gives_its_class_token_and_a_gpt2_its_last_token(tmp_path):
    image, text = save_vit(tmp_path / "vit"), save_gpt2(tmp_path / "gpt2")
    encoders = load_pretrained(image, text)
    seen = ViTModel.from_pretrained(image, add_pooling_layer=False)(prepare(image))
    assert close(encoders.encode_images(IMAGES), seen.last_hidden_state[:, 0])
    network = GPT2Model.from_pretrained(text)
    for title, found in zip(TITLES, encoders.encode_texts(TITLES), strict=True):
        read = network(**tokenize(text, [title], max_length=24)).last_hidden_state[:, -1]
        assert close(found[None], read), title


def test_clip_gives_its_projections(tmp_path):
    folder = save_clip(tmp_path, width=12)
    encoders = load_pretrained(folder, folder)
    network = CLIPModel.from_pretrained(folder).eval()
    tokens = tokenize(folder, (*TITLES, LONG), padding=True)
    by_hand = network(**tokens, pixel_values=prepare(folder))
    assert encoders.width == 12
    assert close(encoders.encode_images(IMAGES), by_hand.image_embeds)
    assert close(encoders.encode_texts((*TITLES, LONG)), by_hand.text_embeds)


def test_siglip_pools_and_pads_as_it_was_trained(tmp_path):
    folder = save_siglip(tmp_path)
    encoders = load_pretrained(folder, folder)
    tokens = tokenize(folder, (*TITLES, LONG), padding="max_length")
    assert tokens["input_ids"].shape[1] == 12 and "attention_mask" not in tokens
    by_hand = SiglipModel.from_pretrained(folder)(**tokens, pixel_values=prepare(folder))
    assert close(encoders.encode_images(IMAGES), by_hand.image_embeds)
    assert close(encoders.encode_texts((*TITLES, LONG)), by_hand.text_embeds)


def test_one_side_of_clip_saved_alone_keeps_its_projection(tmp_path):
    config = configure_clip(width=12)
    vision = CLIPVisionModelWithProjection(config.vision_config).eval()
    text = CLIPTextModelWithProjection(config.text_config).eval()
    image_folder = save_clip(tmp_path / "vision", network=vision)
    text_folder = save_clip(tmp_path / "text", network=text)
    encoders = load_pretrained(image_folder, text_folder)
    assert close(encoders.encode_images(IMAGES), vision(prepare(image_folder)).image_embeds)
    tokens = tokenize(text_folder, TITLES, padding=True)
    assert close(encoders.encode_texts(TITLES), text(**tokens).text_embeds)


def test_one_side_of_siglip_saved_alone_is_pooled(tmp_path):
    config = configure_siglip()
    vision, text = SiglipVisionModel(config.vision_config), SiglipTextModel(config.text_config)
    image_folder = save_siglip(tmp_path / "vision", network=vision.eval())
    text_folder = save_siglip(tmp_path / "text", network=text.eval())
    encoders = load_pretrained(image_folder, text_folder)
    assert close(encoders.encode_images(IMAGES), vision(prepare(image_folder)).pooler_output)
    tokens = tokenize(text_folder, TITLES, padding="max_length")
    assert close(encoders.encode_texts(TITLES), text(**tokens).pooler_output)


def test_a_classifier_serves_without_its_head(tmp_path):
    image, text = save_vit(tmp_path / "vit"), save_gpt2(tmp_path / "gpt2")
    expected = load_pretrained(image, text).encode_images(IMAGES)
    network = ViTForImageClassification(ViTModel.from_pretrained(image).config)
    network.vit.load_state_dict(
        ViTModel.from_pretrained(image, add_pooling_layer=False).state_dict()
    )
    network.save_pretrained(image)
    assert np.array_equal(load_pretrained(image, text).encode_images(IMAGES), expected)


@pytest.fixture(params=[save_clip, save_siglip, None], ids=["clip", "siglip", "vit and gpt2"])
def pair(request, tmp_path):
    if request.param:
        return (request.param(tmp_path),) * 2
    return save_vit(tmp_path / "vit"), save_gpt2(tmp_path / "gpt2")


def test_vectors_have_unit_length_and_batches_do_not_change_them(pair):
    encoders = load_pretrained(*pair)
    images, texts = encoders.encode_images(IMAGES), encoders.encode_texts(TITLES)
    assert images.dtype == texts.dtype == np.float32
    for vectors in (images, texts):
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(vectors)), abs=1e-5)
    assert not encoders.network.mean.any() and encoders.width == 16
    assert np.allclose(encoders.encode_images(IMAGES, batch_size=2), images, atol=1e-6)
    assert np.allclose(encoders.encode_texts(TITLES, batch_size=2), texts, atol=1e-6)
    assert encoders.encode_images(IMAGES[:0]).shape == encoders.encode_texts([]).shape == (0, 16)


@pytest.mark.parametrize("text", ["", " ", "\u00ad", "靴", LONG])
def test_any_text_has_an_embedding_and_leaves_the_others_theirs(pair, text):
    encoders = load_pretrained(*pair)
    found = encoders.encode_texts([text, "shoe"])
    assert np.isfinite(found).all() and np.isfinite(encoders.encode_texts([text])).all()
    assert np.allclose(found[1], encoders.encode_texts(["shoe"])[0], atol=1e-6)


def test_the_digest_is_of_what_was_loaded_and_not_of_where_it_lay(tmp_path):
    def digest(name, image_seed=0, text_seed=0):
        image = save_vit(tmp_path / name / "vit", seed=image_seed)
        return load_pretrained(image, save_gpt2(tmp_path / name / "gpt2", seed=text_seed)).digest

    assert digest("one") == digest("same")
    assert len({digest("one"), digest("two", 1, 0), digest("three", 0, 1)}) == 3
    assert len(digest("one")) == 16 and int(digest("one"), 16)


def test_other_preprocessing_is_another_digest_and_other_vectors(tmp_path):
    image, text = save_vit(tmp_path / "vit"), save_gpt2(tmp_path / "gpt2")
    before = load_pretrained(image, text)
    file = tmp_path / "vit" / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"image_mean": [0, 0, 0]}))
    after = load_pretrained(image, text)
    assert after.digest != before.digest
    assert not np.allclose(after.encode_images(IMAGES), before.encode_images(IMAGES), atol=1e-3)


def refusal(image, text):
    with pytest.raises(CheckpointUnusable) as caught:
        load_pretrained(str(image), str(text))
    assert str(image) in str(caught.value) and str(text) in str(caught.value)
    return str(caught.value)


def test_two_widths_are_refused_with_both(tmp_path):
    image, text = save_vit(tmp_path / "vit", width=24), save_gpt2(tmp_path / "gpt2", width=16)
    assert "vectors of 24 numbers, texts of 16" in refusal(image, text)


def test_sides_that_are_mixed_up_or_not_there_are_refused(tmp_path):
    image, text = save_vit(tmp_path / "vit"), save_gpt2(tmp_path / "gpt2")
    refusal(text, image)
    refusal(image, image)
    refusal(tmp_path / "nowhere", text)
    (tmp_path / "vit" / "config.json").write_text("{")
    refusal(image, text)


def test_weights_that_are_missing_are_not_made_up(tmp_path):
    image, text = save_vit(tmp_path / "vit"), save_gpt2(tmp_path / "gpt2")
    file = tmp_path / "vit" / "config.json"
    deeper = LAYERS["num_hidden_layers"] + 1
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_hidden_layers": deeper}))
    assert "lacks weights of ViTModel: " in refusal(image, text)
    assert torch.is_grad_enabled()
