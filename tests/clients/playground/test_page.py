"""The page in a real browser, before a real server: three looks, five jobs, a report; by keyboard,
on a phone, and without a server."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from tests.clients.playground.conftest import find_axe, run_playground

TABS = ("compare", "slate", "catalogue", "markets", "repair", "create", "experiment")
JOBS = {
    "slate": "#slate .shelf img",
    "catalogue": "#catalogue .shelf img",
    "markets": "#markets .placed img",
    "repair": "#repair .stack img.above",
    "create": "#create .shelf img",
    "experiment": "#experiment svg.lift circle",
}
UNLABELLED = """() => [...document.querySelectorAll("input, select, textarea, button, progress")]
    .filter((each) => !(each.labels?.length || each.ariaLabel || each.innerText?.trim()))
    .map((each) => each.outerHTML)"""
NAMELESS = """() => [...document.querySelectorAll("img:not([hidden])")]
    .filter((each) => each.src && !each.alt && !each.closest(".mark"))
    .map((each) => each.outerHTML.slice(0, 80))"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def open_page(page, site, job=""):
    page.goto(f"{site}/#{job}" if job else site)
    page.locator("#present").wait_for()


def run_job(page, job):
    page.get_by_role("tab", name=re.compile(job, re.I)).click()
    if job == "catalogue":
        page.locator("#rows").fill("wrench, \nlamp-post-of-nobody,\nbicycle,shopper-00135")
        page.get_by_role("button", name="Submit the batch").click()
    page.locator(JOBS[job]).first.wait_for()


def wait_for_looks(page):
    """Until all three are made and the last is verified."""
    page.locator(".card .timings").nth(2).wait_for()
    page.locator(".card:nth-child(3) .origin.valid").wait_for()
    page.locator("[aria-busy=true]").first.wait_for(state="detached")


def assert_well_kept(page):
    """Names and labels everywhere, no sideways scrolling on a small phone, and where axe-core is
    there, nothing that it finds in either colour scheme."""
    assert page.evaluate(NAMELESS) == [] and page.evaluate(UNLABELLED) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate(OVERFLOW) <= 0
    if (axe := find_axe()) is None:
        return
    page.evaluate(axe.read_text("utf-8"))
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = page.evaluate("axe.run().then((told) => told.violations)")
        wrong = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
        assert wrong == [], scheme


def look(page, number):
    """Pixels of a card's picture."""
    url = page.locator(f".card:nth-child({number}) .window img:first-child").get_attribute("src")
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_one_product_has_three_looks_that_account_for_themselves(shown, site):
    page = shown.page
    open_page(page, site)
    wait_for_looks(page)
    cards = page.locator(".card")
    assert cards.locator("h3").all_inner_texts() == ["Original", "Generic", "Personalized"]
    assert [look(page, number).shape[2] for number in (1, 2, 3)] == [3, 3, 3]
    told = cards.nth(2).inner_text()
    for word in (
        "Shaped by this shopper’s taste",
        "personalized",
        "20 steps",
        "7",
        "its own pixels",
    ):
        assert word in told
    assert "Unchanged, signed by" in told and "s in all" in told
    assert abs(look(page, 2) - look(page, 3)).max() > 30
    page.get_by_role("button", name="Explain").click()
    page.locator(".bars li").first.wait_for()
    page.get_by_role("button", name="Show where").click()
    assert page.locator(".card .map").last.is_visible()
    assert_well_kept(page)
    assert shown.complaints == []


def test_the_denoising_is_watched_live_and_strength_zero_is_the_generic_look(shown, site):
    page = shown.page
    open_page(page, site)
    wait_for_looks(page)
    page.evaluate("""() => {
        window.seen = new Set();
        const card = document.querySelector(".card:nth-child(3)");
        new MutationObserver(() => window.seen.add(
            `${card.querySelector(".told")?.textContent} ${card.querySelector("img").alt}`
        )).observe(card, {subtree: true, childList: true, attributes: true});
    }""")
    page.get_by_label("Seed").fill("4711")
    page.get_by_text("4711").nth(1).wait_for()
    wait_for_looks(page)
    seen = page.evaluate("[...window.seen]")
    steps = {int(found[1]) for told in seen if (found := re.match(r"step (\d+) of 20", told))}
    assert len(steps) > 3 and any("half done" in told for told in seen)
    page.get_by_label("Strength").fill("0")
    page.get_by_text("Strength 0: exactly the generic look.").wait_for()
    wait_for_looks(page)
    assert abs(look(page, 2) - look(page, 3)).max() <= 1


def test_whoever_must_not_or_can_not_be_known_gets_the_generic_look_and_is_told_why(
    shown, site, shop
):
    page = shown.page
    open_page(page, site)
    page.locator("#other-shopper").fill(shop.no_consent)
    page.get_by_text("This shopper has not consented: the generic look.").wait_for()
    page.locator("#other-product").fill("no-such-thing")
    page.locator(".card .error").nth(2).wait_for()
    assert "Not found: The server does not know this." in page.locator(".error").last.inner_text()


@pytest.mark.parametrize("job", JOBS)
def test_each_job_shows_what_it_makes(shown, site, job):
    page = shown.page
    open_page(page, site, "experiment")
    run_job(page, job)
    panel = page.locator(f"#{job}")
    if job == "catalogue":
        panel.get_by_text("failed: 3 of 3").wait_for()
        assert "lamp-post-of-nobody" in panel.inner_text()
        assert panel.locator(".shelf img").count() >= 1
    if job == "slate":
        panel.locator(".shelf img").nth(11).wait_for()
    if job == "markets":
        page.get_by_label("Market", exact=True).select_option("ar-AE")
        panel.get_by_text("Mirrored for a script").wait_for()
    if job == "repair":
        assert "noise" in panel.locator("table").inner_text()
    if job == "create":
        assert panel.locator(".shelf img").count() == 4
    if job == "experiment":
        assert "bold over original" in panel.inner_text()
    assert_well_kept(page)
    assert shown.complaints == []


def test_a_batch_can_be_cancelled(shown, site):
    page = shown.page
    open_page(page, site, "catalogue")
    page.locator("#rows").fill("\n".join(["wrench,shopper-00135", "bicycle,shopper-00001"] * 40))
    page.get_by_role("button", name="Submit the batch").click()
    page.get_by_role("button", name="Cancel it").click()
    panel = page.locator("#catalogue")
    panel.get_by_text(re.compile(r"cancelled: \d+ of 80")).wait_for()
    page.get_by_role("button", name="Cancel it").wait_for(state="hidden")
    assert panel.locator(".shelf img").count() == 0
    assert shown.complaints == []


def test_where_no_experiment_runs_it_is_told_how_to_start_one(shown, site):
    page = shown.page
    page.route("**/api/experiments", lambda route: route.fulfill(json=[]))
    open_page(page, site, "experiment")
    panel = page.locator("#experiment")
    panel.get_by_text("No experiment runs on this server").wait_for()
    assert "--experiments.programme" in panel.inner_text()
    assert_well_kept(page)
    assert shown.complaints == []


def test_the_keyboard_alone_does_it_all(shown, site):
    page = shown.page
    open_page(page, site)
    wait_for_looks(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the jobs"
    page.keyboard.press("Tab")
    for tab in (*TABS[1:], TABS[0]):
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
        assert page.locator(f"#{tab}").is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.name") == "product"
    page.locator(".card:nth-child(3) img:not([alt^='Handbag'])").first.wait_for()
    outline = "getComputedStyle(document.activeElement.nextElementSibling).outlineStyle"
    assert page.evaluate(outline) == "solid"


def test_without_a_server_the_page_says_so_and_how_to_start_one(shown):
    page = shown.page
    with run_playground("127.0.0.1:9") as site:
        page.goto(site)
        told = page.get_by_role("alert")
        told.wait_for()
        assert "No server answers at 127.0.0.1:9" in told.inner_text()
        assert "make serve" in told.inner_text()
        assert not page.locator("#present").is_visible()
