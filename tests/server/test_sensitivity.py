"""What tells of a shopper's health, faith or love goes into no prompt, style or targeting."""

import copy
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from features.records import Shopper, Status
from features.simulate import WORLD
from server.commands.experiments import check_targeting, read_programme
from server.commands.start_failed import StartFailed
from server.configuration import Configuration, CreativesSlice, ExperimentsSlice
from server.core import QUALITY
from server.experiments.assignment import fits_shopper
from server.experiments.definition import Targeting
from server.sensitivity import LEFT_OUT, DiscreetReader, SensitiveWords
from tests.server.opening import open_pipeline
from tests.server.registry import hold
from tests.server.scripted_reader import ScriptedReader, ask, taste

WORDS = SensitiveWords.read()
INTERESTS = ("jazz", "type-2 diabetes", "Queer cinema", "hiking")


class Tally(Counter[str]):
    def withheld(self, category):
        self[category] += 1


@pytest.mark.parametrize(
    ("interest", "category"),
    [
        ("mental-health", "health"),
        ("Schwangerschaft", "health"),
        ("糖尿病と健康", "health"),
        ("Islamic art", "religion"),
        ("kosher-food", "religion"),
        ("black community", "descent"),
        ("refugees", "ethnicity"),
        ("LGBTQ+", "orientation"),
        ("l.e.s.b.i.a.n", "orientation"),
        ("far-right", "politics"),
        ("Gewerkschaften", "politics"),
        ("политика", "politics"),
    ],
)
def test_what_tells_too_much_is_found(interest, category):
    assert WORDS.find(interest) == (category,)


@pytest.mark.parametrize(
    "interest",
    ["food", "asian-food", "black dress", "white sneakers", "yoga", "weddings", "party", "baby"],
)
def test_what_people_buy_is_none_of_it(interest):
    assert WORDS.find(interest) == ()


def test_of_the_interests_of_the_shipped_shop_only_health_is_sensitive():
    lines = (WORLD / "products.jsonl").read_text("utf-8").splitlines()
    assert {c for c in {json.loads(line)["category"] for line in lines} if WORDS.find(c)} == {
        "health"
    }


@pytest.fixture
def shopper(reader: ScriptedReader) -> Shopper:
    reader.shopper = replace(reader.shopper, interests=INTERESTS)
    return reader.shopper


async def test_it_is_put_aside_as_it_is_read_and_counted_by_category(reader, shopper):
    tally = Tally()
    found, _ = await DiscreetReader(reader, WORDS, tally).read("u", (), timeout_s=1)
    assert found is not None and found.interests == ("jazz", "hiking")
    assert found.withheld == ("type-2 diabetes", "Queer cinema")
    assert tally == {"health": 1, "orientation": 1}
    nobody, products = await DiscreetReader(reader, WORDS, tally).read(None, ["mug"], timeout_s=1)
    assert nobody is None and list(products) == ["mug"]


@pytest.mark.parametrize("max_interests", [0, 3])
async def test_no_prompt_has_it_and_the_answer_says_so_where_one_would(
    reader, shopper, models, engine, max_interests
):
    told, tally = [], Tally()
    model = copy.copy(models[QUALITY])
    model.max_interests = max_interests

    def plan(product, who, wish, seed):
        told.append(who)
        return models[QUALITY].plan(product, who, wish, seed)

    model.plan = plan
    encoders = model.encoders
    with ThreadPoolExecutor(2) as workers:
        discreet = DiscreetReader(reader, WORDS, tally)
        pipeline = open_pipeline(discreet, hold({QUALITY: model}), encoders, engine, workers)
        result = await pipeline.generate(ask(user_id="u"))
        reader.shopper = Shopper(Status.FOUND, taste(1), consent=True, interests=("jazz",))
        other = await pipeline.generate(ask(user_id="v"))
    assert [who.interests for who in told] == [("jazz", "hiking"), ("jazz",)]
    assert result.warnings == ((LEFT_OUT,) if max_interests else ())
    assert other.warnings == () and "diabetes" not in repr(result)


PROGRAMME = "experiments:\n  - key: faces\n    targeting:\n      interests: [jazz, diabetes]\n"


@pytest.fixture
def configure(tmp_path):
    def configure(**settings):
        path = tmp_path / "programme.yaml"
        path.write_text(PROGRAMME)
        experiments = ExperimentsSlice(programme=path, **settings)
        return Configuration(experiments=experiments)

    return configure


def test_targeting_by_it_stops_the_start_by_line_and_name(configure):
    configuration = configure()
    with pytest.raises(StartFailed, match=r"programme.yaml:\d+: .*'diabetes'.*health") as caught:
        check_targeting(read_programme(configuration.experiments), configuration)
    assert "experiments.0.targeting.interests.1" in str(caught.value)
    assert "experiments.sensitive_targeting" in str(caught.value)


def test_a_shop_that_may_says_so(configure):
    configuration = configure(sensitive_targeting=True)
    check_targeting(read_programme(configuration.experiments), configuration)
    who = Shopper(Status.FOUND, consent=True, withheld=("diabetes",))
    assert fits_shopper(Targeting(interests=("diabetes",)), who)
    assert not fits_shopper(Targeting(interests=("jazz",)), who)


def test_words_of_ones_own_take_the_place_of_those_that_come_along(configure, tmp_path):
    (tmp_path / "words.yaml").write_text("music: {words: [jazz]}\n")
    creatives = CreativesSlice(sensitive_words=tmp_path / "words.yaml")
    configuration = configure().model_copy(update={"creatives": creatives})
    with pytest.raises(StartFailed, match=r"'jazz' may be sensitive \(music\)"):
        check_targeting(read_programme(configuration.experiments), configuration)


def test_words_that_can_not_be_read_stop_the_start_by_name(configure, tmp_path):
    creatives = CreativesSlice(sensitive_words=tmp_path / "none.yaml")
    configuration = configure().model_copy(update={"creatives": creatives})
    with pytest.raises(StartFailed, match="creatives.sensitive_words: .*none.yaml"):
        check_targeting(read_programme(configuration.experiments), configuration)
