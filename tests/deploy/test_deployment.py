"""What is deployed goes together: commands, settings, ports, probes, and the time to stop."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.check_image import find, find_health_check, read_environment, read_stages
from server.__main__ import make_parser
from server.access.exposure import check_exposure
from server.commands.settings import configuration_from
from server.configuration import Configuration
from server.doors import batches, enhancement, experiments, images, privacy, provenance

FOLDER = Path("deploy")
BUILD, IMAGE = read_stages((FOLDER / "Dockerfile").read_text("utf-8"))
DOORS = batches, enhancement, experiments, images, privacy, provenance
HEALTH = {"", *(door.SERVICE for door in DOORS)}
SECRETS = {
    "events": "postgresql+psycopg://u:p@postgres/x",
    "batches": "postgresql+psycopg://u:p@postgres/x",
    "privacy": "postgresql+psycopg://u:p@postgres/x",
    "images": "redis://images:6379/0",
}
KUBERNETES_VERSION = "1.30"
"""The oldest that docs/deployment.md is written for."""

STOP_S = 2.0 + 1.0 + 2 * 3.0
"""After drain.grace_s: quiet, the end of streams, and traces on their way and left to send."""


class Loader(yaml.SafeLoader):
    """With compose's own tag."""


def override(loader: Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node)


Loader.add_constructor("!override", override)


def read(name: str) -> Any:
    return yaml.load((FOLDER / name).read_text("utf-8"), Loader)


COMPOSE = read("compose.yaml")["services"]
KUBERNETES = {
    Path(name).stem: read(f"kubernetes/{name}")
    for name in (*read("kubernetes/kustomization.yaml")["resources"], "ingest.yaml")
}
POD = KUBERNETES["deployment"]["spec"]["template"]["spec"]
SERVER = POD["containers"][0]


@pytest.fixture
def configure(monkeypatch, tmp_path):
    """The configuration of a command in the image, with more in its environment."""
    for key, text in SECRETS.items():
        (tmp_path / key).write_text(text)

    def configure(command: list[str], environment: dict[str, str]) -> Configuration:
        for key, value in (read_environment(IMAGE) | environment).items():
            if key.startswith("ETALAGE_"):
                monkeypatch.setenv(key, value.replace("/etc/etalage/databases", str(tmp_path)))
        settings = str(FOLDER / "kubernetes")
        command = [word.replace("/etc/etalage/settings", settings) for word in command]
        parsed, unknown = make_parser().parse_known_args(command)
        assert unknown == []
        return configuration_from(parsed)

    return configure


def env_of(container: Any) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"]}


def fill(environment: dict[str, str]) -> dict[str, str]:
    """As compose fills variables in."""
    return {k: re.sub(r"\$\{\w+:[?-]\}", "", str(v)) for k, v in environment.items()}


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


# the image


def test_hadolint_has_nothing_to_say_of_the_image():
    hadolint = Path(sys.executable).with_name("hadolint")
    subprocess.run([hadolint, FOLDER / "Dockerfile"], check=True)


def test_the_image_starts_the_server_on_the_ports_that_it_shows(configure):
    assert find(IMAGE, "ENTRYPOINT").words == ["python", "-m", "server"]
    server = configure(find(IMAGE, "CMD").words, {}).server
    shown = set(map(int, find(IMAGE, "EXPOSE").words))
    assert shown == {server.port, server.health_port, server.metrics_port}
    assert server.admin_host == "127.0.0.1"
    assert f"127.0.0.1:{server.health_port}" in " ".join(find_health_check(IMAGE))


def test_the_image_runs_as_nobody_in_particular_and_writes_to_its_volume():
    user = find(IMAGE, "USER").text
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    home = read_environment(IMAGE)["ETALAGE_HOME"]
    assert find(IMAGE, "VOLUME").text == home == find(IMAGE, "WORKDIR").text
    assert f"--uid {user.partition(':')[0]} " in find(IMAGE, "RUN").text


def test_the_image_takes_only_what_is_hashed_and_all_that_is_imported():
    pip = " ".join(each.text for each in BUILD if each.name == "RUN")
    assert "pip install --require-hashes" in pip and "pip install --no-deps" in pip
    copied = {word for each in BUILD if each.name == "COPY" for word in each.words[:-1]}
    assert {"server", "features", "diffusion", "clients/python"} <= copied
    assert all(Path(word).exists() for word in copied)


# compose


def test_compose_starts_commands_with_settings_that_there_are(configure):
    server = COMPOSE["etalage"]
    configuration = configure(server["command"], fill(server["environment"]))
    check_exposure(configuration)
    assert [port_of(port) for port in server["ports"]] == [configuration.server.port]
    stop_s = float(server["stop_grace_period"].removesuffix("s"))
    assert stop_s > configuration.drain.lame_duck_s + configuration.drain.grace_s + STOP_S
    target = f"etalage:{configuration.server.metrics_port}"
    [job] = read("prometheus/prometheus.yaml")["scrape_configs"]
    assert job["job_name"] == "etalage" and job["static_configs"] == [{"targets": [target]}]


def test_compose_ingests_into_the_store_that_serves(configure):
    told = [
        configure(COMPOSE[name]["command"], fill(COMPOSE[name]["environment"]))
        for name in ("ingest", "etalage")
    ]
    assert told[0].features == told[1].features and told[0].privacy == told[1].privacy
    assert COMPOSE["ingest"]["volumes"] == COMPOSE["etalage"]["volumes"]


@pytest.mark.parametrize("name", ["compose.access.yaml", "compose.gpu.yaml"])
def test_compose_may_be_added_to(configure, name):
    more = read(name)["services"]["etalage"]
    both = fill(COMPOSE["etalage"]["environment"] | more["environment"])
    configuration = configure(["serve"], both)
    check_exposure(configuration)
    for key in ("tenants", "certificate", "key"):
        path = getattr(configuration.access, key)
        assert path is None or str(path).startswith(more["volumes"][0].rsplit(":", 2)[1])
    assert (configuration.access.tenants is not None) == (name == "compose.access.yaml")


def test_services_of_compose_know_each_other_and_only_this_machine_knows_them():
    hosts = {
        host
        for each in COMPOSE.values()
        for text in map(str, (each.get("environment") or {}).values())
        for host in re.findall(r"(?:@|redis://|\": \")([a-z]+)[:/]", text)
    }
    assert hosts <= COMPOSE.keys() and len(hosts) == 3
    for name, each in COMPOSE.items():
        assert set(each.get("depends_on", ())) <= COMPOSE.keys()
        assert all(port.startswith("127.0.0.1:") for port in each.get("ports", ())), name
        assert ":" in each["image"] and not each["image"].endswith(":latest")
        for volume in each.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in read("compose.yaml")["volumes"] or (FOLDER / source).exists(), name


def test_grafana_finds_its_dashboards_and_prometheus():
    [place] = read("grafana/provisioning/dashboards/etalage.yaml")["providers"]
    mounts = dict(volume.split(":")[:2] for volume in COMPOSE["grafana"]["volumes"])
    assert mounts["./grafana"] == place["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    [source] = read("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090" and source["type"] == "prometheus"
    assert "--config.file=/etc/prometheus/prometheus.yaml" in COMPOSE["prometheus"]["command"]
    assert "--enable-feature=exemplar-storage" in COMPOSE["prometheus"]["command"]


# Kubernetes


def test_every_manifest_is_what_kubernetes_knows_and_no_field_is_misspelled():
    for name, manifest in KUBERNETES.items():
        assert kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True), name
    misspelled = KUBERNETES["service"] | {"specs": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelled, KUBERNETES_VERSION, strict=True)


def test_a_pod_has_time_to_stop_and_is_probed_for_what_there_is(configure):
    configuration = configure(SERVER["args"], env_of(SERVER))
    check_exposure(configuration)
    server, drain = configuration.server, configuration.drain
    ports = {each["name"]: each["containerPort"] for each in SERVER["ports"]}
    assert ports == {
        "grpc": server.port,
        "health": server.health_port,
        "metrics": server.metrics_port,
    }
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert SERVER[kind]["grpc"]["port"] == server.health_port
        assert SERVER[kind]["grpc"].get("service", "") in HEALTH
    assert SERVER["readinessProbe"]["grpc"]["service"] == images.SERVICE
    pause_s = SERVER.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed_s = pause_s + drain.lame_duck_s + drain.grace_s + STOP_S
    assert POD["terminationGracePeriodSeconds"] > needed_s
    ready = SERVER["readinessProbe"]
    assert drain.lame_duck_s > ready["periodSeconds"] * ready["failureThreshold"]
    assert configuration.engine.threads == int(SERVER["resources"]["requests"]["cpu"])


def test_pods_run_as_the_images_user_on_a_root_that_is_not_written_to():
    uid, gid = map(int, find(IMAGE, "USER").text.split(":"))
    home = read_environment(IMAGE)["ETALAGE_HOME"]
    for pod in (POD, KUBERNETES["ingest"]["spec"]["template"]["spec"]):
        security, [container] = pod["securityContext"], pod["containers"]
        assert (security["runAsUser"], security["runAsGroup"]) == (uid, gid)
        assert security["fsGroup"] == gid and security["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        assert set(mounted) == {each["name"] for each in pod["volumes"]}
        assert {home, "/tmp"} <= set(mounted.values())


def test_files_that_settings_name_are_mounted_and_their_secrets_explained(configure):
    mounts = tuple(f"{each['mountPath']}/" for each in SERVER["volumeMounts"])
    named = [word for word in SERVER["args"] if word.startswith("/")]
    named += [text for key, text in env_of(SERVER).items() if key.endswith("_FILE")]
    named += re.findall(r"/etc/\S+", (FOLDER / "kubernetes" / "settings.yaml").read_text("utf-8"))
    assert len(named) >= 9 and all(path.startswith(mounts) for path in named)
    docs = Path("docs/deployment.md").read_text("utf-8")
    secrets = {each["secret"]["secretName"] for each in POD["volumes"] if "secret" in each}
    assert all(re.search(rf"create secret \w+ {secret} ", docs) for secret in secrets)
    databases = {name.rpartition("/")[2] for name in named if "/databases/" in name}
    assert databases == SECRETS.keys()
    assert all(f"--from-literal={name}=" in docs for name in databases)


def test_the_job_ingests_into_the_store_that_serves(configure):
    [job] = KUBERNETES["ingest"]["spec"]["template"]["spec"]["containers"]
    told = [configure(each["args"], env_of(each)) for each in (job, SERVER)]
    assert told[0].features == told[1].features and told[0].privacy == told[1].privacy
    [image] = read("kubernetes/kustomization.yaml")["images"]
    assert job["image"] == f"{image['newName']}:{image['newTag']}" == COMPOSE["etalage"]["image"]


def test_service_budget_and_autoscaler_find_the_pods(told):
    deployment, scaler = KUBERNETES["deployment"], KUBERNETES["autoscaler"]["spec"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert KUBERNETES["service"]["spec"]["selector"] == labels
    assert KUBERNETES["disruption"]["spec"]["selector"]["matchLabels"] == labels
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    [port] = KUBERNETES["service"]["spec"]["ports"]
    assert port["targetPort"] in {each["name"] for each in SERVER["ports"]}
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"], "the autoscaler and this would overrule each other"
    assert scaler["minReplicas"] > KUBERNETES["disruption"]["spec"]["maxUnavailable"]
    rules = read("kubernetes/prometheus-adapter.yaml")["rules"]["custom"]
    assert {rule["seriesQuery"].partition("{")[0] for rule in rules} <= told.keys()
    asked = {each["pods"]["metric"]["name"] for each in scaler["metrics"]}
    assert asked == {rule["name"]["as"] for rule in rules}


def test_gpus_are_given_to_the_deployment_that_there_is(configure):
    [patch] = read("kubernetes/gpu/kustomization.yaml")["patches"]
    told = yaml.safe_load(patch["patch"])
    assert patch["target"]["name"] == told["metadata"]["name"] == "etalage"
    [container] = told["spec"]["template"]["spec"]["containers"]
    assert container["name"] == SERVER["name"]
    configuration = configure(SERVER["args"], env_of(SERVER) | env_of(container))
    assert configuration.engine.device == "cuda"
    assert configuration.engine.threads == int(container["resources"]["requests"]["cpu"])
