"""A pretrained model's folder served by YAML, and exchanged while shoppers ask: real processes."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import yaml
from PIL import Image

from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from etalage import AsyncClient, Client, InvalidArgument, Product, Result
from etalage.v1 import models_pb2 as pb
from etalage.v1.models_pb2_grpc import ModelServiceStub
from features.prepare import choose_demo_shoppers
from server.demo.process import running_server
from tests.diffusion.families import tiny_lora, tiny_unet
from tests.way.conftest import SERVE, Running

PRODUCT = "backpack"
WIDTH = Encoders.load(DEFAULT_CHECKPOINT / "encoders").width


def furnish(folder: Path, seed: int = 0) -> Path:
    """An SDXL of some ten thousand weights as diffusers saves it, an adapter for the width of the
    embedded world's features, and a LoRA."""
    pipe = tiny_unet.tiny_sdxl(seed=seed)
    pipe.save_pretrained(folder / "sdxl")
    tiny_unet.save_adapter(folder / "adapter", pipe.unet, width=WIDTH)
    tiny_lora.save_many(folder, pipe.unet, ["noir"], [tiny_lora.ATTENTION + ".to_q"])
    return folder


def write(folder: Path, **told: object) -> Path:
    said = {
        "name": "studio",
        "family": "sdxl",
        "source": "sdxl",
        "licence": "openrail++",
        "steps": 4,
        "guidance": 3.0,
        "sizes": [[32, 32], [48, 32]],
        "shopper": {"kind": "ip_adapter", "source": "adapter", "weights": "base.safetensors"},
        "loras": [{"name": "noir", "source": ".", "weights": "noir.safetensors"}],
    }
    path = folder / "studio.yaml"
    path.write_text(yaml.safe_dump(said | told))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnish(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def serving(folder: Path, make_home: Callable[[], Path]) -> Iterator[Running]:
    home = make_home()
    command = (
        *(*SERVE, f"--model.specifications={write(folder)}", "--engine.buckets=1,2,4,8"),
        "--verification.max_roughness=1000",  # an untrained model draws noise
    )
    with running_server(command, home, home / "server.log", lambda: None) as ports:
        yield Running(ports, choose_demo_shoppers(home), home / "server.log")


@pytest.fixture
def client(serving: Running) -> Iterator[Client]:
    with Client(serving.address, timeout_s=60) as client:
        yield client


@pytest.fixture
def admin(serving: Running) -> Iterator[ModelServiceStub]:
    with grpc.insecure_channel(f"127.0.0.1:{serving.ports.admin}") as channel:
        yield ModelServiceStub(channel)


def pixels(result: Result) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(result.image.data)).convert("RGB")).astype(int)


async def test_two_shoppers_at_once_each_get_what_they_would_get_alone(serving):
    users = list(serving.shoppers.tastes)[:2]
    strengths = 1.0, 0.4

    async with AsyncClient(serving.address, timeout_s=60) as client:

        async def ask(number: int) -> Result:
            return await client.generate(
                PRODUCT,
                user=users[number],
                strength=strengths[number],
                model="studio",
                seed=5,
                cache_policy="bypass",
            )

        alone = [await ask(number) for number in (0, 1)]
        together = await asyncio.gather(*map(ask, (0, 1)))
        nobody = await client.generate(PRODUCT, model="studio", seed=5)
    for one, again in zip(alone, together, strict=True):
        assert one.personalization.applied and one.steps == 4
        assert np.abs(pixels(one) - pixels(again)).max() <= 1
    assert np.abs(pixels(alone[0]) - pixels(alone[1])).max() > 8
    assert np.abs(pixels(alone[0]) - pixels(nobody)).max() > 8
    assert alone[0].model is not None and alone[0].model.name.startswith("studio@")


def test_proportions_styles_and_warnings_are_those_of_the_model(client):
    wide = client.generate(PRODUCT, model="studio", aspect_ratio=1.6, longest_side=96)
    assert pixels(wide).shape == (60, 96, 3)
    plain, noir = (client.generate(PRODUCT, model="studio", style=s, seed=1) for s in ("", "noir"))
    assert (plain.style, noir.style) == ("", "noir")
    assert np.abs(pixels(plain) - pixels(noir)).max() > 4
    with pytest.raises(InvalidArgument, match="'sepia' is no style of it: noir"):
        client.generate(PRODUCT, model="studio", style="sepia")
    with pytest.raises(InvalidArgument, match="no style of it: it has none"):
        client.generate(PRODUCT, style="noir")
    long = "a rucksack " * 40
    with io.BytesIO() as file:
        packshot = Image.new("RGB", (40, 40), "white")
        packshot.paste("red", (10, 10, 30, 30))
        packshot.save(file, "PNG")
        told = client.generate(Product(long, file.getvalue()), model="studio")
    assert len(told.warnings) == 1 and "tokens were cut" in told.warnings[0]


def test_the_admin_port_says_what_serves(admin):
    models = {model.name: model for model in admin.ListModels(pb.ListModelsRequest()).models}
    assert set(models) == {"fast", "quality", "studio"}
    studio = models["studio"]
    assert studio.state == pb.MODEL_STATE_READY and studio.licence == "openrail++"
    assert list(studio.styles) == ["noir"] and studio.family == "sdxl"


def run(serving: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", "models", *arguments]
        + [f"--admin=127.0.0.1:{serving.ports.admin}"],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_models_are_managed_from_the_command_line(serving, client, tmp_path):
    path = write(furnish(tmp_path), name="shelf")
    loaded = run(serving, "load", str(path))
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.startswith("shelf  ") and "  ready  sdxl  openrail++" in loaded.stdout
    assert client.generate(PRODUCT, model="shelf").steps == 4
    listed = run(serving, "list").stdout.splitlines()
    assert {line.split()[0] for line in listed} == {"fast", "quality", "shelf", "studio"}
    assert [line for line in listed if line.endswith("default")] == [
        line for line in listed if line.startswith("quality")
    ]
    assert run(serving, "unload", "shelf").returncode == 0
    again = run(serving, "unload", "shelf")
    assert again.returncode == 1 and "no model 'shelf' on this server" in again.stderr


async def test_a_model_is_exchanged_while_shoppers_ask(serving, folder, admin, tmp_path):
    """Every image is of the old revision or of the new one, and none fails."""
    old = admin.GetModel(pb.GetModelRequest(name="studio")).model.revision
    path = write(furnish(tmp_path, seed=3))
    is_done = asyncio.Event()
    seen: list[Result] = []

    async def keep_asking(client: AsyncClient, number: int) -> None:
        while not is_done.is_set():
            seen.append(
                await client.generate(PRODUCT, model="studio", seed=number, cache_policy="bypass")
            )

    async with AsyncClient(serving.address, timeout_s=60) as client:
        tasks = [asyncio.create_task(keep_asking(client, 7)) for _ in range(3)]
        asked = pb.LoadModelRequest(specification_path=str(path))
        loaded = await asyncio.to_thread(admin.LoadModel, asked)
        await asyncio.sleep(0.5)
        is_done.set()
        await asyncio.gather(*tasks)
    new = loaded.model.revision
    images: dict[str, list[np.ndarray]] = {}
    for result in seen:
        assert result.source == "generated" and result.model is not None
        images.setdefault(result.model.digest, []).append(pixels(result))
    assert new != old and images.keys() == {old, new}
    for alike in images.values():
        assert max(np.abs(other - alike[0]).max() for other in alike) <= 1
    assert np.abs(images[old][0] - images[new][0]).max() > 8
    again = await asyncio.to_thread(admin.LoadModel, asked)
    assert again.model.revision == new
    back = pb.LoadModelRequest(specification_path=str(write(folder)))
    assert (await asyncio.to_thread(admin.LoadModel, back)).model.revision == old


WRONG = {
    "a field": ({"steps": 0}, grpc.StatusCode.INVALID_ARGUMENT, "steps"),
    "another base": ({"family": "sd15"}, grpc.StatusCode.FAILED_PRECONDITION, "_class_name"),
    "a missing file": (
        {"loras": [{"name": "noir", "source": ".", "weights": "gone.safetensors"}]},
        grpc.StatusCode.FAILED_PRECONDITION,
        "gone.safetensors",
    ),
    "no folder": ({"source": "nowhere"}, grpc.StatusCode.FAILED_PRECONDITION, "source: nowhere"),
}


@pytest.mark.parametrize(("told", "code", "named"), WRONG.values(), ids=WRONG)
def test_a_load_that_fails_says_why_and_the_old_one_serves_on(
    admin, client, folder, told, code, named
):
    before = admin.GetModel(pb.GetModelRequest(name="studio")).model.revision
    path = folder / "wrong.yaml"
    write(folder, **told).rename(path)
    with pytest.raises(grpc.RpcError) as caught:
        admin.LoadModel(pb.LoadModelRequest(specification_path=str(path)))
    assert caught.value.code() is code and named in str(caught.value.details())
    write(folder)
    result = client.generate(PRODUCT, model="studio")
    assert result.model is not None and result.model.digest == before


def test_an_adapter_of_another_width_is_refused(admin, tmp_path):
    pipe = tiny_unet.tiny_sdxl()
    pipe.save_pretrained(tmp_path / "sdxl")
    tiny_unet.save_adapter(tmp_path / "adapter", pipe.unet)
    with pytest.raises(grpc.RpcError) as caught:
        admin.LoadModel(
            pb.LoadModelRequest(specification_path=str(write(tmp_path, name="other", loras=[])))
        )
    told = str(caught.value.details())
    assert f"vectors of {tiny_unet.SHOPPER_WIDTH} numbers" in told and str(WIDTH) in told


def test_a_model_that_was_unloaded_is_not_known(admin, client, tmp_path):
    path = write(furnish(tmp_path), name="passing")
    admin.LoadModel(pb.LoadModelRequest(specification_path=str(path)))
    assert client.generate(PRODUCT, model="passing").steps == 4
    admin.UnloadModel(pb.UnloadModelRequest(name="passing"))
    with pytest.raises(InvalidArgument, match="none of this server's models"):
        client.generate(PRODUCT, model="passing")
    with pytest.raises(grpc.RpcError) as caught:
        admin.UnloadModel(pb.UnloadModelRequest(name="quality"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
