"""Who may call a server process, as operators set it up and change it while it runs."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

from etalage import AsyncClient, PermissionDenied
from server.commands.serve import open_access
from server.commands.settings import load_configuration
from server.commands.start_failed import StartFailed
from server.metrics import Metrics
from tests.server.access.papers import SHOP_KEY, Authority, Login, replace, write_tenants
from tests.server.commands.test_serve import drill, ports_of


def furnish(folder):
    """A server's own papers, and what an operator's client needs, as its environment."""
    login, authority = Login(), Authority("ours")
    login.rotate("one")
    write_tenants(folder)
    cert, key = authority.issue("operator.internal")
    papers = {"jwks.json": login.jwks(), "ca.pem": authority.pem, "own.pem": cert, "own.key": key}
    papers["cert.pem"], papers["key.pem"] = authority.issue("server")
    for name, content in papers.items():
        (folder / name).write_bytes(content)
    names = {"ETALAGE_CA": "ca.pem", "ETALAGE_CERT": "own.pem", "ETALAGE_KEY": "own.key"}
    return {name: str(folder / file) for name, file in names.items()}


async def run(*arguments, **environment):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


async def test_a_server_for_tenants_is_run_by_those_who_may(tmp_path):
    environment = furnish(tmp_path)
    flags = {
        "tenants": "tenants.yaml",
        "certificate": "cert.pem",
        "key": "key.pem",
        "client_ca": "ca.pem",
    }
    told = [f"--access.{name}={tmp_path / file}" for name, file in flags.items()]
    told += ["--access.reload_s=0.1", "--drain.lame_duck_s=0"]
    async with drill(tmp_path, *told) as process:
        ports = await ports_of(tmp_path)
        assert set(ports) == {"grpc", "admin", "health", "metrics"}
        server, admin = (f"127.0.0.1:{ports[name]}" for name in ("grpc", "admin"))
        ca, cert, key = environment.values()
        async with AsyncClient(server, ca=ca, cert=cert, key=key) as client:
            async with asyncio.timeout(30):
                while not await client.is_serving():
                    await asyncio.sleep(0.05)
        list_models = "server", "models", "list", "--admin", admin
        status, out, _ = await run(*list_models, **environment)
        assert status == 0 and out.startswith("quality")
        status, _, err = await run(*list_models)
        assert status == 1 and f"models: {admin}: " in err
        generate = ["etalage", "generate", "--server", server, "--product", "chair"]
        generate += ["-o", str(tmp_path / "chair.png")]
        (tmp_path / "api-key").write_text(SHOP_KEY + "\n")
        by_key = await run(*generate, "--api-key-file", str(tmp_path / "api-key"), **environment)
        assert by_key[0] == 6 and "AMBIGUOUS_CREDENTIALS" in by_key[2]  # the operator's certificate
        replace(tmp_path / "tenants.yaml", (tmp_path / "tenants.yaml").read_bytes().replace(
            b"certificates:\n  - operator.internal\n", b"certificates: [another]\n"
        ))  # fmt: skip
        async with AsyncClient(server, ca=ca, cert=cert, key=key, api_key=SHOP_KEY) as client:
            async with asyncio.timeout(30):
                while True:
                    try:
                        assert (await client.generate("chair")).images
                        break
                    except PermissionDenied:
                        await asyncio.sleep(0.05)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0
    log = (tmp_path / "output").read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any(line.get("tenant") == "shop" for line in lines)
    assert {"what": "tenants"}.items() <= next(
        line for line in lines if line["event"] == "reloaded"
    ).items()
    assert SHOP_KEY not in log


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"server.host": "0.0.0.0"}, "server.host = 0.0.0.0: everybody on the way could"),
        ({"access.tenants": "nowhere.yaml"}, "nowhere.yaml: can't be read"),
        (
            {"access.certificate": "nowhere.pem", "access.key": "nowhere.key"},
            "nowhere.pem: can't be read",
        ),
    ],
)
def test_a_server_that_would_be_open_by_accident_does_not_start(flags, told):
    with pytest.raises(StartFailed, match=told):
        open_access(load_configuration(flags), Metrics())
