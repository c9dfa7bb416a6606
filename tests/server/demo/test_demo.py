"""The demonstration against a real server process that answers at once."""

import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from server.demo import run
from server.demo.page import Gallery, Section
from server.demo.process import inherit_environment
from server.demo.program import SLATE, Cast, Viewer

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
CAST = Cast(
    tuple(Viewer(f"u{number}", f"shopper {number}") for number in range(5)),
    no_consent=Viewer("silent", "has not consented"),
    cold_start=Viewer("new", "no history yet"),
)


def one_job(client, cast, shelf):
    items = sorted(client.slate(["watch", "jar"], user="u0"), key=lambda item: item.rank)
    figures = (
        shelf.put(item.product_id, item.unwrap().image.data, item.product_id) for item in items
    )
    return Section("job", "One job", "Two pictures.", (Gallery(tuple(figures)),), "client.slate()")


def broken_job(client, cast, shelf):
    raise RuntimeError("two pictures are missing")


def show(out: Path, behaviour: str = "well", job=one_job) -> int:
    serve = (*STAND_IN, "--behaviour", behaviour)
    return run(out / "home", out, serve, lambda home: CAST, (job,))


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Path:
    out: Path = tmp_path_factory.mktemp("demo")
    assert show(out) == 0
    return out


def test_every_file_that_is_promised_is_there_and_no_other(shown):
    summary = json.loads((shown / "summary.json").read_text())
    images = {record["path"] for record in summary["images"]}
    assert len(images) == 1 + 6 + 6 + 6
    others = {"contact_sheet.png", "summary.json", "metrics.prom", "server.log"}
    others |= {"index.html", "images"}
    assert {path.name for path in (shown / "images").iterdir()} == {"watch.png", "jar.png"}
    assert {path.name for path in shown.iterdir()} == images | others


def test_the_summary_says_of_every_image_how_it_came_about(shown):
    summary = json.loads((shown / "summary.json").read_text())
    by_path = {record["path"]: record for record in summary["images"]}
    first = by_path["preserve-shopper-1.png"]
    assert first == {
        "path": "preserve-shopper-1.png",
        "product": "handbag",
        "shopper": "u0",
        "label": "shopper 0",
        "mode": "preserve",
        "strength": 0.75,
        "arm": "personalized",
        "seed": 7,
        "source": "generated",
        "personalization": {"applied": True, "reason": "applied"},
        "sampler": "euler",
        "steps": 4,
        "timings_ms": {"sample": 12.0},
        "bytes": (shown / "preserve-shopper-1.png").stat().st_size,
    }
    anonymous, zero = (by_path[f"preserve-{name}.png"] for name in ("anonymous", "strength-zero"))
    assert anonymous["personalization"] == {"applied": False, "reason": "anonymous"}
    assert zero["personalization"] == {"applied": False, "reason": "strength_zero"}
    assert (anonymous["shopper"], zero["shopper"]) == (None, "u0")
    reasons = [by_path[f"restyle-{name}.png"] for name in ("no-consent", "cold-start")]
    assert [r["personalization"]["reason"] for r in reasons] == ["no_consent", "unknown_user"]
    assert summary["checks"]["generic_max"] == 0 and summary["checks"]["shoppers_mean"] > 0
    assert set(summary["seconds"]) == {"start", "ask", "jobs", "stop"}


def test_the_slate_is_in_order_of_rank_although_it_arrives_otherwise(shown):
    summary = json.loads((shown / "summary.json").read_text())
    slate = [record for record in summary["images"] if record["path"].startswith("slate")]
    assert [record["product"] for record in slate] == list(SLATE)
    assert len({(shown / record["path"]).read_bytes() for record in slate}) == 6


def test_the_scrape_is_taken_after_the_last_image(shown):
    assert "etalage_requests_total 15.0" in (shown / "metrics.prom").read_text()


def test_the_contact_sheet_opens(shown):
    with Image.open(shown / "contact_sheet.png") as sheet:
        assert sheet.width > 2000 and sheet.height > 1200


def test_the_page_shows_what_the_jobs_made_and_names_the_model(shown):
    page = (shown / "index.html").read_text("utf-8")
    assert '<img src="images/watch.png" alt="watch" width="64" height="64"' in page
    assert "model stand-in fedcba9876543210" in page


def test_a_job_that_fails_is_told_and_leaves_no_page_and_no_process(tmp_path, capsys):
    assert show(tmp_path, job=broken_job) == 1
    assert "demo: two pictures are missing" in capsys.readouterr().err
    assert not (tmp_path / "index.html").exists()
    assert not is_alive(tmp_path / "server.log")


def test_the_table_has_a_line_for_each_image(tmp_path, capsys):
    assert show(tmp_path) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert len([line for line in lines if ".png " in line]) == 19
    assert lines[-2:] == [str(tmp_path / name) for name in ("contact_sheet.png", "index.html")]
    assert "100%" in shown.err  # the bar


def is_alive(log: Path) -> bool:
    pid = int(log.read_text().split()[1])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_no_process_is_left_behind(shown):
    assert not is_alive(shown / "server.log")


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("dies", "server.port = 99999: allowed is"),
        ("fails", "no such product"),
        ("bad-exit", "stopped with status 9"),
    ],
)
def test_trouble_is_told_and_leaves_no_process(tmp_path, capsys, behaviour, said):
    assert show(tmp_path, behaviour) == 1
    assert said in capsys.readouterr().err
    assert not is_alive(tmp_path / "server.log")
    assert not (tmp_path / "summary.json").exists()


def test_the_environment_of_the_client_is_not_handed_to_the_server(monkeypatch, tmp_path):
    monkeypatch.setenv("ETALAGE_SERVER", "elsewhere:1")
    environment = inherit_environment(tmp_path)
    assert "ETALAGE_SERVER" not in environment
    assert environment["ETALAGE_HOME"] == str(tmp_path)
