"""`make evaluate` from end to end, on a shop of a few products with untrained networks."""

import json
import shutil

import numpy as np
import pytest

from benchmarks.evaluated_study import BASELINE, MAIN, STUDENT, Effort, Folders
from benchmarks.evaluated_world import SimulatedAudience, open_world, render_composites
from benchmarks.evaluation import main, pick_claims
from benchmarks.measurement import Options
from diffusion.baseline import GanGenerator
from diffusion.encoders import Encoders
from diffusion.evaluation.findings import Finding
from diffusion.evaluation.metrics import Figure
from diffusion.evaluation.study import Size
from diffusion.model import ProductDiffusion
from diffusion.taste import NUM_RECENT, click_weight, embed_shopper, pool_clicks
from features.shoppers import ACTIONS
from features.simulate import WORLD
from tests.diffusion.evaluation.small import make_judge
from tests.diffusion.tiny import WIDTH, make_encoders, save_checkpoint, save_student

NUM_PRODUCTS = 6
OWN_STEPS = ("steps", STUDENT)
EFFORT = Effort(
    Size(pairs=4, restyle_generic=2, history=2, dial=2, steps=2),
    *((4, 20), 400, 24, 2, 40, 8, NUM_PRODUCTS, (2, 2), (1, 1)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A part of the embedded shop, of which two products are held out."""
    folder = tmp_path_factory.mktemp("world")
    lines = (WORLD / "products.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:NUM_PRODUCTS]]
    (folder / "packshots").mkdir()
    for number, row in enumerate(rows):
        row["split"] = "held_out" if number < 2 else "train"
        shutil.copy(WORLD / row["packshot"], folder / row["packshot"])
    (folder / "products.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


@pytest.fixture(scope="module")
def encoders():
    return Encoders(make_encoders(), "0" * 16)


@pytest.fixture(scope="module")
def world(folder, encoders):
    return open_world(encoders, folder)


@pytest.fixture(scope="module")
def audience(world, encoders):
    return SimulatedAudience(world, encoders, num_shoppers=30, num_creatives=16, seed=1)


def test_products_come_as_the_shop_shows_them(world):
    assert world.shop.is_held_out.tolist() == [True, True, False, False, False, False]
    assert world.packshots.shape == (NUM_PRODUCTS, 128, 128, 3)
    assert max(max(cutout.shape) for cutout in world.shop.cutouts) == 256
    assert world.shop.image_embeddings.shape == world.shop.title_embeddings.shape


def test_a_shopper_is_embedded_from_all_clicks_and_the_last_ones(world, audience):
    clicks = audience.population.clicks
    shopper = int(np.argmax(audience.num_clicks))
    mine = clicks.of(shopper)
    ages_s = clicks.age_s[mine] - clicks.age_s[mine][-1]
    weights = np.array(
        [click_weight(ACTIONS[a], s) for a, s in zip(clicks.action[mine], ages_s, strict=True)],
        np.float32,
    )
    clicked = audience._embeddings[clicks.creative[mine]]
    product = world.shop.image_embeddings[3]
    expected = embed_shopper(
        pool_clicks(clicked, weights), clicked[-NUM_RECENT:], weights[-NUM_RECENT:], product
    )
    assert audience.embed(shopper, 3) == pytest.approx(expected, abs=1e-5)


def test_the_oracle_knows_the_look_and_not_who_likes_it(audience):
    audience.tastes[:2] = [2, 3, 1]
    audience.prepare_oracle(np.array([0, 1, 5]), per_look=3, seed=0)
    assert (audience.embed_oracle(0, 3) == audience.embed_oracle(1, 3)).all()
    assert (audience.embed_oracle(0, 3) != audience.embed_oracle(5, 3)).any()


def test_no_click_is_on_a_held_out_product(world, audience):
    shown = {product.product_id for product in audience._shown}
    assert not shown & {
        i for i, out in zip(world.shop.ids, world.shop.is_held_out, strict=True) if out
    }


def test_composites_are_seeded_and_each_in_its_own_scene(world):
    products, looks = np.array([0, 0]), np.array([[1, 2, 0]] * 2)
    first, second = render_composites(world.shop, products, looks)
    assert (first != second).any()
    assert (first == render_composites(world.shop, products, looks)[0]).all()


def test_claims_are_targets_their_like_of_the_baseline_and_what_informs():
    def make(section, model, target=None):
        return Finding(section, "m", "at", model, Figure(1, 0, 2, 3), target=target)

    findings = [
        make("identity", MAIN, 0.9),
        make("identity", BASELINE),
        make("history", MAIN),
        make("latency", MAIN),
    ]
    claims = pick_claims(findings)
    assert [claim.name for claim in claims] == [
        "evaluation.identity_m_at_diffusion",
        "evaluation.identity_m_at_conditional_gan",
        "evaluation.latency_m_at_diffusion",
    ]
    assert (claims[0].holds, claims[0].n, claims[0].spread) == (True, 3, (0, 2))
    assert claims[1].holds is None


@pytest.mark.parametrize("has_others", [True, False])
def test_it_runs_from_end_to_end(has_others, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.evaluation.QUICK", EFFORT)
    make_judge().save_pretrained(tmp_path / "judge")
    checkpoint = save_checkpoint(tmp_path / "checkpoint")
    if has_others:
        small = GanGenerator(WIDTH, channels=(8, 8, 8, 8))
        small.save_pretrained(tmp_path / "baseline")
        save_student(tmp_path / "student", ProductDiffusion.load(checkpoint))
    folders = Folders(
        checkpoint=checkpoint,
        student=tmp_path / "student",
        baseline=tmp_path / "baseline",
        judge=tmp_path / "judge",
        artworks=tmp_path / "none",
        world=folder,
        report=tmp_path / "evaluation",
    )
    assert main(Options(quick=True, strict=False, out=tmp_path / "bench"), folders) == 0
    told = json.loads((tmp_path / "evaluation" / "report.json").read_text("utf-8"))
    models = {row["model"] for row in told["findings"]}
    assert models == {MAIN, "encoders", "judge"} | ({BASELINE, STUDENT} if has_others else set())
    steps = {row["at"] for row in told["findings"] if (row["section"], row["model"]) == OWN_STEPS}
    assert steps == ({"4"} if has_others else set()), "never the 20 of its teacher"
    assert any("baseline is not trained" in note for note in told["notes"]) != has_others
    sheets = {path.name for path in (tmp_path / "evaluation" / "sheets").iterdir()}
    assert sheets == {"preserve_grid.webp", "restyle_grid.webp", "side_by_side.webp"}
    claims = json.loads((tmp_path / "bench" / "evaluation.json").read_text("utf-8"))["claims"]
    assert sum(claim["target"] is not None for claim in claims) == 13
    assert (tmp_path / "evaluation" / "report.html").stat().st_size > 50_000
