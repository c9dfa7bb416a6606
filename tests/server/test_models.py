"""The registry: what is loaded, listed, shared, unloaded and refused."""

import asyncio
import gc
import subprocess
import sys

import pytest

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.specification import SpecificationInvalid
from server.errors import FailedPrecondition, ModelBusy, ModelNotFound
from server.revision import State
from tests.server.model_shop import FACTS, FakeModel, Shop, broken, digest_of, states, until

READY, DRAINING, FAILED = State.READY, State.DRAINING, State.FAILED


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


async def test_a_first_load_is_loaded_then_warmed_then_serves_under_its_name(shop):
    models = shop.models()
    names = models.names()
    shop.may_warm.clear()
    loading = asyncio.create_task(models.load(shop.write("one")))
    await until(lambda: states(models) == [("one", State.WARMING)])
    assert list(names) == ["quality"]
    with pytest.raises(ModelNotFound), models.lease("studio"):
        pass
    shop.may_warm.set()
    revision = await loading
    assert list(names) == ["quality", "studio"]  # a view, not a copy
    assert shop.log == ["load one", "warm one"]
    assert revision.step_s == {1: 0.5, 4: 1.0}
    assert revision.facts == FACTS
    assert revision.ready_s > 0
    with models.lease("studio") as held:
        assert held is revision
        assert held.model().name == "studio@one"


async def test_the_empty_name_is_the_default(shop):
    models = shop.models()
    assert digest_of(models, "") == "built-in"
    with pytest.raises(ModelNotFound), models.lease("nobody"):
        pass


async def test_every_device_gets_a_model_of_its_own(shop):
    shop.devices = ("cuda:0", "cuda:1")
    models = shop.models()
    revision = await models.load(shop.write("one"))
    assert models.devices == ("cuda:0", "cuda:1")
    assert revision.model(0) is not revision.model(1)
    assert shop.log == ["load one", "load one", "warm one", "warm one"]
    await models.unload("studio")
    assert shop.log[4:] == ["close one", "close one"]


async def test_a_first_load_that_fails_is_shown_until_one_succeeds_or_it_is_unloaded(shop):
    models = shop.models()
    shop.unloadable["bad"] = broken()
    for _ in range(2):
        with pytest.raises(CheckpointUnusable):
            await models.load(shop.write("bad"))
    assert states(models) == [("", FAILED)]
    assert "ip.safetensors" in models.find("studio").failure.message
    assert "studio" not in models.names()
    await models.load(shop.write("good"))
    assert states(models) == [("good", READY)]
    with pytest.raises(CheckpointUnusable):
        await models.load(shop.write("bad", "other"))
    await models.unload("other")
    with pytest.raises(ModelNotFound):
        models.find("other")


async def test_an_unexpected_error_is_raised_as_it_is_and_not_shown_to_anybody(shop):
    models = shop.models()
    shop.unloadable["bad"] = KeyError("secret")
    with pytest.raises(KeyError):
        await models.load(shop.write("bad"))
    assert "secret" not in models.find("studio").failure.message
    assert "log" in models.find("studio").failure.message


async def test_who_asks_for_what_is_being_loaded_waits_for_it_and_who_asks_for_else_is_refused(
    shop,
):
    models = shop.models()
    shop.may_load.clear()
    first = asyncio.create_task(models.load(shop.write("one")))
    await until(lambda: states(models))
    second = asyncio.create_task(models.load(shop.write("one")))
    await asyncio.sleep(0.02)
    with pytest.raises(ModelBusy):
        await models.load(shop.write("two"))
    with pytest.raises(ModelBusy):
        await models.unload("studio")
    shop.may_load.set()
    assert await first is await second
    assert shop.log == ["load one", "warm one"]


async def test_loads_of_several_names_take_turns(shop):
    models = shop.models()
    shop.may_warm.clear()
    loading = [asyncio.create_task(models.load(shop.write(n, n))) for n in ("a", "b")]
    await until(lambda: len(models.revisions()) == 3 and shop.log)
    await asyncio.sleep(0.02)
    assert len(shop.log) == 1
    shop.may_warm.set()
    await asyncio.gather(*loading)
    assert [line.split()[0] for line in shop.log] == ["load", "warm"] * 2


async def test_a_caller_who_leaves_does_not_stop_a_load_or_break_the_registry(shop):
    unread = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unread.append(context))
    models = shop.models()
    await models.load(shop.write("old"))
    shop.may_load.clear()
    caller = asyncio.create_task(models.load(shop.write("new")))
    await until(lambda: len(states(models)) == 2)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    shop.may_load.set()
    await until(lambda: states(models) == [("new", READY)])
    shop.unloadable["bad"] = broken()
    shop.may_load.clear()
    caller = asyncio.create_task(models.load(shop.write("bad")))
    await until(lambda: len(states(models)) == 2)
    caller.cancel()
    shop.may_load.set()
    await until(lambda: shop.loads["failed"])
    del caller
    await asyncio.sleep(0)
    gc.collect()
    assert unread == []
    await models.load(shop.write("newer"))
    assert digest_of(models) == "newer"


async def test_unloading_forgets_the_name_at_once_and_waits_for_the_last_lease(shop):
    models = shop.models()
    await models.load(shop.write("one"))
    with models.lease("studio") as held:
        unloading = asyncio.create_task(models.unload("studio"))
        again = asyncio.create_task(models.unload("studio"))
        await until(lambda: states(models) == [("one", DRAINING)])
        assert "studio" not in models.names()
        with pytest.raises(ModelNotFound), models.lease("studio"):
            pass
        with pytest.raises(ModelBusy):
            await models.load(shop.write("one"))
        assert not unloading.done()
        assert not held.model().is_closed
    await asyncio.gather(unloading, again)
    assert shop.log[-1] == "close one"
    assert states(models) == []
    with pytest.raises(ModelNotFound):
        await models.unload("studio")


async def test_the_default_model_can_not_be_unloaded(shop):
    models = shop.models()
    with pytest.raises(FailedPrecondition) as caught:
        await models.unload("quality")
    assert caught.value.reason == "DEFAULT_MODEL"
    assert digest_of(models, "") == "built-in"


async def test_states_are_counted_and_come_out_even(shop):
    models = shop.models()
    shop.unwarmable["bad"] = broken()
    await models.load(shop.write("one"))
    await models.load(shop.write("two"))
    with pytest.raises(CheckpointUnusable):
        await models.load(shop.write("bad"))
    await until(lambda: len(states(models)) == 1)
    assert +shop.states == {("quality", "ready"): 1, ("studio", "ready"): 1}
    assert min(shop.states.values()) == 0


async def test_a_file_that_is_no_specification_changes_nothing(shop):
    models = shop.models()
    with pytest.raises(SpecificationInvalid, match="studio.yaml: steps: "):
        await models.load(shop.write("one", comment="steps: 0\n"))
    with pytest.raises(SpecificationInvalid, match="can't be read"):
        await models.load(shop.folder / "nowhere.yaml")
    assert [each.name for each in models.revisions()] == ["quality"]
    assert shop.loads == {"failed": 2}


async def test_adopted_models_may_be_several(shop):
    models = shop.models()
    models.adopt("fast", [FakeModel("etalage-fast", "student")], FACTS, {1: 0.1})
    assert list(models.names()) == ["quality", "fast"]
    assert [each.name for each in models.revisions()] == ["fast", "quality"]
    assert models.find("fast").step_s == {1: 0.1}


def test_the_registry_costs_no_heavy_import():
    code = (
        "import sys, server.models;"
        "print([m for m in ('torch', 'diffusers', 'grpc', 'feast') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
