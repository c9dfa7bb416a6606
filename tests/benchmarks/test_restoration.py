"""The benchmark of restoration: its cases are fixed, its claims are what they say."""

import json

import numpy as np
import pytest

from benchmarks.measurement import Options, Report
from benchmarks.restoration import Case, Size, as_picture, draw_sheet, measure
from benchmarks.restoration_cases import (
    DAMAGES,
    GROUNDS,
    draw_on,
    load_cutouts,
    measure_psnr,
    pick,
    put_on_white,
    scratch,
    seed_of,
)
from benchmarks.restoration_served import UNDAMAGED
from diffusion.matting import Matting
from diffusion.restoration import Restorer
from features.simulate import WORLD


@pytest.fixture(scope="module")
def cutouts():
    return load_cutouts(WORLD)


def test_all_products_that_are_held_out_are_measured(cutouts):
    assert len(cutouts) == 58
    assert all(cutout.shape == (512, 512, 4) for cutout in cutouts.values())
    assert len(set(pick(cutouts, 6))) == 6 and len(list(pick(cutouts, 99))) == 58


def test_what_is_asked_for_is_asked_of_the_right_damage():
    asked = {damage.name: damage.min_gain_db for damage in DAMAGES if damage.min_gain_db}
    assert asked == {"noise_25": 6.0, "blur_2": 3.0, "jpeg_15": 3.0, "downscale_2": 3.0}
    assert len({damage.name for damage in DAMAGES}) == 12


def test_stronger_damage_is_further_from_the_truth(cutouts):
    truth = put_on_white(next(iter(cutouts.values())), 128)
    by_kind: dict[str, list[float]] = {}
    for damage in DAMAGES:
        damaged = damage.apply(truth, seed_of("a", damage.name))
        assert np.array_equal(damaged, damage.apply(truth, seed_of("a", damage.name)))
        by_kind.setdefault(damage.kind, []).append(measure_psnr(damaged, truth))
    for psnr in by_kind.values():
        assert psnr == sorted(psnr, reverse=True) and psnr[0] < 60


def test_psnr_is_known():
    black, grey = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 51, np.uint8)
    assert measure_psnr(grey, black) == pytest.approx(20 * np.log10(5))
    assert measure_psnr(black, black) == 100
    part = np.zeros((8, 8), np.bool_)
    part[:4] = True
    half = black.copy()
    half[:4] = 51
    assert measure_psnr(half, black, part) == pytest.approx(measure_psnr(grey, black))
    assert measure_psnr(half, black, ~part) == 100


@pytest.mark.parametrize("ground", GROUNDS)
def test_products_stand_before_every_ground(cutouts, ground):
    name = sorted(cutouts)[3]
    picture, alpha = draw_on(ground, name, cutouts, 128)
    again, same = draw_on(ground, name, cutouts, 128)
    assert np.array_equal(picture, again) and np.array_equal(alpha, same)
    assert 0.02 < alpha.mean() < 0.5
    if ground in ("white", "plain"):
        assert np.ptp(picture[alpha == 0].reshape(-1, 3), axis=0).max() == 0


def test_scratches_are_black_and_known(cutouts):
    truth = put_on_white(next(iter(cutouts.values())), 128)
    holed, mask = scratch(truth, "a")
    assert mask.any() and (holed[mask] == 0).all()
    assert np.array_equal(holed[~mask], truth[~mask])


def test_the_sheet_has_a_column_for_each_case():
    case = Case(*(np.full((40, 40, 3), level, np.uint8) for level in (10, 20, 30)))
    sheet = np.asarray(draw_sheet([[case, case], [case]], side=20))
    assert sheet.shape == (120, 40, 3)
    assert [sheet[10 + 20 * row, 10, 0] for row in range(6)] == [10, 20, 30, 10, 20, 30]
    assert (sheet[60:, 20:] == 255).all()


def test_alpha_is_shown_as_grey():
    assert as_picture(np.array([[0, 0.5, 1]], np.float32))[0, :, 0].tolist() == [0, 128, 255]


def test_the_shipped_networks_are_measured(tmp_path, capsys):
    report = Report("restoration", Options(quick=True, strict=False, out=tmp_path))
    noise = next(damage for damage in DAMAGES if damage.name == "noise_25")
    size = Size(2, 192, compared=1, damages=[noise], mattes=1, served=2)
    measure(report, size, Restorer.load(), Matting.load(), WORLD)
    assert report.finish() == 0
    told = json.loads((tmp_path / "restoration.json").read_text())["claims"]
    values = {claim["name"]: claim["value"] for claim in told}
    assert values["restoration.noise_25.gain"] > 4
    assert values["restoration.noise_25.looks_nearer"] == 100
    assert values["restoration.matting_white_512.iou"] > 0.8
    assert values["restoration.served_noise_25.gain"] > 4
    assert values["restoration.served_noise_25.restored"] == 100
    for kind in UNDAMAGED:
        assert values[f"restoration.undamaged_{kind}.largest_change"] <= 1
    assert (tmp_path / "restoration.png").stat().st_size > 1000
