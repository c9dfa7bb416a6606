"""LoRAs by row: as if merged into the weights, for each row its own, and never under a walk."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.adapters.lora import Loras, NoRoom
from diffusion.families.loading import load_model
from diffusion.image_model import Wish
from tests.diffusion.families.tiny_lora import (
    EVERYONE,
    NETWORKS,
    UNET,
    choose,
    close,
    draw,
    load_one,
    make_unet,
    merge,
    name_weights,
    open_loras,
    run_unet,
    save_many,
    specify,
)
from tests.diffusion.families.tiny_unet import tiny_sdxl
from tests.diffusion.families.walking import facts, walk_latents


@pytest.mark.parametrize("family", NETWORKS)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_row_is_as_if_its_lora_were_merged_into_the_weights(tmp_path, family, strength):
    make, run, names = NETWORKS[family]
    network = make()
    drawn = draw(network, names)
    plain = run(network, EVERYONE)
    merged = run(merge(network, drawn, strength * 0.8), EVERYONE)
    part = "unet" if family == "sdxl" else "transformer"
    tensors = name_weights(drawn, part=part)
    loras, style = load_one(tmp_path, network, tensors, family, scale=0.8)
    choose(loras, *[(style, strength)] * 4)
    assert close(run(network, EVERYONE), merged)
    assert (merged - plain).abs().amax(dim=tuple(range(1, plain.dim()))).min() > 0.05


@pytest.mark.parametrize("family", NETWORKS)
def test_rows_of_different_loras_and_of_none_equal_their_single_runs(tmp_path, family):
    make, run, names = NETWORKS[family]
    network = make()
    part = "unet" if family == "sdxl" else "transformer"
    save_many(tmp_path, network, ["oak", "neon"], names, part)
    loras = open_loras(network, specify(tmp_path, ["oak", "neon"], family))
    oak, neon = loras.load("oak"), loras.load("neon")
    wanted = [(oak, 1.0), (None, 1.0), (neon, 0.7), (oak, 0.3)]
    choose(loras, *wanted)
    together = run(network, EVERYONE)
    for row, (style, strength) in enumerate(wanted):
        choose(loras, (style, strength))
        assert close(run(network, [row]), together[row : row + 1]), row
    choose(loras, (oak, 1.0), (None, 1.0), (oak, 0.7), (neon, 1.0))
    others = run(network, EVERYONE)
    assert torch.equal(others[:2], together[:2])
    assert (others[2:] - together[2:]).abs().amax() > 0.05


def test_a_row_without_a_style_is_bit_for_bit_what_it_is_where_there_are_no_loras(tmp_path):
    unet = make_unet()
    plain = run_unet(unet, EVERYONE)
    loras, style = load_one(tmp_path, unet, name_weights(draw(unet, UNET)))
    choose(loras, (None, 1.0), (style, 1.0), (None, 0.5), (style, 0.0))
    found = run_unet(unet, EVERYONE)
    assert torch.equal(found[[0, 2, 3]], plain[[0, 2, 3]])
    assert not close(found[1], plain[1])


def test_only_modules_that_a_lora_touches_are_changed(tmp_path):
    unet = make_unet()
    names = dict(unet.state_dict())
    load_one(tmp_path, unet, name_weights(draw(unet, UNET[:2])))
    hooked = {name for name, module in unet.named_modules() if module._forward_hooks}
    assert hooked == set(UNET[:2])
    assert unet.state_dict().keys() == names.keys()


def test_rows_that_a_module_sees_as_one_are_refused(tmp_path):
    unet = make_unet()
    loras, style = load_one(tmp_path, unet, name_weights(draw(unet, UNET[:1])))
    choose(loras, (style, 1.0))
    with pytest.raises(ValueError, match=r"attn2\.to_q is given 2 rows at once and not 1"):
        run_unet(unet, [0, 1])


def test_conditions_are_of_one_row_and_nobody_is_place_0(tmp_path):
    unet = make_unet()
    loras, style = load_one(tmp_path, unet, name_weights(draw(unet, UNET[:1])))
    nobody, somebody = loras.conditions(None, 0.7), loras.conditions(style, 0.7)
    assert nobody["style"].tolist() == [0] and nobody["style_scale"].tolist() == [0.0]
    assert somebody["style"] is style.place
    assert somebody["style_scale"].tolist() == pytest.approx([0.7])
    for name in nobody:
        assert nobody[name].shape == somebody[name].shape == (1,)
        assert nobody[name].dtype == somebody[name].dtype


NAMES = ["oak", "neon", "loft", "snow", "moss", "dusk"]


@pytest.fixture
def crowd(tmp_path):
    """Six LoRAs of a UNet, and the UNet as it is with each of them merged."""
    unet = make_unet()
    save_many(tmp_path, unet, NAMES, UNET[:2])
    merged = {
        name: run_unet(merge(unet, draw(unet, UNET[seed % 2 : 2], 1 + seed % 3, seed)), [0])
        for seed, name in enumerate(NAMES)
    }
    return tmp_path, unet, merged


def shows(loras, unet, style, expected):
    choose(loras, (style, 1.0))
    return close(run_unet(unet, [0]), expected)


def test_what_was_asked_for_least_recently_makes_room(crowd):
    folder, unet, merged = crowd
    loras = open_loras(unet, specify(folder, NAMES, num_places=2))
    oak = int(loras.load("oak").place)
    neon = int(loras.load("neon").place)
    assert {oak, neon} == {1, 2}
    assert int(loras.load("oak").place) == oak
    assert int(loras.load("loft").place) == neon
    assert int(loras.load("oak").place) == oak
    style = loras.load("neon")
    assert int(style.place) == neon and shows(loras, unet, style, merged["neon"])


def test_what_is_resident_is_not_read_again(crowd):
    folder, unet, merged = crowd
    loras = open_loras(unet, specify(folder, ["oak"]))
    first = loras.load("oak")
    (folder / "oak.safetensors").unlink()
    again = loras.load("oak")
    assert again.place is first.place and again.digest == first.digest
    assert shows(loras, unet, again, merged["oak"])


def test_a_place_in_use_is_never_taken(crowd):
    folder, unet, merged = crowd
    loras = open_loras(unet, specify(folder, NAMES, num_places=2))
    oak = loras.load("oak")
    walking = loras.conditions(loras.load("neon"), 1.0)
    with pytest.raises(NoRoom, match="all 2 places"):
        loras.load("loft")
    assert shows(loras, unet, oak, merged["oak"])
    freed = int(walking["style"])
    loras.select(torch.cat([walking["style"]]), torch.cat([walking["style_scale"]]))
    assert close(run_unet(unet, [0]), merged["neon"])
    del walking
    assert int(loras.load("loft").place) == freed
    assert shows(loras, unet, oak, merged["oak"])


def test_threads_that_load_at_once_each_get_what_they_asked_for(crowd):
    folder, unet, merged = crowd
    loras = open_loras(unet, specify(folder, NAMES, num_places=4))
    one_at_a_time = threading.Lock()

    def ask(number):
        name = NAMES[number % len(NAMES)]
        style = loras.load(name)
        with one_at_a_time:
            return shows(loras, unet, style, merged[name])

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(ask, range(60)))


def test_an_unknown_name_is_a_key_error(crowd):
    folder, unet, _ = crowd
    loras = open_loras(unet, specify(folder, ["oak"]))
    with pytest.raises(KeyError):
        loras.load("neon")


def test_a_file_that_changed_is_refused_and_takes_no_room(crowd):
    folder, unet, merged = crowd
    loras = open_loras(unet, specify(folder, ["oak", "neon"], num_places=1))
    file = folder / "oak.safetensors"
    before = file.read_bytes()
    file.write_bytes((folder / "neon.safetensors").read_bytes())
    with pytest.raises(CheckpointUnusable, match=r"loras\.oak\.weights: .*oak\.safetensors has"):
        loras.load("oak")
    assert int(loras.load("neon").place) == 1
    file.write_bytes(before)
    assert shows(loras, unet, loras.load("oak"), merged["oak"])


def test_a_specification_without_loras_needs_none(tmp_path):
    assert Loras.load_for(make_unet(), specify(tmp_path, [])) is None


def test_the_digest_tells_files_and_scales_apart(crowd):
    folder, unet, _ = crowd
    digests = {
        open_loras(unet, specify(folder, names, scale=scale)).digest
        for names in (["oak"], ["neon"], ["oak", "neon"])
        for scale in (1.0, 0.5)
    }
    assert len(digests) == 6


def test_a_served_model_walks_with_the_style_that_was_wished_for(tmp_path):
    pipe = tiny_sdxl()
    pipe.save_pretrained(tmp_path / "base")
    save_many(tmp_path, pipe.unet, ["oak", "neon"], UNET)
    told = {"source": "base", "sizes": ((16, 16),), "steps": 3, "guidance": 3.0}
    model = load_model(specify(tmp_path, ["oak", "neon"], num_places=1, **told))
    styled = [Wish("preserve", style=model.load_style("oak"), style_strength=s) for s in (0, 1)]
    plain = walk_latents(model, facts())
    none, full = (walk_latents(model, facts(), wish=wish) for wish in styled)
    assert torch.equal(none, plain)
    assert (full - plain).abs().max() > 0.05
    route = model.plan(model.prepare(facts()), None, styled[1], seed=0)
    del styled
    with pytest.raises(NoRoom):
        model.load_style("neon")
    del route
    assert model.load_style("neon").name == "neon"
