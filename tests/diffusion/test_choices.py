"""What a scene leaves open, and what seeds and shoppers take of it."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from diffusion.choices import MOST_TOLD, SEASON_PALETTES, Taste, find_share, narrow
from diffusion.looks import ANYWHERE, AXES, SceneWish
from diffusion.scenery import SEASONS, SETTINGS

PALETTES, PLACES = AXES["palette"], AXES["setting"]
SEEDS = range(400)
LIKED = ["rose", "sky", "mint", *(p for p in PALETTES if p not in ("rose", "sky", "mint"))]
TASTE = Taste({"palette": LIKED}, is_clear=True)


def open_of(axis, **told):
    return narrow(SceneWish(**told)).open[axis]


def test_nothing_is_chosen_where_nothing_is_wished():
    choices = narrow(ANYWHERE)
    assert choices.open == {"palette": PALETTES, "setting": PLACES} and choices.warnings == ()
    assert all(choices.choose(seed, 0.0) == {} for seed in SEEDS)


def test_what_is_wished_is_all_that_is_open():
    choices = narrow(SceneWish(palette="mint", setting="night"))
    assert (
        choices.choose(3, 0.0)
        == choices.choose(4, 1.0, TASTE)
        == {
            "palette": "mint",
            "setting": "night",
        }
    )


def test_what_is_avoided_is_never_chosen():
    avoided = frozenset({"sky", "rose"})
    choices = narrow(SceneWish(avoided_palettes=avoided))
    for diversity in (0.0, 0.5, 1.0):
        found = Counter(choices.choose(seed, diversity)["palette"] for seed in SEEDS)
        assert set(found) == set(PALETTES) - avoided


def test_all_avoided_is_refused_by_axis():
    with pytest.raises(ValueError, match="no setting is left: all of them are avoided"):
        narrow(SceneWish(avoided_settings=frozenset(PLACES)))
    with pytest.raises(ValueError, match="no palette is left"):
        narrow(SceneWish(avoided_palettes=frozenset(PALETTES) - {"sky"}, brief="no blue"))
    with pytest.raises(ValueError, match="palette: sky is wished and avoided"):
        narrow(SceneWish(palette="sky", avoided_palettes=frozenset({"sky"})))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"palette": "teal"}, "no palette 'teal': choose one of sand"),
        ({"setting": "moon"}, "no setting 'moon'"),
        ({"season": "monsoon"}, "no season 'monsoon'"),
        ({"avoided_palettes": frozenset({"teal"})}, "no palette 'teal'"),
    ],
)
def test_an_unknown_word_is_named(told, message):
    with pytest.raises(ValueError, match=message):
        narrow(SceneWish(**told))


def test_a_brief_narrows_what_its_words_are_about():
    choices = narrow(SceneWish(brief="blue or pink, no patterns, mahogany"))
    assert choices.open["palette"] == ("sky", "rose")
    assert choices.open["setting"] == tuple(s for s in PLACES if s != "pattern")
    assert choices.warnings == ("the model does not read: mahogany",)


def test_the_most_definite_words_count():
    assert open_of("palette", brief="a warm orange") == ("coral",)
    assert open_of("palette", brief="warm tones") == ("sand", "coral", "lemon")


def test_enums_win_over_the_brief_which_is_told():
    choices = narrow(SceneWish(palette="mint", brief="all in blue, a garden"))
    assert choices.open["palette"] == ("mint",) and choices.open["setting"] == ("outdoor",)
    assert choices.warnings == ("left out of the brief, since the scene says otherwise: blue",)
    avoided = narrow(SceneWish(avoided_palettes=frozenset({"sky"}), brief="blue"))
    assert "sky" not in avoided.open["palette"] and avoided.overruled == ("blue",)
    agreed = narrow(SceneWish(palette="sky", brief="blue, not pink"))
    assert agreed.warnings == ()


def test_avoided_words_avoid():
    choices = narrow(SceneWish(avoided="blue skies, people"))
    assert "sky" not in choices.open["palette"]
    assert choices.warnings == ("the model does not read: skies, people",)


def test_what_market_and_brand_keep_out_is_no_wish():
    """Such as what Korea does not like: names written in red ink."""
    assert narrow(SceneWish(kept_out=("names written in red ink", "knock-off"))) == narrow(ANYWHERE)


@pytest.mark.parametrize("season", SEASONS)
def test_a_season_has_its_palettes_and_settings(season):
    choices = narrow(SceneWish(season=season))
    assert set(choices.open["palette"]) == set(SEASON_PALETTES[season])
    assert set(choices.open["setting"]) == {s for s in PLACES if season in SETTINGS[s].seasons}
    assert narrow(SceneWish(brief=f"in {season}")).open == choices.open


def test_a_season_gives_way_to_all_else():
    assert open_of("setting", season="winter", setting="outdoor") == ("outdoor",)
    assert open_of("palette", season="winter", brief="green") == ("mint",)
    summery = frozenset(SEASON_PALETTES["summer"])
    left = open_of("palette", season="summer", avoided_palettes=summery)
    assert set(left) == set(PALETTES) - summery


def test_treatments_are_read_where_they_can_be_made():
    scene = SceneWish(brief="a sticker")
    assert "treatment" not in narrow(scene).open
    assert narrow(scene).warnings == ("the model does not read: sticker",)
    told = narrow(scene, has_treatments=True)
    assert told.open["treatment"] == ("outlined",) and told.warnings == ()


def test_a_long_brief_is_told_in_part():
    (warning,) = narrow(SceneWish(brief="mahogany-espresso " * 60 + "x1 " * 300)).warnings
    assert len(warning) < MOST_TOLD + 40
    (warning,) = narrow(SceneWish(brief="".join(f"word{n} " for n in range(100)))).warnings
    assert len(warning) < MOST_TOLD + 40 and warning.endswith("...")


def test_diversity_leads_a_share_of_seeds_away_and_to_all_alike():
    choices = narrow(ANYWHERE, has_treatments=True)
    for diversity in (0.0, 0.25, 0.5, 1.0):
        found = [choices.choose(seed, diversity) for seed in range(2000)]
        for axis in AXES:
            chosen = Counter(look[axis] for look in found if axis in look)
            assert abs(chosen.total() / len(found) - find_share(diversity)) < 0.05
            share = chosen.total() / len(AXES[axis])
            assert all(abs(chosen[c] - share) < 0.35 * share + 1 for c in AXES[axis])


def test_as_many_pairs_differ_as_diversity_says():
    choices = narrow(ANYWHERE)
    for diversity in (0.0, 0.25, 0.5, 0.75, 1.0):
        looks = [choices.choose(seed, diversity).get("palette") for seed in range(2000)]
        differ = np.mean([a != b for a, b in zip(looks[::2], looks[1::2], strict=True)])
        assert abs(differ - diversity) < 0.05 + diversity / 8  # two may be drawn the same


def test_more_diversity_only_adds():
    choices = narrow(SceneWish(avoided_settings=frozenset({"night"})))
    for seed in SEEDS:
        less, more = choices.divert(seed, 0.3), choices.divert(seed, 0.6)
        assert less.items() <= more.items()


def test_shoppers_get_the_best_that_is_left():
    avoiding = narrow(SceneWish(avoided_palettes=frozenset({"rose", "sky"})))
    assert all(avoiding.choose(seed, 0.0, TASTE)["palette"] == "mint" for seed in SEEDS)


def test_a_clear_taste_that_is_left_open_is_left_alone():
    avoiding = narrow(SceneWish(avoided_palettes=frozenset({"sky"})))
    assert avoiding.choose(0, 0.0, TASTE) == {}
    unclear = replace(TASTE, is_clear=False)
    assert avoiding.choose(0, 0.0, unclear) == {"palette": "rose"}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_taste_counts_for_its_share_of_seeds(share):
    avoiding = narrow(SceneWish(avoided_palettes=frozenset({"rose"})))
    taste = replace(TASTE, share=share, is_clear=False)
    nobody, found = (
        [avoiding.choose(s, 0.0, t)["palette"] for s in range(1000)] for t in (None, taste)
    )
    moved = [after for before, after in zip(nobody, found, strict=True) if before != after]
    assert set(moved) <= {"sky"}
    expected = share + (1 - share) / 7
    assert abs(np.mean(np.array(found) == "sky") - expected) < 0.05
