"""What `serve --engine ray` refuses before anything is started, and how replicas are told apart."""

from functools import partial

import pytest

from server.commands.replicas import build_on_ray, find_settings, open_built_in
from server.commands.settings import ConfigurationError, load_configuration
from server.commands.start_failed import StartFailed
from server.configuration import Configuration, EngineSlice, ModelSlice
from server.fleet.cluster import Recipe
from server.metrics import Metrics


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"replicas.min_replicas": "3", "replicas.max_replicas": "2"}, "min_replicas = 3"),
        ({"replicas.min_replicas": "0"}, "replicas.min_replicas"),
        ({"replicas.queue": "0"}, "replicas.queue"),
        ({"replicas.cpus": "-1"}, "replicas.cpus"),
        ({"replicas.gpus": "many"}, "replicas.gpus"),
    ],
)
def test_a_wrong_number_of_replicas_is_refused_by_name(flags, said):
    with pytest.raises(ConfigurationError, match=said):
        load_configuration(flags)


async def test_several_devices_of_one_replica_are_refused():
    told = Configuration(engine=EngineSlice(devices=("cpu", "cpu")))
    with pytest.raises(StartFailed, match="engine.devices: a replica has one device"):
        async with build_on_ray(told, Metrics([])):
            pass


def test_a_replica_computes_with_the_cores_that_are_kept_for_it():
    told = load_configuration({"replicas.cpus": "2.5"})
    assert find_settings(told).threads == 2
    assert find_settings(load_configuration({"engine.threads": "7"})).threads == 7


def test_doors_that_are_set_alike_ask_the_same_replicas_and_others_do_not():
    def name(**changed):
        opened = partial(open_built_in, EngineSlice(**changed), ModelSlice())
        return Recipe("built-in", opened, 1).app

    assert name() == name() and name().startswith("etalage-built-in-")
    assert len({name(), name(strict=True), name(dtype="bfloat16")}) == 3
