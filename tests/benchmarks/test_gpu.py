"""The GPU's benchmark from end to end, on the CPU with a toy UNet, and what it may import."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from benchmarks.engine_device import REUSE, Bench, Size
from benchmarks.engine_unet import NUM_TRAINED, SDXL, TINY, UNetCrowd, UNetModel
from benchmarks.gpu import main
from benchmarks.measurement import ROOT, Options, Report
from server.rows import Defaults

SIZE = Size((1, 4), num_steps=6, rounds=1, slate=3, strict_bucket=4)
NOT_NEEDED = ("feast", "grpc", "features", "etalage", "prometheus_client", "pydantic", "pyarrow")


@pytest.fixture(scope="module")
def model():
    return UNetModel(TINY, "cpu", torch.float32)


@pytest.fixture
def report(tmp_path):
    report = Report("gpu", Options(True, False, tmp_path))
    report.environment |= {"not_measured": {}, "seconds": {}}
    return report


def test_it_needs_neither_feast_nor_grpc():
    code = f"""
import sys
for name in {NOT_NEEDED}:
    sys.modules[name] = None  # whoever imports it fails
import benchmarks.gpu
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_without_the_device_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(Options(True, False, tmp_path), "cuda", "sdxl") == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


async def test_every_part_of_a_unet_is_measured(model, report):
    await Bench("tiny", UNetCrowd(model), SIZE, report, time.monotonic() + 600).run()
    assert report.environment["not_measured"] == {}
    claims = {claim.name.removeprefix("gpu.tiny."): claim for claim in report.claims}
    assert claims["strict_equal"].value == 1
    assert claims["slate_rows"].value == pytest.approx((2 * 2 + 3 * 4 * 2) / (3 * 6 * 2))
    assert claims["slate_gap"].value <= 1
    assert claims["reuse_rows"].value <= 1
    assert claims["efficiency"].value > 0


async def test_what_breaks_is_told_and_the_rest_is_measured(model, report):
    bench = Bench("tiny", UNetCrowd(model), SIZE, report, time.monotonic() + 600)

    async def broken():
        raise RuntimeError("no kernel for this")

    await bench._try(broken)
    await bench._try(bench.curve)
    assert report.environment["not_measured"] == {"tiny.broken": "RuntimeError: no kernel for this"}
    assert any(claim.name == "gpu.tiny.rows_per_s_of_4" for claim in report.claims)


async def test_when_the_time_is_over_nothing_new_is_begun(model, report):
    await Bench("tiny", UNetCrowd(model), SIZE, report, time.monotonic() - 1).run()
    assert set(report.environment["not_measured"].values()) == {"no time left"}
    assert not report.claims


def test_sigmas_are_told_as_times_of_the_training_schedule(model):
    betas = np.linspace(0.00085**0.5, 0.012**0.5, NUM_TRAINED) ** 2
    kept = np.cumprod(1 - betas)
    sigmas = torch.tensor(((1 - kept) / kept) ** 0.5, dtype=torch.float32)
    times = model._find_time(sigmas[[0, 1, 500, 999]])
    torch.testing.assert_close(times, torch.tensor([0.0, 1.0, 500.0, 999.0]), atol=0.01, rtol=0)
    assert 0.0 < float(model._find_time(sigmas[:2].mean()[None])) < 1.0


def test_the_full_configuration_has_as_many_weights_as_sdxl():
    with torch.device("meta"):
        from diffusers import UNet2DConditionModel

        unet = UNet2DConditionModel(in_channels=4, out_channels=4, **SDXL.unet)
    assert sum(p.numel() for p in unet.parameters()) == 2_567_463_684


def test_reuse_is_allowed_as_the_server_allows_it():
    assert REUSE == Defaults().max_reuse_error


# The stock scheduler hands tensors to numpy.array, of which the two have different ideas.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # in torch's compiler
def test_sdxl_is_measured_beside_the_stock_pipeline(tmp_path):
    assert main(Options(True, False, tmp_path), "cpu", "tiny", "sdxl") == 0
    told = json.loads((tmp_path / "gpu_sdxl.json").read_text())
    claims = {claim["name"].removeprefix("gpu_sdxl.sdxl."): claim for claim in told["claims"]}
    assert claims["images_per_s"]["value"] > 0 and claims["stock_images_per_s"]["value"] > 0
    assert claims["over_stock"]["target"] == 1.5
    assert told["environment"]["best_batch"] in (1, 4)
