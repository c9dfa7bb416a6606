"""A folder in the published layout: whole, what it says, and in safetensors."""

import json

import pytest
import torch
from safetensors.torch import save_file

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.folder import check_folder, check_safetensors, find_folder

TAKEN = ("StableDiffusionXLPipeline",)


@pytest.fixture
def folder(tmp_path):
    """As diffusers saves one, with a single tensor in each part."""
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": "0.42.1",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "image_encoder": [None, None],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "force_zeros_for_empty_prompt": True,
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for part in ("unet", "vae", "scheduler", "tokenizer"):
        (tmp_path / part).mkdir()
    for part in ("unet", "vae"):
        (tmp_path / part / "config.json").write_text("{}")
        save_file(
            {"weight": torch.arange(3.0)}, tmp_path / part / "diffusion_pytorch_model.safetensors"
        )
    return tmp_path


def test_a_whole_folder_has_a_digest_that_changes_with_its_weights(folder):
    before = check_folder(folder, TAKEN, "sdxl")
    assert check_folder(folder, TAKEN, "sdxl") == before and len(before) == 16
    save_file({"weight": torch.zeros(3)}, folder / "unet/diffusion_pytorch_model.safetensors")
    assert check_folder(folder, TAKEN, "sdxl") != before


def refuse(folder, *words):
    with pytest.raises(CheckpointUnusable) as caught:
        check_folder(folder, TAKEN, "sdxl")
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_folder_of_another_pipeline_is_refused(folder):
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "FluxPipeline"
    (folder / "model_index.json").write_text(json.dumps(index))
    refuse(folder, "model_index.json", "_class_name is FluxPipeline", "family sdxl")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"_class_name": 3}'])
def test_a_folder_without_a_readable_index_is_refused(folder, text):
    (folder / "model_index.json").write_text(text)
    refuse(folder, "model_index.json")


def test_a_missing_part_is_named(folder):
    (folder / "scheduler").rmdir()
    refuse(folder, str(folder / "scheduler"), "EulerDiscreteScheduler")


def test_a_missing_configuration_is_named(folder):
    (folder / "vae/config.json").unlink()
    refuse(folder, str(folder / "vae/config.json"))


def test_a_pickle_is_not_opened(folder):
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    pickle = folder / "unet/diffusion_pytorch_model.bin"
    pickle.write_bytes(b"cos\nsystem\n(S'touch stolen'\ntR.")
    refuse(folder, str(pickle), "pickle", "safetensors")


def test_weights_that_are_cut_off_are_named(folder):
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    refuse(folder, str(path))


def test_a_missing_shard_is_named(folder):
    named = {"weight_map": {"weight": "model-00001-of-00002.safetensors"}}
    (folder / "unet/model.safetensors.index.json").write_text(json.dumps(named))
    refuse(folder, "model-00001-of-00002.safetensors is missing")


def test_single_files_are_safetensors_too(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "lora.safetensors")
    assert check_safetensors(tmp_path / "lora.safetensors") == ["a"]
    with pytest.raises(CheckpointUnusable, match="pickle"):
        check_safetensors(tmp_path / "lora.bin")
    with pytest.raises(CheckpointUnusable, match=r"nothing\.safetensors"):
        check_safetensors(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("source", ["nowhere", "/nowhere/at/all", "a/b/c"])
def test_what_is_no_folder_and_no_name_is_refused(source):
    with pytest.raises(CheckpointUnusable, match=f"source: {source} is no folder"):
        find_folder(source, None)


def test_a_name_that_no_hub_gives_is_refused(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointUnusable, match="source: someone/model is no folder, and the hub"):
        find_folder("someone/model", "main")
