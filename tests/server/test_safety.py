"""Denied words are found however they are written, and other words are left alone."""

from typing import Any

import numpy as np
import pytest
import torch

from server import safety
from server.safety import Category, Denied, DeniedWords, SafetyUnusable, load_check

WORDS = DeniedWords.read()


def deny(*words, **options):
    return DeniedWords({"some": Category(words=words, **options)})


def find(words, text):
    return [denied.word for denied in words.find(text)]


@pytest.mark.parametrize(
    "text",
    [
        "kitsch",
        "Kitsch!",
        "KITSCH",
        "so kitsch, so nice",
        "k1tsch",
        "kit$ch",
        "k i t s c h",
        "kítsch",
    ]
    + ["ki\u200btsch", "\uff4bitsch", "kitsch-like", "«kitsch»", "_kitsch_", "k.i.t.s.c.h."],
)
def test_a_word_is_found_however_it_is_written(text):
    assert find(deny("kitsch"), text) == ["kitsch"]


@pytest.mark.parametrize("text", ["", "kitschy", "antikitsch", "kit sch", "kits 4 kids", "1754"])
def test_other_words_are_not_it(text):
    assert find(deny("kitsch"), text) == []


def test_a_one_stands_for_either_letter():
    assert find(deny("silly", "lily"), "s1lly, si11y, 1i1y") == ["silly", "lily"]


def test_words_side_by_side_are_found_side_by_side():
    words = deny("knock off", "so-called")
    assert find(words, "a knock-off") == ["knock off"]
    assert find(words, "knock it off") == []
    assert find(words, "a so called bag") == ["so-called"]


def test_a_star_stands_for_any_ending():
    words = deny("knock*")
    assert find(words, "knocking") == ["knock*"]
    assert find(words, "unknocked") == []


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("色情", "这是色情的东西"),
        ("ポルノ", "これはポルノです"),
        ("ปืน", "ซื้อปืนที่นี่"),
        ("croix gammée", "une CROIX GAMMEE"),
        ("straße", "STRASSE"),
        ("запрет", "это запрет, вот"),
        ("ممنوع", "هذا مَمْنُوع هنا"),
    ],
)
def test_words_of_other_scripts_are_found(word, text):
    assert find(deny(word), text) == [word]


def test_a_word_may_be_denied_in_phrases_only():
    words = deny("vape", "gun", said_as=("{} for kids", "{} für kinder"))
    assert find(words, "a vape for kids") == ["vape for kids"]
    assert find(words, "Gun für Kinder") == ["gun für kinder"]
    assert find(words, "a toy gun") == []


def test_callers_are_told_categories_and_never_words():
    text = "h1tler's portrait in the style of banksy, nazi"
    assert WORDS.find_categories(text) == ("hate", "artists")
    assert Denied("hitler", "hate") in WORDS.find(text)


@pytest.mark.parametrize(
    "text",
    [
        "a bottle of grape juice on a table for kids",
        "nude lipstick, matte",
        "naked oak desk",
        "essex chair; middlesex lamp; cocktail glass",
        "assassin's mug, 1000 pieces, 50 cl, 3 for 2",
        "Banksy: a book about walls",
        "kitchen knife, beer mug, wine glass, water gun",
        "scarf with skulls, torturous knots",
        "warm light, no people, style of the sixties",
    ],
)
def test_what_a_shop_sells_is_not_denied(text):
    assert WORDS.find(text) == []


def test_no_title_of_the_shipped_shop_is_denied():
    import json

    from features.simulate import WORLD

    for line in (WORLD / "products.jsonl").read_text("utf-8").splitlines():
        for title in json.loads(line)["titles"].values():
            assert WORDS.find(title) == [], title


@pytest.mark.parametrize(
    "text", ["p0rn", "gore everywhere", "swastika flag", "cocaine", "vapes for teens", "KKK"]
)
def test_what_no_shop_shows_is(text):
    assert WORDS.find(text)


def test_a_file_of_ones_own_takes_the_place_of_that_which_comes_along(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("rivals:\n  words: [acme]\n", "utf-8")
    words = DeniedWords.read(path)
    assert words.find("an Acme bag, p0rn") == [Denied("acme", "rivals")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rivals: [acme]", "rivals"),
        ("rivals: {words: [acme], extra: 1}", "rivals.extra"),
        ("rivals: {words: ['--']}", "'--' has no word"),
        ("rivals: {words: [acme], said_as: []}", "rivals.said_as"),
        ("{", "can't be read"),
        ("", "dictionary"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name(tmp_path, text, told):
    path = tmp_path / "words.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(SafetyUnusable, match="words.yaml") as caught:
        DeniedWords.read(path)
    assert told in str(caught.value)


def test_a_file_that_is_missing_is_refused_by_name(tmp_path):
    with pytest.raises(SafetyUnusable, match="none.yaml"):
        DeniedWords.read(tmp_path / "none.yaml")


class DarkPictures:
    """A shop's own check."""

    def __init__(self, limit=10):
        self.limit = limit

    def check(self, pixels):
        return ("too dark",) if pixels.mean() < self.limit else ()


def test_a_check_is_loaded_by_name_with_its_options():
    check = load_check(f"{__name__}:DarkPictures", {"limit": 50})
    assert check.check(np.full((4, 4, 3), 40, np.uint8)) == ("too dark",)
    assert check.check(np.full((4, 4, 3), 60, np.uint8)) == ()


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("nothing", {}, "package.module:callable"),
        (":load", {}, "package.module:callable"),
        ("no.such.module:load", {}, "ModuleNotFoundError"),
        (f"{__name__}:missing", {}, "AttributeError"),
        (f"{__name__}:DarkPictures", {"depth": 1}, "depth"),
        ("builtins:dict", {}, "has no check"),
    ],
)
def test_what_can_not_be_loaded_says_why(name, options, told):
    with pytest.raises(SafetyUnusable, match=name) as caught:
        load_check(name, options)
    assert told in str(caught.value)


@pytest.fixture(scope="module")
def checker_folder(tmp_path_factory):
    """The checker of Stable Diffusion with a tiny network of random weights, in its own format."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2}
    vision = {**sizes, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(vision_config=vision, text_config=sizes, projection_dim=8)
    folder = tmp_path_factory.mktemp("sd")
    StableDiffusionSafetyChecker(config).save_pretrained(folder / "safety_checker")
    square = {"height": 32, "width": 32}
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=square)
    processor.save_pretrained(folder / "feature_extractor")
    return folder


@pytest.mark.parametrize(("threshold", "reasons"), [(-2.0, ("unsafe",)), (2.0, ())])
def test_the_checker_of_stable_diffusion_tells_and_changes_nothing(
    checker_folder, threshold, reasons
):
    """Cosines are between -1 and 1, so the threshold decides whatever the weights are."""
    check: Any = load_check("server.safety_checker:load", {"folder": str(checker_folder)})
    check._checker.concept_embeds_weights.data.fill_(threshold)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    before = pixels.copy()
    assert check.check(pixels) == reasons
    assert np.array_equal(pixels, before)


def test_a_folder_without_a_checker_is_refused(tmp_path):
    with pytest.raises(SafetyUnusable, match="server.safety_checker:load"):
        load_check("server.safety_checker:load", {"folder": str(tmp_path)})


def test_deciding_on_words_takes_no_torch():
    assert "torch" not in vars(safety)
