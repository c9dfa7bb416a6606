"""A server process, its ports, its signals."""

import asyncio
import json
import os
import signal
import sys
import urllib.request
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from etalage.v1 import images_pb2 as pb
from etalage.v1 import images_pb2_grpc, models_pb2, models_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
CHAIR = pb.GenerateImageRequest(product_id="chair")


@asynccontextmanager
async def drill(tmp_path, *flags, **environment):
    """The process; what it prints is in the file `output`."""
    with (tmp_path / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.server.commands.drill"),
            *("--server.port", "0", "--server.admin_port", "0", "--server.metrics_port", "0"),
            *("--logging.format", "json"),
            *("--port-file", str(tmp_path / "ports"), *flags),
            env=os.environ | environment,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ports_of(tmp_path):
    async with asyncio.timeout(30):
        while not (tmp_path / "ports").exists():
            await asyncio.sleep(0.05)
    return json.loads((tmp_path / "ports").read_text())


async def until_serving(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=30)
    async for answer in watch:
        if answer.status == SERVING:
            break
    watch.cancel()


async def outcome_of(stub):
    try:
        await stub.GenerateImage(CHAIR, timeout=60)
        return grpc.StatusCode.OK
    except grpc.aio.AioRpcError as error:
        return error.code()


async def test_a_server_under_load_that_gets_sigterm_loses_no_request(tmp_path):
    async with drill(tmp_path, "--drain.lame_duck_s", "2") as process:
        ports = await ports_of(tmp_path)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
            await until_serving(channel)
            stub = images_pb2_grpc.ImageServiceStub(channel)
            asking = []
            for number in range(300):
                asking.append(asyncio.create_task(outcome_of(stub)))
                if number == 150:
                    process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.001)
            outcomes = await asyncio.gather(*asking)
            assert await asyncio.wait_for(process.wait(), 30) == 0
    assert set(outcomes[:150]) == {grpc.StatusCode.OK}
    assert set(outcomes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert outcomes.count(grpc.StatusCode.OK) > 150  # lame, but not dead
    assert "taken down" in (tmp_path / "output").read_text()


async def test_even_without_a_lame_ducks_time_nothing_that_arrived_is_just_cancelled(tmp_path):
    async with drill(tmp_path, "--drain.lame_duck_s", "0") as process:
        ports = await ports_of(tmp_path)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
            await until_serving(channel)
            stub = images_pb2_grpc.ImageServiceStub(channel)
            asking = [asyncio.create_task(outcome_of(stub)) for _ in range(200)]
            await asyncio.sleep(0)
            process.send_signal(signal.SIGTERM)
            outcomes = await asyncio.gather(*asking)
            assert await asyncio.wait_for(process.wait(), 30) == 0
    assert set(outcomes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}


async def test_metrics_have_a_port_of_their_own_in_single_process_mode(tmp_path):
    async with drill(tmp_path, "--drain.lame_duck_s", "0") as process:
        ports = await ports_of(tmp_path)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
            await until_serving(channel)
            await images_pb2_grpc.ImageServiceStub(channel).GenerateImage(CHAIR, timeout=30)
        url = f"http://127.0.0.1:{ports['metrics']}/metrics"
        text = await asyncio.to_thread(_get, url)
        assert 'etalage_model_info{digest="fedcba9876543210",name="sketch"} 1.0' in text
        assert "process_resident_memory_bytes" in text  # only in single-process mode
        assert 'etalage_requests_total{code="OK"' in text
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_models_are_shown_on_a_port_of_their_own(tmp_path):
    async with drill(tmp_path, "--drain.lame_duck_s", "0") as process:
        ports = await ports_of(tmp_path)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['admin']}") as channel:
            await until_serving(channel)
            stub = models_pb2_grpc.ModelServiceStub(channel)
            listed = await stub.ListModels(models_pb2.ListModelsRequest(), timeout=30)
            assert [model.name for model in listed.models] == ["quality"]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
            stub = models_pb2_grpc.ModelServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ListModels(models_pb2.ListModelsRequest(), timeout=30)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_a_signal_while_building_ends_the_start(tmp_path):
    async with drill(tmp_path, DRILL="hang") as process:
        ports = await ports_of(tmp_path)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=30)
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_a_second_signal_ends_a_drain_at_once(tmp_path):
    async with drill(tmp_path, "--drain.lame_duck_s", "600") as process:
        ports = await ports_of(tmp_path)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
            await until_serving(channel)
            stub = health_pb2_grpc.HealthStub(channel)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                while (await stub.Check(health_pb2.HealthCheckRequest())).status == SERVING:
                    await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == -signal.SIGTERM


async def test_what_can_not_be_built_ends_the_start_with_a_sentence(tmp_path):
    async with drill(tmp_path, DRILL="fail") as process:
        assert await asyncio.wait_for(process.wait(), 30) == 1
    output = (tmp_path / "output").read_text()
    assert "no model in /nowhere" in output
    assert "Traceback" not in output


async def test_a_server_whose_engine_is_lost_for_good_ends_for_another_to_take_its_place(tmp_path):
    async with drill(tmp_path, DRILL="lost") as process:
        assert await asyncio.wait_for(process.wait(), 60) == 1
    output = (tmp_path / "output").read_text()
    assert "serve: no engine runs" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("which", ["grpc", "admin", "metrics"])
async def test_a_port_that_is_taken_ends_the_start_with_its_address(tmp_path, which):
    (tmp_path / "second").mkdir()
    flag = {"grpc": "--server.port"}.get(which, f"--server.{which}_port")
    async with drill(tmp_path):
        port = (await ports_of(tmp_path))[which]
        async with drill(tmp_path / "second", flag, str(port)) as second:
            assert await asyncio.wait_for(second.wait(), 30) == 1
    output = (tmp_path / "second" / "output").read_text()
    assert f"127.0.0.1:{port}: can't listen there" in output
    assert "Traceback" not in output


def _get(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as reply:
        return reply.read().decode()
