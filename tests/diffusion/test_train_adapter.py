"""`python -m diffusion.train_adapter`: of a saved model and a data set, a file that is served."""

import json
import re
import shutil
from pathlib import Path

import diffusers
import pytest
import torch
import transformers
import yaml
from diffusers import StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import load_file

from diffusion import train_adapter
from diffusion.families.specification import AdapterShopper, ModelSpecification
from diffusion.training.noising import DiscreteNoising
from tests.diffusion.families.tiny_unet import tiny_sd15, tiny_sdxl
from tests.diffusion.training.shop import WIDTH, write_shop

ADAPTER = "adapter.safetensors"


@pytest.fixture(scope="module", autouse=True)
def verbosity():
    """The command makes diffusers and transformers silent for good."""
    before = [library.utils.logging.get_verbosity() for library in (diffusers, transformers)]
    yield
    for library, verbosity in zip((diffusers, transformers), before, strict=True):
        library.utils.logging.set_verbosity(verbosity)
        library.utils.logging.enable_progress_bar()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A saved SDXL, a specification that names the adapter to come, and a shop."""
    folder = tmp_path_factory.mktemp("place")
    tiny_sdxl().save_pretrained(folder / "model")
    write_shop(folder / "shop")
    specify(folder / "model.yaml")
    return folder


def specify(path: Path, **told) -> Path:
    shopper = {"kind": "user_adapter", "source": "out", "weights": ADAPTER}
    model = {"name": "tiny", "family": "sdxl", "source": "model", "licence": "none"}
    path.write_text(yaml.safe_dump({**model, "shopper": shopper, **told}))
    return path


def run(place, out, *more, spec=None, dataset=None):
    told = {"--spec": spec or place / "model.yaml", "--dataset": dataset or place / "shop"}
    told |= {"--out": out, "--catalogue": place / "shop", "--steps": 4, "--batch-size": 2}
    told |= {"--learning-rate": 0.01, "--device": "cpu"}
    words = [str(word) for pair in told.items() for word in pair]
    return train_adapter.main([*words, *more])


@pytest.fixture(scope="module")
def finished(place):
    assert run(place, place / "out") == 0
    return place / "out"


def test_what_is_written_is_what_a_server_and_stock_diffusers_load(place, finished):
    told = ModelSpecification.read(place / "model.yaml").shopper
    assert isinstance(told, AdapterShopper) and (place / told.source / told.weights).is_file()
    pipe = StableDiffusionXLPipeline.from_pretrained(place / "model", local_files_only=True)
    pipe.load_ip_adapter(
        str(finished), subfolder="", weight_name=ADAPTER, image_encoder_folder=None
    )
    (projection,) = pipe.unet.encoder_hid_proj.image_projection_layers
    assert projection(torch.randn(3, WIDTH)).shape == (3, 4, 32)
    values = [v for k, v in load_file(finished / ADAPTER).items() if "to_v_ip" in k]
    assert values and all(value.any() for value in values), "it has begun to learn"


def test_the_file_names_family_base_and_encoders(place, finished):
    with safe_open(finished / ADAPTER, "pt") as opened:
        told = opened.metadata()
    base = json.loads((finished / "training.json").read_text())["base"]
    expected = {"family": "sdxl", "base": base, "encoder_digest": "digest", "width": str(WIDTH)}
    assert told == {"format": "pt", **expected}


def test_the_model_is_left_as_it_was(place, finished):
    again = tiny_sdxl()
    saved = StableDiffusionXLPipeline.from_pretrained(place / "model", local_files_only=True)
    for name, value in again.unet.state_dict().items():
        assert torch.equal(value, saved.unet.state_dict()[name])


def test_it_says_what_shoppers_held_out_get_of_it(place, finished, tmp_path, capsys):
    assert run(place, finished) == 0, "nothing is left to do"
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("shoppers held out: error ") and "told of another" in said[0]
    assert said[1] == str(finished / ADAPTER)


def test_an_interrupted_run_goes_on_where_it_was(place, finished, tmp_path, monkeypatch):
    seen: list[int] = []
    spoil = DiscreteNoising.spoil

    def interrupt(self, latents, generator):
        seen.append(len(latents))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return spoil(self, latents, generator)

    monkeypatch.setattr(DiscreteNoising, "spoil", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(place, tmp_path, "--checkpoint-every", "0")
    assert not (tmp_path / ADAPTER).exists()
    monkeypatch.undo()
    assert run(place, tmp_path, "--checkpoint-every", "0") == 0
    resumed, whole = load_file(tmp_path / ADAPTER), load_file(finished / ADAPTER)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_more_steps_go_on_from_a_finished_run_and_fewer_are_refused(
    place, finished, tmp_path, capsys
):
    shutil.copytree(finished, tmp_path / "out")
    assert run(place, tmp_path / "out", "--steps", "6") == 0
    longer, before = load_file(tmp_path / "out" / ADAPTER), load_file(finished / ADAPTER)
    assert any(not torch.equal(longer[name], before[name]) for name in before)
    assert run(place, tmp_path / "out", "--steps", "5") == 2
    assert "training.json: steps is 6, and 5 was asked for" in capsys.readouterr().err


def test_width_and_tokens_may_be_others(place, tmp_path):
    assert run(place, tmp_path, "--num-tokens", "16", "--size", "16", "24") == 0
    shapes = {name: tuple(value.shape) for name, value in load_file(tmp_path / ADAPTER).items()}
    assert shapes["image_proj.proj.2.weight"][0] == 16 * 32
    told = json.loads((tmp_path / "training.json").read_text())
    assert told["size"] == [16, 24] and told["num_tokens"] == 16


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
def test_stable_diffusion_1_5_trains_in_halves_on_drawn_pictures(tmp_path):
    tiny_sd15().save_pretrained(tmp_path / "model")
    write_shop(tmp_path / "shop", has_pictures=False)
    specify(tmp_path / "model.yaml", family="sd15")
    assert run(tmp_path, tmp_path / "out", "--precision", "bfloat16") == 0
    assert load_file(tmp_path / "out" / ADAPTER)["image_proj.proj.0.weight"].shape[1] == WIDTH


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"family": "sd3"}, "model.yaml: family: sd3 has no UNet"),
        ({"family": "flux"}, "model.yaml: family: flux has no UNet"),
        ({"family": "sd15"}, "model_index.json: _class_name is StableDiffusionXLPipeline"),
        ({"family": "dalle"}, "model.yaml: family: "),
        ({"source": "nowhere"}, "model.yaml: source: nowhere is no folder"),
        ({"schedule": "lightning"}, "model.yaml: schedule: lightning is a distillation's"),
        ({"sizes": [[18, 16]]}, "model.yaml: sizes: 18 x 16 .* multiples of 4"),
        ({"colour": "red"}, "model.yaml: colour: "),
    ],
)
def test_a_specification_that_can_t_be_trained_for_is_refused_in_one_line(
    place, tmp_path, capsys, told, named
):
    spec = specify(tmp_path / "model.yaml", **told)
    if "source" not in told:
        (tmp_path / "model").symlink_to(place / "model")
    assert run(place, tmp_path / "out", spec=spec) == 2
    check_line(capsys, named)
    assert not (tmp_path / "out").exists()


def check_line(capsys, named):
    said = capsys.readouterr()
    assert not said.out
    (line,) = said.err.splitlines()
    assert line.startswith("no adapter: ") and re.search(named, line)


def test_a_folder_of_pickles_is_refused(place, tmp_path, capsys):
    shutil.copytree(place / "model", tmp_path / "model")
    weights = tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    spec = specify(tmp_path / "model.yaml")
    assert run(place, tmp_path / "out", spec=spec) == 2
    check_line(capsys, "diffusion_pytorch_model.bin is a pickle")


def test_a_unet_for_inpainting_is_refused(tmp_path, capsys):
    pipe = tiny_sdxl(in_channels=9)
    StableDiffusionXLPipeline.from_pipe(pipe).save_pretrained(tmp_path / "model")
    spec = specify(tmp_path / "model.yaml")
    assert run(tmp_path, tmp_path / "out", spec=spec) == 2
    check_line(capsys, "unet/config.json: in_channels is 9")


def test_a_data_set_that_is_none_is_refused(place, tmp_path, capsys):
    assert run(place, tmp_path / "out", dataset=tmp_path) == 2
    check_line(capsys, "clicks.parquet can't be read")


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--num-tokens", "8"], "training.json: num_tokens is 4, and 8 was asked for"),
        (["--seed", "5"], "training.json: seed is 0, and 5 was asked for"),
    ],
)
def test_another_training_in_the_same_folder_is_refused(place, finished, capsys, more, named):
    before = (finished / "training.json").read_bytes()
    assert run(place, finished, *more) == 2
    check_line(capsys, named)
    assert (finished / "training.json").read_bytes() == before


def test_a_checkpoint_without_its_settings_is_not_gone_on_from(place, finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "out")
    (tmp_path / "out" / "training.json").unlink()
    assert run(place, tmp_path / "out") == 2
    check_line(capsys, "training.json can't be read")


@pytest.mark.parametrize("more", [["--steps", "0"], ["--num-tokens", "x"], ["--nonsense"]])
def test_options_that_make_no_sense_are_refused(place, tmp_path, capsys, more):
    with pytest.raises(SystemExit) as stopped:
        run(place, tmp_path, *more)
    assert stopped.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]


def test_help_tells_what_each_option_is_for(capsys):
    with pytest.raises(SystemExit) as stopped:
        train_adapter.main(["--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    for option in ("--spec", "--dataset", "--out", "--steps", "--batch-size", "--num-tokens"):
        assert option in said
    assert "None" not in said and "SUPPRESS" not in said
