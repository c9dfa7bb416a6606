"""Whatever is blocked, and by whom: the answer says why, and the metrics count it by that."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffusion.looks import SceneWish
from server.core import QUALITY, Source
from server.creative import Caption
from server.errors import InvalidRequest
from server.metrics import Metrics
from server.sensitivity import DiscreetReader, SensitiveWords
from tests.server.opening import open_pipeline
from tests.server.registry import hold
from tests.server.scripted_reader import ask

BRAND, WEAPON = "brand kit acme", "weapons"


class Refusing:
    """A classifier that likes nothing."""

    def check(self, pixels: object) -> tuple[str, ...]:
        return ("unsafe", "too dark")


@pytest.fixture
def shop(reader, models, engine, tmp_path):
    """Opens a pipeline as a server does, with the server's own metrics."""
    (tmp_path / "acme.yaml").write_text("name: acme\ndenied_words: [cheap]\n")
    words = tmp_path / "words.txt"
    words.write_text("weapons: {words: [backpack]}\nhate: {words: [nazi]}\n")
    with ThreadPoolExecutor(2) as workers:

        def open_it(metrics: Metrics, denied_words: Path | None = None, **told: Any) -> Any:
            return open_pipeline(
                DiscreetReader(reader, SensitiveWords.read(), metrics),
                hold(models),
                models[QUALITY].encoders,
                engine,
                workers,
                creatives={"brand_kits": tmp_path, "denied_words": denied_words},
                observer=metrics,
                words_observer=metrics,
                **told,
            )

        yield open_it


def count(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"etalage_{name}_total", labels)


@pytest.mark.parametrize(
    ("request_", "field", "category"),
    [
        (ask(scene=SceneWish(brief="a nazi flag")), "scene.brief", "hate"),
        (ask(scene=SceneWish(brief="beside a nike shoe")), "scene.brief", "brands"),
        (ask(scene=SceneWish(brief="in the style of banksy")), "scene.brief", "artists"),
        (ask(caption=Caption(badge="Cheap!"), brand_kit="acme"), "caption.badge", BRAND),
    ],
    ids=["hate", "brand", "artist", "kit"],
)
async def test_words_of_a_request(shop, request_, field, category):
    metrics = Metrics()
    with pytest.raises(InvalidRequest) as caught:
        await shop(metrics).generate(request_)
    (violation,) = caught.value.violations
    assert (caught.value.reason, violation.field) == ("PROMPT_DENIED", field)
    assert category in violation.description
    assert count(metrics, "denied_texts", category=category) == 1


async def test_the_title_of_a_product(shop, tmp_path):
    metrics = Metrics()
    with pytest.raises(InvalidRequest, match="its title has words that are denied: weapons"):
        await shop(metrics, tmp_path / "words.txt").generate(ask())
    assert count(metrics, "denied_texts", category=WEAPON) == 1


async def test_a_picture_that_the_shops_own_check_refuses(shop):
    metrics = Metrics()
    result = await shop(metrics, safety=Refusing()).generate(ask(max_tries=2))
    assert [each.reasons for each in result.tries] == [("unsafe", "too dark")] * 2
    assert result.source is Source.ORIGINAL and result.images[0].is_original
    assert count(metrics, "tries", reason="unsafe") == count(metrics, "tries", reason="too dark")
    assert count(metrics, "tries", reason="unsafe") == 2 and count(metrics, "fallbacks") == 1


async def test_an_interest_that_may_be_sensitive(shop, reader):
    metrics = Metrics()
    reader.shopper = replace(reader.shopper, interests=("jazz", "hiv", "diabetes", "kosher"))
    await shop(metrics).generate(ask())
    assert count(metrics, "sensitive_inputs", category="health") == 1
    assert count(metrics, "sensitive_inputs", category="religion") == 1
