"""Passwords come from files and the environment, and are told to nobody."""

import os

import pytest
from sqlalchemy.exc import SQLAlchemyError

from server.__main__ import main
from server.access.keys import hash_key
from server.commands.settings import ConfigurationError, load_configuration
from server.configuration import (
    BatchesSlice,
    Configuration,
    ExperimentsSlice,
    FeaturesSlice,
    ImageCacheSlice,
    is_secret,
    settings,
)
from server.experiments.event_log.opening import DatabaseUnusable, open_events

PASSWORD = "hunter-2-hunter"
URL = f"postgresql+psycopg://etalage:{PASSWORD}@db/events"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith("ETALAGE"):
            monkeypatch.delenv(name)


def test_what_may_hold_a_password_is_marked():
    marked = {f"{part}.{name}" for part, name, field in settings() if is_secret(field)}
    assert marked == {
        "features.online_store",
        "features.offline_store",
        "features.registry",
        "image_cache.redis_url",
        "batches.database",
        "experiments.database",
        "privacy.database",
    }


def test_a_dump_of_the_configuration_has_no_password():
    configuration = Configuration(
        experiments=ExperimentsSlice(database=URL),
        batches=BatchesSlice(database=URL),
        image_cache=ImageCacheSlice(redis_url=f"redis://:{PASSWORD}@cache"),
        features=FeaturesSlice(online_store={"connection_string": f"r:1,password={PASSWORD}"}),
    )
    assert configuration.experiments.database == URL
    assert PASSWORD not in f"{configuration} {configuration!r} {configuration.features}"


def test_a_file_that_the_environment_names_holds_a_secret(tmp_path, monkeypatch):
    file = tmp_path / "url"
    file.write_text(URL + "\n")
    monkeypatch.setenv("ETALAGE_EXPERIMENTS__DATABASE_FILE", str(file))
    store = tmp_path / "store"
    store.write_text('{"type": "redis", "connection_string": "r:1"}')
    monkeypatch.setenv("ETALAGE_FEATURES__ONLINE_STORE_FILE", str(store))
    configuration = load_configuration({})
    assert configuration.experiments.database == URL
    assert configuration.features.online_store["type"] == "redis"
    monkeypatch.setenv("ETALAGE_EXPERIMENTS__DATABASE", "sqlite://")
    with pytest.raises(ConfigurationError, match="DATABASE: exclude each other"):
        load_configuration({})
    monkeypatch.delenv("ETALAGE_EXPERIMENTS__DATABASE")
    file.unlink()
    with pytest.raises(ConfigurationError, match="DATABASE_FILE = .*: can't be read"):
        load_configuration({})


@pytest.mark.parametrize(
    "flags",
    [
        {"experiments.database": URL},
        {"image_cache.redis_url": f"redis://:{PASSWORD}@cache"},
        {"features.online_store": f'{{"connection_string": "r:1,password={PASSWORD}"}}'},
        {"batches.folder": f"sftp://etalage:{PASSWORD}@files/batches"},
        {"features.offline_store": f'{{"password": "{PASSWORD}"}}'},
    ],
)
def test_a_password_in_a_flag_is_refused_and_not_repeated(flags):
    with pytest.raises(ConfigurationError, match="could read in a flag") as caught:
        load_configuration(flags)
    assert PASSWORD not in str(caught.value)
    assert f"{next(iter(flags))}: has a password" in str(caught.value)


def test_a_database_that_does_not_answer_is_told_without_its_password():
    url = f"postgresql+psycopg://etalage:{PASSWORD}@127.0.0.1:1/events?connect_timeout=2"
    with pytest.raises((SQLAlchemyError, DatabaseUnusable)) as caught:
        open_events(url)
    assert "127.0.0.1" in str(caught.value) and PASSWORD not in str(caught.value)


def test_a_flag_without_a_password_is_taken():
    flags = {"experiments.database": "postgresql+psycopg://db/name", "server.host": "::1"}
    assert load_configuration(flags).experiments.database == flags["experiments.database"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"image_cache: {{redis_url: ['redis://:{PASSWORD}@cache']}}", "image_cache.redis_url"),
        (f"features: {{online_store: [{PASSWORD}]}}", "features.online_store"),
        (f"features: {{redis_password: {PASSWORD}}}", "features.redis_password"),
        (f"batches: {{folder: 'sftp://a:{PASSWORD}@files'}}", "batches.folder"),
        (f"server: {{url: 'redis://a:{PASSWORD}@cache'}}", "server.url"),
        (f"batches: 'postgresql://a:{PASSWORD}@db'", "batches"),
    ],
)
def test_a_message_about_a_wrong_value_has_no_password(tmp_path, text, key):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_configuration({}, file)
    assert str(caught.value).startswith(f"{key} = ")
    assert "[withheld]" in str(caught.value) and PASSWORD not in str(caught.value)


def test_neither_help_nor_a_refusal_repeats_what_the_environment_says(monkeypatch, capsys):
    monkeypatch.setenv("ETALAGE_EXPERIMENTS__DATABASE", URL)
    monkeypatch.setenv("ETALAGE_SERVER__PASSWORD", PASSWORD)
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    helped = capsys.readouterr()
    assert "--experiments.database" in helped.out
    assert main(["serve"]) == 2
    refused = capsys.readouterr()
    assert "ETALAGE_SERVER__PASSWORD = [withheld]" in refused.err
    assert PASSWORD not in "".join((*helped, *refused))


def test_a_key_is_made_and_shown_once(capsys):
    assert main(["keys", "new", "shop"]) == 0
    made = capsys.readouterr()
    key = made.out.strip()
    assert made.err.endswith(f'keys: ["{hash_key(key)}"]\n') and key not in made.err
    assert main(["keys", "new", "My Shop"]) == 2
    wrong = capsys.readouterr()
    assert "'My Shop' is no name of a tenant" in wrong.err and not wrong.out
