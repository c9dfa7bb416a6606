"""Planning: what is found is repaired, what is a matter of taste is done where it is asked for."""

from server.enhancement.nouns import Defect, EnhanceRequest, Measure, Repair
from server.enhancement.planning import CURES, ON_DEMAND, ORDER, is_wanted, is_worse


def tell(**scores):
    """A diagnosis in which these defects are found."""
    found = {Defect[name.upper()]: score for name, score in scores.items()}
    return {
        defect: Measure(found.get(defect, 0.0), defect in found, "so it is") for defect in Defect
    }


def plan(request, diagnosis):
    return [repair for repair in ORDER if is_wanted(repair, request, diagnosis)]


def test_all_repairs_have_a_place_and_light_goes_first():
    assert set(ORDER) == set(Repair) == set(CURES)
    assert ORDER.index(Repair.EXPOSURE) < ORDER.index(Repair.RESTORE) < ORDER.index(Repair.UPSCALE)


def test_nothing_found_is_nothing_done():
    assert plan(EnhanceRequest("a"), tell()) == []


def test_what_is_found_is_repaired_in_order():
    found = tell(noise=0.4, colour_cast=0.3, overlay=0.5, exposure=0.4)
    wanted = [Repair.EXPOSURE, Repair.COLOUR, Repair.RESTORE, Repair.INPAINT]
    assert plan(EnhanceRequest("a"), found) == wanted


def test_taste_is_followed_where_it_is_asked_for_and_only_there():
    found = tell(cluttered_background=0.9, off_centre=0.5, low_resolution=0.7)
    assert plan(EnhanceRequest("a"), found) == [Repair.RESTORE]
    assert plan(EnhanceRequest("a", ON_DEMAND), tell()) == [
        Repair.WHITE_BACKGROUND,
        Repair.RECENTRE,
        Repair.UPSCALE,
    ]


def test_only_what_is_listed_may_be_done():
    request = EnhanceRequest("a", frozenset({Repair.EXPOSURE, Repair.RECENTRE}))
    assert plan(request, tell(noise=0.4)) == [Repair.RECENTRE]
    assert plan(request, tell(exposure=0.4)) == [Repair.EXPOSURE, Repair.RECENTRE]


def test_a_mask_asks_for_painting():
    assert plan(EnhanceRequest("a", defect_mask=b"mask"), tell()) == [Repair.INPAINT]


def test_harm_is_judged_by_what_a_repair_is_for():
    before = tell(noise=0.4)
    assert is_worse(Repair.RESTORE, before, tell(noise=0.5))
    assert not is_worse(Repair.RESTORE, before, tell(noise=0.42))
    assert not is_worse(Repair.RESTORE, before, tell(off_centre=0.9))
    assert not is_worse(Repair.UPSCALE, before, tell(low_resolution=0.9))
