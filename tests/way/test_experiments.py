"""An experiment end to end: a server assigns, a shop tells what came of it, a report says so."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from etalage import AsyncClient, Client, InvalidArgument, NotFound, ShopEvent
from server.demo.process import running_server
from server.demo.shop.program import PRODUCTS
from server.demo.shop.shoppers import CLICK_SHARE, SURROUNDED, Eyes, read_viewers
from server.demo.shop.visits import Shop
from tests.way.conftest import SERVE, Running

PRODUCT = "backpack"
PROGRAMME = """
experiments:
  - key: faces
    arms:
      - {name: original, weight: 0.5}
      - {name: bold, weight: 0.5, shows: personalized, strength: 1.0, model: fast, palette: mint}
"""


@pytest.fixture(scope="module")
def lab(running, tmp_path_factory):
    """A server with an experiment, in the home of one that has made its world there."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "programme.yaml").write_text(PROGRAMME)
    told = f"--experiments.programme={folder / 'programme.yaml'}"
    home, log = running.log.parent, folder / "server.log"
    with running_server((*SERVE, told), home, log, lambda: None) as ports:
        yield Running(ports, running.shoppers, log)


@pytest.fixture
def shop(lab):
    with Client(lab.address, timeout_s=60) as client:
        yield client


def ask(shop, **who):
    return shop.generate(PRODUCT, longest_side=64, **who)


def test_a_shop_runs_an_experiment_and_reads_its_report(lab, shop):
    results = {f"visit-{n}": ask(shop, session=f"visit-{n}") for n in range(24)}
    for session, result in results.items():
        enrolment = result.enrolment
        assert enrolment.experiment == "faces" and enrolment.propensity == 0.5
        assert result.arm == ("original" if enrolment.arm == "original" else "personalized")
        assert ask(shop, session=session).enrolment == enrolment, "the same arm again"
    arms = [result.enrolment.arm for result in results.values()]
    assert 4 <= arms.count("bold") <= 20
    bold = next(result for result in results.values() if result.enrolment.arm == "bold")
    assert bold.model.name.endswith("fast") and bold.steps == 4 and "mint" in bold.image.look
    seen = [ShopEvent("render", result.image.exposure_token) for result in results.values()]
    clicks = [
        ShopEvent("click", result.image.exposure_token)
        for result in results.values()
        if result.enrolment.arm == "bold"
    ]
    recorded = shop.record([*clicks, *seen])
    assert (recorded.num_accepted, recorded.rejections) == (24 + len(clicks), ())
    again = shop.record([*clicks, *seen])
    assert (again.num_accepted, again.num_known) == (0, 24 + len(clicks))
    (faces,) = shop.experiments()
    assert faces.is_running and [arm.name for arm in faces.arms] == ["original", "bold"]
    report = shop.report("faces", html=True)
    counts = {arm["name"]: arm["counts"] for arm in report.facts["arms"]}
    assert sum(each["shoppers"] for each in counts.values()) == 24
    assert (counts["bold"]["clicks"], counts["original"]["clicks"]) == (len(clicks), 0)
    assert report.html.startswith("<!doctype html>") and "visit-" not in report.html
    assert lab.metric('etalage_assignments_total{arm="bold",experiment="faces"}') > 0
    labels = 'arm="bold",experiment="faces",kind="click"'
    assert lab.metric(f"etalage_events_total{{{labels}}}") == 2 * len(clicks)


def test_the_command_says_the_same(running, lab, tmp_path):
    programme = lab.log.with_name("programme.yaml")
    command = [sys.executable, "-m", "server", "report", "--experiment", "faces"]
    command += [f"--features.home={running.log.parent}", f"--experiments.programme={programme}"]
    page, facts = tmp_path / "report.html", tmp_path / "report.json"
    done = subprocess.run(
        [*command, "--html", page, "--json", facts], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(facts.read_text())["verdict"]["headline"] in done.stdout
    assert page.read_text().startswith("<!doctype html>")


def test_what_is_wrong_with_events_is_told_and_the_rest_kept(shop):
    token = ask(shop, session="visit-x").image.exposure_token
    future = datetime.now(UTC) + timedelta(days=1)
    recorded = shop.record(
        [
            ShopEvent("render", token),
            ShopEvent("click", "forged"),
            ShopEvent("click", token, time=future),
            ShopEvent("purchase", token, value=float("nan")),
        ]
    )
    assert recorded.num_accepted == 1
    reasons = [rejection.reason for rejection in recorded.rejections]
    assert reasons == ["TOKEN_FORGED", "TIME_IN_FUTURE", "VALUE_INVALID"]
    with pytest.raises(InvalidArgument, match="'like' is no kind of event"):
        shop.record([ShopEvent("like", token)])  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="no experiment 'gone'"):
        shop.report("gone")


def test_an_arm_can_be_forced_and_is_marked(shop):
    forced = ask(shop, session="tester", experiment="faces", arm="bold")
    assert forced.enrolment.is_override and forced.enrolment.arm == "bold"
    with pytest.raises(InvalidArgument, match="'huge' is no arm of faces: original, bold"):
        ask(shop, session="tester", experiment="faces", arm="huge")
    with pytest.raises(InvalidArgument, match="'gone' is none of this server's experiments: faces"):
        ask(shop, session="tester", experiment="gone", arm="bold")


def test_who_tells_no_session_takes_no_part(shop):
    result = ask(shop, model="fast")
    assert result.enrolment is None and result.image.exposure_token


def test_no_id_of_a_shopper_leaves_the_server(lab, shop):
    user = next(iter(lab.shoppers.tastes))
    result = ask(shop, user=user)
    assert user not in result.image.exposure_token and user not in lab.log.read_text()


async def test_simulated_shoppers_see_one_arm_each_and_tell_what_they_did(running, lab):
    viewers = read_viewers(running.log.parent)[:4]
    labels = 'arm="{}",experiment="faces",kind="render"'
    rendered = {
        arm: f"etalage_events_total{{{labels.format(arm)}}}" for arm in ("original", "bold")
    }
    before = {arm: lab.metric(line) for arm, line in rendered.items()}
    told: list[int] = []
    async with AsyncClient(lab.address, timeout_s=120) as client:
        visits = Shop(client, Eyes(), PRODUCTS, "faces", num_visits=1, num_ranks=2)
        seen = await visits.open(viewers, told.append)
    assert told == [1] * 4 and len(seen) == 8
    assert len({(each.unit, each.arm) for each in seen}) == 4
    for arm, line in rendered.items():
        shares = [each.click_share for each in seen if each.arm == arm]
        assert lab.metric(line) - before[arm] == len(shares)
        lowest = CLICK_SHARE if arm == "original" else CLICK_SHARE * SURROUNDED
        assert all(share >= lowest for share in shares)
        assert arm == "bold" or set(shares) <= {CLICK_SHARE}, "a packshot has no look"


def test_a_broken_programme_stops_the_start_with_its_line(tmp_path):
    path = tmp_path / "programme.yaml"
    path.write_text(PROGRAMME.replace("weight: 0.5, shows", "weight: 0.9, shows"))
    command = [*SERVE, f"--experiments.programme={path}", f"--features.home={tmp_path / 'home'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert f"{path}:4:" in done.stderr and "weights" in done.stderr
