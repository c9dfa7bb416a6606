"""The benchmark of diagnosis: its defects are made as they are told, and all are measured."""

import json

import numpy as np
import pytest

from benchmarks.diagnosis import (
    CLEAN,
    DAMAGED,
    cut_off,
    expose,
    find,
    flatten,
    measure,
    move_aside,
    on_white,
    tint,
    write_over,
)
from benchmarks.measurement import Options, Report
from benchmarks.restoration_cases import load_cutouts, pick, seed_of
from diffusion.composition import find_box
from features.simulate import WORLD
from server.enhancement.nouns import Defect


@pytest.fixture(scope="module")
def cutouts():
    return load_cutouts(WORLD)


@pytest.fixture(scope="module")
def packshot(cutouts):
    return on_white(next(pick(cutouts, 1)), cutouts)


def find_product(pixels):
    return find_box(np.asarray((pixels < 245).any(axis=-1)))


def test_every_defect_is_made():
    assert {case.defect for case in DAMAGED.values()} == set(Defect)


@pytest.mark.parametrize("title", DAMAGED)
def test_a_case_is_the_same_each_time_and_no_clean_one(cutouts, packshot, title):
    name = next(pick(cutouts, 1))
    one, same = (DAMAGED[title].make(name, cutouts, seed_of(name, title)) for _ in range(2))
    assert np.array_equal(one.rgb, same.rgb)
    assert not np.array_equal(one.rgb, packshot)


def test_stops_are_halves_of_light():
    assert expose(np.full((1, 1, 3), 255, np.uint8), -1).ravel().tolist() == [188, 188, 188]
    assert expose(np.full((1, 1, 3), 188, np.uint8), 2).max() == 255


def test_haze_has_neither_black_nor_white(packshot):
    hazy = flatten(packshot, seed_of("a"))
    assert 70 <= hazy.min() and hazy.max() <= 185


def test_a_tint_takes_from_one_channel_or_two_and_leaves_one(packshot):
    white = tint(packshot, seed_of("a"))[0, 0]
    assert white.max() == 255 and 190 < white.min() < 245


def test_a_product_aside_is_all_there(packshot):
    rows, columns = find_product(move_aside(packshot, seed_of("a")))
    middle = (rows.start + rows.stop) / 2, (columns.start + columns.stop) / 2
    assert max(abs(at - len(packshot) / 2) for at in middle) > 0.1 * len(packshot)
    assert min(rows.start, columns.start) > 0
    assert max(rows.stop, columns.stop) < len(packshot)


def test_a_product_that_is_cut_off_lies_at_the_edge(packshot):
    spoilt = cut_off(packshot, seed_of("a"))
    rows, columns = find_product(spoilt)
    height, width = spoilt.shape[:2]
    edges = (rows.start == 0, rows.stop == height, columns.start == 0, columns.stop == width)
    assert any(edges)


def test_letters_are_laid_over(packshot):
    spoilt = write_over(packshot, seed_of("a"))
    assert spoilt.shape == packshot.shape and spoilt[0, 0].tolist() == [255, 255, 255]


def test_nothing_is_found_on_a_clean_packshot(cutouts):
    name = next(pick(cutouts, 1))
    assert all(find(make(name, cutouts)) == set() for make in CLEAN.values())


def test_all_is_measured(tmp_path, capsys):
    report = Report("diagnosis", Options(quick=True, strict=False, out=tmp_path))
    measure(report, 1, WORLD)
    assert report.finish() == 0
    told = json.loads((tmp_path / "diagnosis.json").read_text())["claims"]
    names = {claim["name"] for claim in told}
    assert {f"diagnosis.found.{title}" for title in DAMAGED} <= names
    assert {f"diagnosis.free_white.{defect.value}" for defect in Defect} <= names
