"""Training of a user adapter: shoppers it never saw are heard, and the model stays as it is."""

import csv
import math

import numpy as np
import pytest
import torch
from diffusers.utils import logging

from diffusion.families.adapters.user_adapter import UserAdapter
from diffusion.training.adapter import (
    AdapterTraining,
    Examples,
    drop,
    encode_prompts,
    find_length,
)
from diffusion.training.latents import Latents
from diffusion.training.loop import Schedule
from diffusion.training.noising import DiscreteNoising, find_noising
from diffusion.training.pictures import Clicks
from tests.diffusion.families.tiny_unet import tiny_sd15, tiny_sdxl
from tests.diffusion.training.shop import COLOURS, LENGTH, draw_clicks

SIZE = (8, 8)
PROMPTS = ["red shoe", "red shoe", "drum", "drum"]
SHORT = Schedule(20, 1e-2, num_warmup_steps=5, ema_decay=0.9, checkpoint_every_s=-1)


class Interruption(Exception):
    pass


class Interrupted(DiscreteNoising):
    """The machine goes down in the step after `num_steps`."""

    def __init__(self, config, num_steps):
        super().__init__(config)
        self.num_left = num_steps

    def spoil(self, latents, generator):
        if not self.num_left:
            raise Interruption
        self.num_left -= 1
        return super().spoil(latents, generator)


@pytest.fixture(scope="module", autouse=True)
def silence():
    """diffusers says that there is no image encoder, which is as it should be."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(before)


def make_latents():
    """A flat colour for each picture."""
    colours = np.random.default_rng(0).normal(size=(len(COLOURS), 4, 1, 1))
    return Latents([np.broadcast_to(colours, (len(COLOURS), 4, 4, 4)).astype(np.float16)])


def make_training(clicks=None, make_pipe=tiny_sd15, num_steps=None, dtype=torch.float32, **told):
    """A random UNet that predicts velocity, so that a colour is something it can learn to say."""
    clicks = clicks or draw_clicks(256, seed=1)
    pipe = make_pipe(prediction_type="v_prediction")
    pipe.to(dtype)
    adapter = UserAdapter.attach(pipe, clicks.shoppers.shape[1], 4, find_length(clicks))
    noising = find_noising(pipe.scheduler)
    if num_steps is not None:
        noising = Interrupted(pipe.scheduler.config, num_steps)
    return AdapterTraining(pipe, adapter, noising, clicks, PROMPTS, make_latents(), SIZE, **told)


def copy_base(training):
    own = {id(parameter) for parameter in training.adapter.parameters()}
    base = training.pipe.unet.state_dict(keep_vars=True)
    return {name: value.detach().clone() for name, value in base.items() if id(value) not in own}


def weights(training):
    return torch.cat([p.detach().flatten() for p in training.adapter.parameters()])


def train_for_a_while(training, folder, num_steps=100):
    training.train(Schedule(num_steps, 3e-2, num_warmup_steps=10, ema_decay=0.9), folder, batch=16)
    return training.listen(draw_clicks(64, seed=2), batch=32)


def test_shoppers_it_never_saw_are_heard_and_the_model_stays_as_it_is(tmp_path):
    training = make_training()
    before, held_out = copy_base(training), draw_clicks(64, seed=2)
    deaf = training.listen(held_out, batch=32)
    assert deaf.own == deaf.other == deaf.nobody, "a fresh adapter says nothing"
    heard = train_for_a_while(training, tmp_path)
    assert heard.own < 0.88 * heard.other, "another shopper's vector asks for another colour"
    assert heard.own < 0.92 * heard.nobody
    after = copy_base(training)
    assert before.keys() == after.keys() and len(before) > 50
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_vectors_that_say_nothing_of_the_click_are_not_heard(tmp_path):
    clicks = draw_clicks(256, seed=1)
    order = np.random.default_rng(3).permutation(len(clicks))
    shuffled = Clicks(clicks.shoppers[order], clicks.picture)
    heard = train_for_a_while(make_training(shuffled), tmp_path, num_steps=50)
    assert heard.own == pytest.approx(heard.other, rel=0.03)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted, and its folder."""
    folder, training = tmp_path_factory.mktemp("whole"), make_training()
    training.train(SHORT, folder, batch=4)
    return training, folder


@pytest.mark.parametrize("num_steps", [1, 10, 19])
def test_an_interrupted_training_ends_like_a_whole_one(whole, tmp_path, num_steps):
    with pytest.raises(Interruption):
        make_training(num_steps=num_steps).train(SHORT, tmp_path, batch=4)
    resumed = make_training()
    resumed.train(SHORT, tmp_path, batch=4)
    training, folder = whole
    assert torch.equal(weights(resumed), weights(training))
    assert read_losses(tmp_path) == read_losses(folder)


def read_losses(folder):
    with (folder / "adapter.csv").open() as file:
        return [(int(row[0]), float(row[2])) for row in csv.reader(file)]


def test_another_seed_is_another_training(whole, tmp_path):
    other = make_training(seed=1)
    other.train(SHORT, tmp_path, batch=4)
    assert not torch.equal(weights(other), weights(whole[0]))


def test_checkpointing_gradients_walks_the_same_way(whole, tmp_path):
    training = make_training()
    training.pipe.unet.enable_gradient_checkpointing()
    training.train(SHORT, tmp_path, batch=4)
    assert torch.allclose(weights(training), weights(whole[0]), atol=1e-4)


# Under autocast torch has no fused kernel for a norm whose weights are float32, and says so.
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
def test_a_unet_of_halves_trains_an_adapter_of_float32(tmp_path):
    training = make_training(make_pipe=tiny_sdxl, dtype=torch.bfloat16, is_half=True)
    training.pipe.unet.enable_gradient_checkpointing()
    before, start = copy_base(training), weights(training)
    training.train(Schedule(2, 1e-2, 1, ema_decay=0.0), tmp_path, batch=4)
    assert {value.dtype for value in before.values()} == {torch.bfloat16}
    after = copy_base(training)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert weights(training).dtype == torch.float32 and weights(training).isfinite().all()
    assert not torch.equal(weights(training), start)


def test_shopper_and_title_are_left_out_with_and_without_the_other():
    has_shopper, has_title = drop(torch.Generator().manual_seed(0), 4000)
    pairs = [(s, t) for s in (True, False) for t in (True, False)]
    shares = [((has_shopper == s) & (has_title == t)).float().mean().item() for s, t in pairs]
    assert shares == pytest.approx([0.85, 0.05, 0.05, 0.05], abs=0.015)


def test_a_batch_shows_the_picture_that_the_shopper_clicked():
    training = make_training()
    shown = training.draw(torch.Generator().manual_seed(0), 400)
    known = shown.shoppers.abs().amax(dim=1) > 0
    liked = shown.shoppers.argmax(dim=1)
    expected = training.latents[liked.numpy()]
    assert torch.equal(shown.latents[known], expected[known])
    assert 20 <= (~known).sum() <= 60, "a tenth is nobody, exactly zero"
    titled = torch.tensor([bool(prompt) for prompt in shown.prompts])
    assert 20 <= (~titled).sum() <= 60
    asked = [prompt for prompt, is_titled in zip(shown.prompts, titled, strict=True) if is_titled]
    assert asked == [PROMPTS[picture] for picture in colours_of(shown, training)[titled]]


def colours_of(shown, training):
    """The number of the picture in each row."""
    every = training.latents[np.arange(len(COLOURS))]
    return (shown.latents[:, None] - every).abs().amax(dim=(2, 3, 4)).argmin(dim=1)


def test_vectors_are_moved_a_little_so_that_none_is_learnt_by_heart():
    clicks = Clicks(np.tile(draw_clicks(1, seed=1).shoppers, (64, 1)), np.zeros(64, np.int64))
    shown = make_training(clicks).draw(torch.Generator().manual_seed(0), 64)
    moved = (shown.shoppers - torch.from_numpy(clicks.shoppers)).norm(dim=1)
    moved = moved[shown.shoppers.any(dim=1)]
    assert 0.02 * LENGTH < moved.mean() < 0.1 * LENGTH


def test_the_error_is_that_of_the_stock_pipelines_unet_and_scheduler():
    training = make_training(make_pipe=tiny_sdxl)
    shown = training.draw(torch.Generator().manual_seed(0), 4)
    noisy = training.noising.spoil(shown.latents, torch.Generator().manual_seed(1))
    stock = tiny_sdxl(prediction_type="v_prediction")
    errors = []
    for row in range(4):
        text, _, pooled, _ = stock.encode_prompt(
            shown.prompts[row], device="cpu", do_classifier_free_guidance=False
        )
        if not shown.prompts[row]:
            text, pooled = torch.zeros_like(text), torch.zeros_like(pooled)
        ids = stock._get_add_time_ids(SIZE, (0, 0), SIZE, torch.float32, 12)
        added = {"text_embeds": pooled, "time_ids": ids}
        rows = slice(row, row + 1)
        found = stock.unet(noisy.x[rows], noisy.time[rows], text, added_cond_kwargs=added).sample
        errors.append((found - noisy.target[rows]).square().mean().item())
    assert training.measure(shown, noisy).item() == pytest.approx(np.mean(errors), abs=1e-5)


def test_an_empty_prompt_is_nothing_where_the_pipeline_says_so():
    pipe = tiny_sdxl()
    known = encode_prompts(pipe, ["", "drum"], (32, 16))
    assert not known["text"][0].any() and not known["text_embeds"][0].any()
    assert known["text"][1].any() and known["text_embeds"][1].any()
    assert known["time_ids"].tolist() == [[16, 32, 0, 0, 16, 32]] * 2
    pipe.register_to_config(force_zeros_for_empty_prompt=False)
    assert encode_prompts(pipe, ["", "drum"], (32, 16))["text"][0].any()
    assert encode_prompts(tiny_sd15(), ["", "drum"], (32, 16))["text"][0].any()


def test_listening_hands_each_shopper_the_vector_of_another(monkeypatch):
    """And errors count by the rows that they are of."""
    training, held_out = make_training(), draw_clicks(10, seed=2)
    told: list[Examples] = []

    def measure(self, shown, noisy):
        told.append(shown)
        return torch.tensor(float(len(shown.latents)))

    monkeypatch.setattr(AdapterTraining, "measure", measure)
    found = training.listen(held_out, batch=4)
    assert found.own == found.other == found.nobody == pytest.approx((4 * 4 + 4 * 4 + 2 * 2) / 10)
    own, other, nobody = (
        torch.cat([shown.shoppers for shown in told[kind::3]]) for kind in (0, 1, 2)
    )
    assert not (own == other).all(dim=1).any() and not nobody.any()
    assert sorted(own.sum(dim=1).tolist()) == sorted(other.sum(dim=1).tolist())


def test_a_usual_length_is_the_root_of_the_mean_square():
    clicks = Clicks(np.array([[3.0, 4.0], [0.0, 1.0]], np.float32), np.zeros(2, np.int64))
    assert find_length(clicks) == pytest.approx(math.sqrt((25 + 1) / 2))
    nobody = Clicks(np.zeros((2, 3), np.float32), np.zeros(2, np.int64))
    assert find_length(nobody) == 1.0
