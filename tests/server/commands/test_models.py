"""models check: on tiny models in the published layout, as an operator runs it."""

import json
import os
import subprocess
import sys

import pytest
import torch
import yaml

from diffusion.families.model import PretrainedDiffusion
from server import logs
from server.commands.models import check, find_device
from server.configuration import LoggingSlice
from server.sampling.warming import warm
from tests.diffusion.families.tiny_flux import tiny_flux
from tests.diffusion.families.tiny_kandinsky import save_kandinsky
from tests.diffusion.families.tiny_qwen_image import tiny_qwen_image
from tests.diffusion.families.tiny_sd3 import tiny_sd3
from tests.diffusion.families.tiny_unet import furnish
from tests.diffusion.families.tiny_z_image import tiny_z_image

FAMILIES = ("sd15", "sdxl", "sd3", "flux", "z_image", "qwen_image", "kandinsky22")
ADAPTER = {"kind": "ip_adapter", "source": "sdxl-adapter", "weights": "base.safetensors"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a model of each family."""
    home = furnish(tmp_path_factory.mktemp("models"))
    tiny_sd3().save_pretrained(home / "sd3")
    tiny_flux().save_pretrained(home / "flux")
    tiny_z_image().save_pretrained(home / "z_image")
    tiny_qwen_image().save_pretrained(home / "qwen_image")
    save_kandinsky(home / "kandinsky22")
    return home


def specify(home, family="sdxl", **told):
    usual = {"name": "studio", "family": family, "source": family, "licence": "MIT", "steps": 4}
    path = home / f"{family}.yaml"
    path.write_text(yaml.safe_dump({**usual, "sizes": [[64, 64]], **told}))
    return path


def run(path, capsys, device="cpu", buckets=(1,), is_json=True):
    """Exit status, what is on standard output, and the lines on standard error."""
    capsys.readouterr()
    status = check(path, device, buckets, is_json, LoggingSlice(level="error"))
    told = capsys.readouterr()
    return status, told.out, told.err.splitlines()


@pytest.fixture(autouse=True)
def logs_as_they_were(monkeypatch):
    monkeypatch.setattr(logs, "configure_logs", lambda *_: None)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_loaded_stepped_decoded_and_told(home, capsys, family):
    status, out, errors = run(specify(home, family), capsys, buckets=(1, 2))
    assert (status, errors) == (0, [])
    told = json.loads(out)
    assert (told["name"], told["family"], told["licence"]) == ("studio", family, "MIT")
    assert len(told["revision"]) == 16
    assert told["source"] == str(home / family)
    assert (told["device"], told["dtype"]) == ("cpu", "float32")
    assert told["weights_bytes"] >= 4 * told["num_parameters"] > 0
    assert [step["num_rows"] for step in told["steps_by_bucket"]] == [1, 2]
    for step in told["steps_by_bucket"]:
        assert step["rows_per_s"] == pytest.approx(step["num_rows"] / step["seconds"])
    assert told["decode_s"] > 0
    (size,) = told["sizes"]
    assert (size["width"], size["height"], len(size["latents"])) == (64, 64, 3)
    assert told["conditioning"]["shopper"] == "not at all"
    assert told["conditioning"]["preserves by"] == "inpaint"
    assert told["peak_bytes"] is None


def test_people_read_it_in_lines(home, capsys):
    loud = {"vae_slicing": True}
    path = specify(home, shopper=ADAPTER, sizes=[[64, 64], [96, 64]], speed=loud)
    status, out, errors = run(path, capsys, buckets=(1, 3), is_json=False)
    assert (status, errors) == (0, [])
    told = [line.split(None, 1) for line in out.splitlines()]
    assert told[0] == ["name", "studio"]
    lines = {" ".join(line.split()) for line in out.splitlines()}
    assert "licence MIT" in lines
    assert "device cpu, float32" in lines
    assert "peak memory not measured on a CPU" in lines
    assert "size 64 x 64, latents 4 x 32 x 32" in lines
    assert "size 96 x 64, latents 4 x 32 x 48" in lines
    assert "sampler euler, 4 steps" in lines
    assert "LoRAs none" in lines
    assert "speed vae_slicing" in lines
    assert "restyles by image" in lines
    (shopper,) = (line for line in lines if line.startswith("shopper"))
    assert "ip_adapter base.safetensors, scale 1, kept off the product: " in shopper
    assert sum(line.startswith("step of") and line.endswith("rows/s") for line in lines) == 2


def test_the_row_that_is_run_is_one_with_a_shopper(home, capsys, monkeypatch):
    seen = []

    def look(model, request, pace, learn):
        seen.append(request.walk[0].terms[0].cond)
        return warm(model, request, pace, learn)

    monkeypatch.setattr("server.commands.models.warm", look)
    run(specify(home, shopper=ADAPTER), capsys)
    assert seen[0]["shopper"].norm() == pytest.approx(1)
    assert seen[0]["strength"].max() == 1
    run(specify(home, "sd15"), capsys)
    run(specify(home, "sd15", shopper={"kind": "prompt"}), capsys)
    assert not torch.equal(seen[1]["prompt"], seen[2]["prompt"])


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"steps": 0}, "steps: "),
        ({"sampler": "sideways"}, "sampler: sideways is none of"),
        ({"source": "nowhere/at/all"}, "source: "),
        ({"source": "flux"}, "model_index.json"),
        ({"sizes": [[65, 64]]}, "sizes: "),
        ({"shopper": {**ADAPTER, "weights": "none.safetensors"}}, "none.safetensors"),
        ({"product": {"preserve": ["reference"]}}, "product.preserve: "),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_field(home, capsys, told, wrong):
    path = specify(home, **told)
    status, out, errors = run(path, capsys)
    assert (status, out) == (1, "")
    (line,) = errors
    assert line.startswith(f"models check: {path}: ")
    assert wrong in line


def test_a_file_that_is_not_there_is_told(tmp_path, capsys):
    status, _, errors = run(tmp_path / "nowhere.yaml", capsys)
    assert status == 1
    assert "nowhere.yaml: can't be read" in errors[0]


def test_too_little_memory_is_told_without_a_traceback(home, capsys, monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("tried to allocate 80 GiB")

    monkeypatch.setattr("server.commands.models.load_model", fail)
    status, _, errors = run(specify(home), capsys)
    assert status == 1
    assert "too little memory on cpu" in errors[0]
    assert "80 GiB" in errors[0]


def test_numbers_that_are_not_finite_are_told(home, capsys, monkeypatch):
    monkeypatch.setattr(PretrainedDiffusion, "denoise", lambda self, x, sigma, cond: x / 0)
    status, _, errors = run(specify(home), capsys)
    assert status == 1
    assert "dtype: float32 gives numbers that are not finite" in errors[0]


def test_a_device_that_is_not_there_is_told(home, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert find_device("cuda:0") == "cuda:0"
    status, _, errors = run(specify(home), capsys, device="cuda:1")
    assert status == 1
    assert errors[0].endswith("--device: this machine has no cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == "cpu"


def server(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "server", "models", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )


def test_as_a_command_it_prints_nothing_but_the_report(home):
    ended = server("check", str(specify(home)), "--json", "--buckets", "1,2")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["family"] == "sdxl"


def test_as_a_command_that_fails_it_prints_one_line(tmp_path):
    ended = server("check", str(tmp_path / "nowhere.yaml"))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["check"], "SPECIFICATION"),
        ([], "VERB"),
        (["check", "a.yaml", "--buckets", "2,1"], "'2,1' is no list of rising numbers"),
        (["check", "a.yaml", "--buckets", "1,x"], "'1,x' is no list of rising numbers"),
        (["check", "a.yaml", "--device", "gpu"], "'gpu' is not auto, cpu or cuda[:number]"),
        (["check", "a.yaml", "--bucket", "1"], "unknown"),
    ],
)
def test_wrong_flags_are_told(arguments, told):
    ended = server(*arguments)
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
