"""The five jobs of the page, each asked of the real server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from etalage import Client
from server.demo.jobs import JOBS
from server.demo.page import Facts, Figure, Gallery, Reasons, Section, Shelf, Table, render
from server.demo.program import Cast, Viewer
from tests.way.conftest import Running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def sections(running: Running, folder: Path) -> dict[str, Section]:
    shoppers = running.shoppers
    viewers = (
        Viewer(user, user, (taste.palette, taste.setting))
        for user, taste in shoppers.tastes.items()
    )
    cast = Cast(tuple(viewers), Viewer(shoppers.no_consent, ""), Viewer(shoppers.cold_start, ""))
    with Client(running.address, timeout_s=120) as client:
        made = [job(client, cast, Shelf(folder / "images")) for job in JOBS]
    return {section.name: section for section in made}


def figures(section: Section) -> Iterator[Figure]:
    for block in section.blocks:
        if isinstance(block, Gallery | Reasons):
            yield from block.figures
        elif isinstance(block, Table):
            yield from (cell for row in block.rows for cell in row if isinstance(cell, Figure))


def num_different(folder: Path, some: Iterator[Figure]) -> int:
    return len({hashlib.sha256((folder / each.path).read_bytes()).digest() for each in some})


def test_there_is_a_section_for_each_of_the_five_jobs_with_the_code_that_made_it(sections):
    assert list(sections) == [
        *("mass-generation", "personalization", "localization"),
        *("repair", "creation"),
    ]
    for section in sections.values():
        assert "client" in section.code and section.code.startswith("def ")


def test_every_picture_is_there_and_says_what_it_shows(sections, folder):
    page = render(list(sections.values()), "")
    for section in sections.values():
        shown = list(figures(section))
        assert len(shown) >= 10
        for figure in shown:
            assert (folder / figure.path).stat().st_size > 100 and figure.alt
            assert f'src="{figure.path}"' in page


def test_the_batch_is_whole_and_leaves_products_alone(sections, folder):
    facts, gallery = sections["mass-generation"].blocks
    assert isinstance(facts, Facts) and isinstance(gallery, Gallery)
    told = {name: value for value, name in facts.facts}
    num = len(gallery.figures)
    assert told["pictures made"] == f"{num} of {num}"
    assert told["different files by checksum"] == str(num)
    assert told["largest change inside a product"] == "0/255"


def test_shoppers_get_slates_of_their_own_and_the_second_one_from_the_cache(sections, folder):
    table, facts, reasons = sections["personalization"].blocks
    assert isinstance(table, Table) and isinstance(facts, Facts) and isinstance(reasons, Reasons)
    *products, followed = table.rows
    for _, *cells in products:
        shown = iter([cell for cell in cells if isinstance(cell, Figure)])
        assert num_different(folder, shown) == len(cells) == 5
    assert facts.facts[-1][0] == f"{len(products)} of {len(products)}"
    whole = f"setting: {len(products)} of {len(products)}"
    assert sum(whole in cell for cell in followed if isinstance(cell, tuple)) >= 3
    named = [name for name, _ in reasons.shares]
    assert named[0].startswith("profile") and reasons.text
    assert sum(share for name, share in reasons.shares[:2]) == pytest.approx(1, abs=1e-3)


def test_markets_and_places_differ(sections, folder):
    markets, *places = sections["localization"].blocks
    assert isinstance(markets, Gallery) and len(markets.figures) >= 8
    assert num_different(folder, iter(markets.figures)) == len(markets.figures)
    for gallery in places:
        assert isinstance(gallery, Gallery)
        ratios = [figure.width / figure.height for figure in gallery.figures]
        assert ratios == pytest.approx([9 / 16, 1, 1, 3], rel=0.01)


def test_the_dial_leads_from_one_idea_to_many(sections):
    low, high, *_ = sections["creation"].blocks
    assert isinstance(low, Gallery) and isinstance(high, Gallery)
    ideas = [len({figure.title for figure in gallery.figures}) for gallery in (low, high)]
    assert ideas[0] == 1 and ideas[1] == len(high.figures)


def test_what_was_wrong_with_a_packshot_is_found_and_gets_better(sections):
    (table,) = sections["repair"].blocks
    assert isinstance(table, Table)
    names = ("noise", "blur", "jpeg blocks", "overlay", "exposure")
    for name, (_, before, after, change, told) in zip(names, table.rows, strict=True):
        assert isinstance(before, Figure) and isinstance(after, Figure)
        assert isinstance(change, Figure) and isinstance(told, tuple)
        line = next(line for line in told if line.startswith(name))
        worse, better = (float(score) for score in line.removeprefix(name).split("→"))
        assert better < worse, name
