"""Hot swap by both policies: leases, failures, draining, what is loaded again."""

import asyncio
from contextlib import ExitStack

import pytest

from diffusion.checkpoint import CheckpointUnusable
from server.errors import FailedPrecondition, Unavailable
from server.revision import State
from tests.server.model_shop import Shop, broken, digest_of, states, until

READY, DRAINING, FAILED = State.READY, State.DRAINING, State.FAILED


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


@pytest.mark.parametrize("policy", ["beside", "free_first"])
async def test_no_request_of_two_hundred_sees_two_versions(shop, policy):
    models = shop.models(policy=policy)
    await models.load(shop.write("v0"))
    seen, refused = [], []

    async def ask(number):
        await asyncio.sleep(0.0005 * number)
        try:
            with models.lease("studio") as revision:
                first = revision.model()
                for _ in range(5):
                    await asyncio.sleep(0.001)
                    assert revision.model() is first
                    assert not first.is_closed
                seen.append(first.digest)
        except Unavailable as error:
            refused.append(error.reason)

    async def swap():
        for number in range(1, 5):
            await asyncio.sleep(0.02)
            await models.load(shop.write(f"v{number}"))

    await asyncio.gather(swap(), *(ask(number) for number in range(200)))
    assert len(seen) + len(refused) == 200
    assert seen == sorted(seen)  # nobody gets an older one than whoever came before
    assert len(set(seen)) > 1
    assert bool(refused) == (policy == "free_first")
    assert set(refused) <= {"MODEL_LOADING"}
    await until(lambda: states(models) == [("v4", READY)])
    assert +shop.memory == {"v4": 1}
    assert shop.most_open <= 2 if policy == "beside" else shop.most_open == 1


async def test_the_old_revision_is_closed_when_its_last_lease_ends(shop):
    models = shop.models()
    await models.load(shop.write("old"))
    with ExitStack() as stack:
        first = stack.enter_context(models.lease("studio"))
        with models.lease("studio"):
            await models.load(shop.write("new"))
            assert states(models) == [("new", READY), ("old", DRAINING)]
            assert digest_of(models) == "new"
        await asyncio.sleep(0.02)
        assert not first.model().is_closed
        assert shop.memory["old"] == 1
    await until(lambda: states(models) == [("new", READY)])
    assert shop.log[-1] == "close old"


@pytest.mark.parametrize("stage", ["load", "warm"])
async def test_a_failed_load_keeps_the_old_one_serving_and_says_why(shop, stage):
    models = shop.models()
    old = await models.load(shop.write("old"))
    (shop.unloadable if stage == "load" else shop.unwarmable)["new"] = broken()
    with pytest.raises(CheckpointUnusable) as caught:
        await models.load(shop.write("new"))
    path = shop.folder / "studio.yaml"
    assert str(caught.value) == f"{path}: shopper.weights: ip.safetensors is missing"
    assert models.find("studio") is old
    assert states(models) == [("old", READY)]
    assert digest_of(models) == "old"
    assert not old.model().is_closed
    assert old.failure.message == "shopper.weights: ip.safetensors is missing"
    assert old.failure.path == path
    assert +shop.memory == {"old": 1}
    shop.unloadable.clear()
    shop.unwarmable.clear()
    await models.load(shop.write("new"))
    assert models.find("studio").failure is None
    assert shop.loads == {"ready": 2, "failed": 1}


async def test_freeing_first_refuses_drains_closes_and_only_then_loads(shop):
    models = shop.models(policy="free_first")
    await models.load(shop.write("old"))
    shop.may_load.clear()
    with models.lease("studio") as held:
        loading = asyncio.create_task(models.load(shop.write("new")))
        await until(lambda: ("old", DRAINING) in states(models))
        with pytest.raises(Unavailable) as caught, models.lease("studio"):
            pass
        assert caught.value.reason == "MODEL_LOADING"
        assert "studio" in models.names()  # it is not unknown: it will be back
        await asyncio.sleep(0.02)
        assert not held.model().is_closed
        assert shop.log == ["load old", "warm old"]
    await until(lambda: "close old" in shop.log)
    shop.may_load.set()
    await loading
    assert shop.log == ["load old", "warm old", "close old", "load new", "warm new"]
    assert shop.most_open == 1
    assert states(models) == [("new", READY)]


async def test_freeing_first_loads_the_old_one_again_where_the_new_one_fails(shop):
    models = shop.models(policy="free_first")
    await models.load(shop.write("old"))
    shop.unwarmable["new"] = broken()
    with pytest.raises(CheckpointUnusable):
        await models.load(shop.write("new"))
    assert states(models) == [("old", READY)]
    assert digest_of(models) == "old"
    assert models.find("studio").failure is not None
    assert shop.log[2:] == [
        "close old",
        "load new",
        "warm new",
        "close new",
        "load old",
        "warm old",
    ]
    assert shop.most_open == 1
    # It is known for what it is: asking for it again changes nothing.
    assert (await models.load(shop.write("old"))).digest == "old"
    assert shop.log[-1] == "warm old"


async def test_where_neither_loads_requests_are_unavailable_until_one_does(shop):
    models = shop.models(policy="free_first")
    await models.load(shop.write("old"))
    shop.unloadable |= {"new": broken(), "old": broken("source: gone")}
    with pytest.raises(CheckpointUnusable, match="ip.safetensors"):
        await models.load(shop.write("new"))
    assert states(models) == [("", FAILED)]
    assert "studio" in models.names()
    with pytest.raises(Unavailable), models.lease("studio"):
        pass
    shop.unloadable.clear()
    await models.load(shop.write("new"))
    assert states(models) == [("new", READY)]
    assert digest_of(models) == "new"


async def test_requests_that_hold_on_for_too_long_keep_the_old_one(shop):
    models = shop.models(policy="free_first", patience_s=0.05)
    old = await models.load(shop.write("old"))
    with models.lease("studio"):
        with pytest.raises(FailedPrecondition, match="1 requests still use") as caught:
            await models.load(shop.write("new"))
    assert caught.value.reason == "MODEL_IN_USE"
    assert models.find("studio") is old
    assert digest_of(models) == "old"
    assert shop.log == ["load old", "warm old"]


async def test_what_is_built_in_is_swapped_beside_whatever_the_policy(shop):
    models = shop.models(policy="free_first")
    shop.unloadable["bad"] = broken()
    with pytest.raises(CheckpointUnusable):
        await models.load(shop.write("bad", "quality"))
    assert digest_of(models, "quality") == "built-in"
    assert shop.told == ["built-in"]
    await models.load(shop.write("one", "quality"))
    assert digest_of(models, "") == "one"
    assert shop.told == ["built-in", "one"]


async def test_the_same_content_is_not_loaded_twice(shop):
    models = shop.models()
    first = await models.load(shop.write("one"))
    assert await models.load(shop.write("one")) is first
    assert await models.load(shop.write("one", comment="# read again\n")) is first
    assert shop.log == ["load one", "warm one"]
    # Other words that come to the same weights: loaded to see, and dropped without being warmed.
    assert await models.load(shop.write("one", comment="steps: 30\n")) is first
    assert shop.log == ["load one", "warm one", "load one"]
    assert digest_of(models) == "one"
    assert shop.loads == {"ready": 1, "unchanged": 3}


async def test_a_request_that_is_cancelled_gives_its_lease_back(shop):
    models = shop.models()
    await models.load(shop.write("old"))

    async def ask():
        with models.lease("studio"):
            await asyncio.sleep(60)

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    await models.load(shop.write("new"))
    assert len(states(models)) == 2
    asking.cancel()
    await until(lambda: states(models) == [("new", READY)])


async def test_a_revision_that_comes_back_waits_until_its_twin_is_gone(shop):
    models = shop.models(patience_s=10)
    await models.load(shop.write("a"))
    with models.lease("studio"):
        await models.load(shop.write("b"))
        back = asyncio.create_task(models.load(shop.write("a")))
        await until(lambda: shop.log.count("load a") == 2)
        await asyncio.sleep(0.02)
        assert shop.log.count("warm a") == 1
    await back
    assert shop.log.index("close a") < len(shop.log) - 1 - shop.log[::-1].index("warm a")
    assert digest_of(models) == "a"


async def test_a_model_that_can_not_be_closed_is_forgotten_all_the_same(shop):
    models = shop.models()
    await models.load(shop.write("one"))
    with models.lease("studio") as revision:
        revision.model().is_closed = True  # closing it once more raises
    await models.unload("studio")
    assert states(models) == []


async def test_closing_breaks_off_loads_and_drains(shop):
    models = shop.models()
    await models.load(shop.write("old"))
    with models.lease("studio"):
        await models.load(shop.write("new"))
        shop.may_warm.clear()
        loading = asyncio.create_task(models.load(shop.write("newer")))
        await until(lambda: ("newer", State.WARMING) in states(models))
        async with asyncio.timeout(5):
            await models.close()
        with pytest.raises(asyncio.CancelledError):
            await loading
