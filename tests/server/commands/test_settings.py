"""The configuration from file, environment and flags; in process, and as a user meets it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.commands.settings import ConfigurationError, load_configuration
from server.configuration import Configuration, settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith("ETALAGE"):
            monkeypatch.delenv(name)


def write(path, text):
    path.write_text(text)
    return path


def refusal(flags=None, file=None):
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(flags or {}, file)
    return str(caught.value)


def test_nothing_given_gives_the_defaults():
    assert load_configuration({}) == Configuration()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "server: {port: 1, host: file}\nengine: {buckets: [1, 4]}\nlogging:\n"),
        ("a.toml", '[server]\nport = 1\nhost = "file"\n[engine]\nbuckets = [1, 4]\n'),
    ],
)
def test_a_flag_goes_before_the_environment_and_that_before_the_file(
    tmp_path, monkeypatch, name, text
):
    file = write(tmp_path / name, text)
    assert load_configuration({}, file).engine.buckets == (1, 4)
    assert load_configuration({}, file).server.port == 1
    monkeypatch.setenv("ETALAGE_SERVER__PORT", "2")
    monkeypatch.setenv("ETALAGE_ENGINE__BUCKETS", "1,2,3")
    configuration = load_configuration({"server.port": "3"}, file)
    assert configuration.server.port == 3
    assert configuration.engine.buckets == (1, 2, 3)
    assert configuration.server.host == "file"
    assert configuration.server.metrics_port == 9464


def test_home_has_a_variable_of_its_own(monkeypatch):
    monkeypatch.setenv("ETALAGE_HOME", "/short")
    assert load_configuration({}).features.home == Path("/short")
    monkeypatch.setenv("ETALAGE_FEATURES__HOME", "/long")
    assert load_configuration({}).features.home == Path("/long")
    assert load_configuration({"features.home": "/flag"}).features.home == Path("/flag")


def test_specifications_are_paths_parted_by_commas(tmp_path, monkeypatch):
    text = refusal(file=write(tmp_path / "b.yaml", "model: {specifications: [[1]]}"))
    assert "allowed is paths, parted by commas" in text
    file = write(tmp_path / "a.yaml", "model: {specifications: [a.yaml, b.yaml]}")
    both = (Path("a.yaml"), Path("b.yaml"))
    assert load_configuration({}, file).model.specifications == both
    monkeypatch.setenv("ETALAGE_MODEL__SPECIFICATIONS", "c.yaml")
    assert load_configuration({}, file).model.specifications == (Path("c.yaml"),)
    assert (
        load_configuration({"model.specifications": "a.yaml,b.yaml"}).model.specifications == both
    )


def test_feasts_own_settings_are_mappings(tmp_path, monkeypatch):
    file = write(tmp_path / "a.yaml", "features: {online_store: {type: redis, port: 1}}")
    assert load_configuration({}, file).features.online_store == {"type": "redis", "port": 1}
    monkeypatch.setenv("ETALAGE_FEATURES__ONLINE_STORE", '{"type": "dynamodb"}')
    assert load_configuration({}, file).features.online_store == {"type": "dynamodb"}


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("server.port", "70000", "a whole number from 0 to 65535"),
        ("server.port", "", "a whole number from 0 to 65535"),
        ("server.port", "80.5", "a whole number from 0 to 65535"),
        ("server.max_message_bytes", "1", "a whole number of bytes from 4096 to 50331648"),
        ("engine.device", "gpu", "text that matches"),
        ("engine.dtype", "float16", "auto or float32 or bfloat16"),
        ("engine.compile", "perhaps", "true or false"),
        ("engine.buckets", "4,2", "whole numbers of rows, parted by commas (must be positive"),
        ("engine.buckets", "1,x", "whole numbers of rows, parted by commas"),
        ("engine.buckets", "", "whole numbers of rows, parted by commas"),
        (
            "engine.devices",
            "cpu,gpu",
            "texts that match ^(auto|cpu|cuda(:\\d+)?)$, parted by commas",
        ),
        ("engine.strict", "maybe", "true or false"),
        ("model.swap", "later", "beside or free_first"),
        ("server.admin_port", "-1", "a whole number from 0 to 65535"),
        ("engine.max_reuse_error", "1.5", "a number from 0 to 1"),
        ("engine.shared_latents_bytes", "-1", "a whole number of bytes from 0 to 1099511627776"),
        ("server.tombstone_s", "inf", "a number of seconds from 0 to 3600"),
        ("model.min_steps", "0", "a whole number of steps from 1 to 100"),
        ("model.strength", "1.5", "a number from 0 to 1"),
        ("model.strength", "nan", "a number from 0 to 1"),
        ("features.timeout_s", "0", "a number of seconds above 0 to 60"),
        ("features.online_store", "{type", "a mapping as in Feast's feature_store.yaml"),
        ("logging.level", "loud", "debug or info or warning or error"),
        ("drain.grace_s", "inf", "a number of seconds from 0 to 3600"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_what_is_allowed(monkeypatch, key, value, allowed):
    for how in ("flag", "environment"):
        if how == "environment":
            monkeypatch.setenv("ETALAGE_" + key.replace(".", "__").upper(), value)
        text = refusal({key: value} if how == "flag" else {})
        assert text.startswith(f"{key} = ")
        assert f"allowed is {allowed}" in text


def test_half_a_pair_of_encoders_is_told_with_the_half_that_is_missing():
    told = "model.text_encoder must be set, since image_encoder = vit"
    assert refusal({"model.image_encoder": "vit"}) == told


def test_all_wrong_values_are_told_at_once():
    text = refusal({"server.port": "x", "drain.grace_s": "-1", "model.default_steps": "0"})
    assert [line.split(" ")[0] for line in text.splitlines()] == [
        "server.port",
        "model.default_steps",
        "drain.grace_s",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server: {prot: 1}", "server.prot = 1: unknown key; allowed are server.host"),
        ("serv: {port: 1}", "serv = {'port': 1}: unknown key; allowed are server, engine"),
        ("server: 7", "server = 7: allowed is a mapping of settings"),
        ("server: {port: [1]}", "server.port = [1]: allowed is a whole number"),
        ("- server", "allowed is a mapping of slices to settings"),
        ("server: {port: 1", "can't be read"),
    ],
)
def test_a_wrong_file_is_told(tmp_path, text, told):
    assert told in refusal(file=write(tmp_path / "a.yaml", text))


def test_a_file_of_another_kind_or_none_at_all_is_told(tmp_path):
    assert "allowed is a .yaml, .yml or .toml file" in refusal(file=tmp_path / "a.ini")
    assert "can't be read" in refusal(file=tmp_path / "a.yaml")


@pytest.mark.parametrize(
    "name", ["ETALAGE_SERVER__PROT", "ETALAGE_SERV__PORT", "ETALAGE_SERVER_PORT"]
)
def test_a_misspelt_variable_is_told_and_not_ignored(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert f"{name} = '1': unknown key" in refusal()


def test_the_variables_that_kubernetes_adds_for_a_service_are_let_be(monkeypatch):
    for name, value in {
        "ETALAGE_SERVER_SERVICE_HOST": "10.0.0.1",
        "ETALAGE_SERVER_SERVICE_PORT": "50051",
        "ETALAGE_SERVER_SERVICE_PORT_GRPC": "50051",
        "ETALAGE_SERVER_PORT": "tcp://10.0.0.1:50051",
        "ETALAGE_SERVER_PORT_50051_TCP": "tcp://10.0.0.1:50051",
        "ETALAGE_SERVER_PORT_50051_TCP_ADDR": "10.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    assert load_configuration({}) == Configuration()


def test_the_variable_of_the_clients_is_not_ours(monkeypatch):
    monkeypatch.setenv("ETALAGE_SERVER", "shop.example:50051")
    assert load_configuration({}) == Configuration()


def server(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def test_help_explains_every_setting_with_unit_default_and_range():
    shown = " ".join(server("serve", "--help").stdout.split())
    for slice_name, name, _ in settings():
        assert f"--{slice_name}.{name} X" in shown
    assert "--drain.grace_s X longest wait for requests in flight after that. Allowed: a number "
    assert "of seconds from 0 to 3600. Default: 30" in shown
    assert (
        "Allowed: texts that match ^(auto|cpu|cuda(:\\d+)?)$, parted by commas. Default: empty"
        in (shown)
    )
    assert "--port-file" in shown
    assert "ETALAGE_SERVER__PORT" in shown


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["--server.port", "70000"], {}, "server.port = 70000: allowed is a whole number"),
        (["--server.prot", "1"], {}, "--server.prot 1: unknown"),
        (["--server.por", "1"], {}, "--server.por 1: unknown"),
        (["--config", "nowhere.yaml"], {}, "--config = nowhere.yaml: can't be read"),
        ([], {"ETALAGE_DRAIN__GRACE_S": "-1"}, "drain.grace_s = -1: allowed is a number"),
    ],
)
def test_a_wrong_configuration_does_not_start_and_says_why(arguments, environment, told):
    ended = server("serve", *arguments, **environment)
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
