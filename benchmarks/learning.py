"""What a model learns from an experiment's log: `python -m benchmarks.learning`.

A simulated shop lets chance choose palette and setting of every image, for some time, through the
real server. What was clicked, and nothing else, teaches a generator that knows looks but no
shopper. Then shoppers whom nobody has met look at images made for them, and for nobody.

Takes about half an hour on two cores, and `make dataset` first; what is done is not done again.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from tqdm import tqdm

from benchmarks.evaluated_study import SEED, paste
from benchmarks.evaluated_world import SimulatedAudience, open_world
from benchmarks.measurement import ROOT, Claim, Options, Report, make_claim, parse_options
from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from diffusion.evaluation.judge import load_judge
from diffusion.evaluation.study import Outcome, Reader, Settings, Size, plan_study, run_study
from diffusion.looks import AXES
from diffusion.model import ProductDiffusion
from etalage import AsyncClient
from features.prepare import WorldSize, prepare_world
from features.simulate import LATENT_TASTES
from features.store import StoreConfig
from server.demo import SERVE
from server.demo.process import running_server
from server.demo.shop.program import PRODUCTS, name_store
from server.demo.shop.shoppers import LIKED, Eyes, read_viewers
from server.demo.shop.visits import Shop
from server.rows import Defaults

FOLDER = ROOT / "out" / "learning"
EXPERIMENT = "chance"
PROGRAMME = f"""\
experiments:
  - key: {EXPERIMENT}
    arms:
      - {{name: dealt, weight: 0.8, shows: generic, diversity: 1.0}}
      - {{name: generic, weight: 0.2}}
"""
NUM_PRODUCTS = 4
MARGIN = 10.0
"""Points by which the hit rate of what was learned exceeds that of the generic image, on each
axis: about as much again as the generic one has."""


@dataclass(frozen=True, slots=True)
class Effort:
    num_shoppers: int
    num_visits: int
    num_steps: int
    num_judged: int


FULL = Effort(3000, 3, 400, 128)
QUICK = Effort(120, 1, 4, 8)


def main(options: Options) -> int:
    effort = QUICK if options.quick else FULL
    folder = FOLDER / ("quick" if options.quick else "full")
    folder.mkdir(parents=True, exist_ok=True)
    report = Report("learning", options)
    home, clicks = folder / "home", folder / "clicks.parquet"
    if not clicks.exists():
        open_shop(folder, home, effort)
        command = [sys.executable, "-m", "server", "dataset", str(clicks)]
        subprocess.run([*command, f"--features.home={home}", name_store(home)], check=True)
    report.claims += list(describe_log(home, clicks))
    train(folder, clicks, effort)
    report.claims += list(compare(folder / "checkpoint", effort))
    return report.finish()


def open_shop(folder: Path, home: Path, effort: Effort) -> None:
    """Every shopper comes a few times, and sees what chance deals."""
    encoders = Encoders.load(DEFAULT_CHECKPOINT / "encoders")
    prepare_world(StoreConfig(home=home), encoders, size=WorldSize(effort.num_shoppers, 512))
    programme = folder / "experiment.yaml"
    programme.write_text(PROGRAMME)
    serve = [*SERVE, f"--experiments.programme={programme}", "--engine.max_rows=1024"]
    with running_server([*serve, name_store(home)], home, folder / "log", lambda: None) as ports:
        asyncio.run(visit(ports.server, home, effort.num_visits))


async def visit(address: str, home: Path, num_visits: int) -> None:
    viewers = read_viewers(home)
    async with AsyncClient(address, timeout_s=120) as client:
        shop = Shop(client, Eyes(), PRODUCTS[:NUM_PRODUCTS], EXPERIMENT, num_visits)
        with tqdm(total=len(viewers), desc="shoppers", mininterval=5.0) as bar:
            await shop.open(viewers, bar.update)


def describe_log(home: Path, clicks: Path) -> list[Claim]:
    """How much there is to learn from: how often a click was on the shopper's favourite."""
    tastes = {row["user_id"]: row for row in pq.read_table(home / LATENT_TASTES).to_pylist()}
    moments = pq.read_table(clicks, columns=["user_id", "clicked"]).to_pylist()
    found = [make_claim("learning.clicks", [float(len(moments))], "clicks")]
    creatives = pq.read_table(clicks.with_name("creatives.parquet"))
    looks = {row["creative_id"]: row for row in creatives.drop_columns("embedding").to_pylist()}
    for axis in LIKED:
        liked = [looks[m["clicked"][0]][axis] == tastes[m["user_id"]][axis] for m in moments]
        share = 100 * float(np.mean(liked))
        found.append(make_claim(f"learning.{axis}_of_clicks", [share], "%"))
        by_chance = 100 / len(AXES[axis])
        found.append(make_claim(f"learning.{axis}_by_chance", [by_chance], "%"))
    return found


def train(folder: Path, clicks: Path, effort: Effort) -> None:
    """As `make train OUTCOMES=…` does, but from a generator that has forgotten all shoppers."""
    checkpoint = folder / "checkpoint"
    if (checkpoint / "learned").exists():
        return
    shutil.copytree(DEFAULT_CHECKPOINT, checkpoint, dirs_exist_ok=True)
    config: dict[str, Any] = yaml.safe_load((ROOT / "diffusion/training/default.yaml").read_text())
    config["generator"] |= {"num_steps": effort.num_steps, "learning_rate": 5e-4}
    config["generator"] |= {"num_warmup_steps": min(50, effort.num_steps // 2), "ema_decay": 0.99}
    (folder / "training.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "diffusion.training", "generator", "tastes", "--forget"]
    command += ["--config", str(folder / "training.yaml"), "--clicks", str(clicks)]
    command += ["--artworks", str(ROOT / "out" / "artworks"), "--out", str(checkpoint)]
    command += ["--start", str(DEFAULT_CHECKPOINT), "--run", str(folder / "run")]
    subprocess.run(command, check=True, cwd=ROOT)
    (checkpoint / "learned").touch()


def compare(checkpoint: Path, effort: Effort) -> list[Claim]:
    """How often a judge who knows neither sees the shopper's favourite, on shoppers and seeds that
    no training has seen."""
    torch.manual_seed(SEED)
    model = ProductDiffusion.load(checkpoint)
    world = open_world(model.encoders)
    audience = SimulatedAudience(world, model.encoders, 1000, 512, SEED)
    preset = model.preset
    settings = Settings(preset.num_steps, Defaults().strength, preset.max_shopper_scale)
    planned = plan_study(audience, world.shop, Size(pairs=effort.num_judged), settings, SEED)
    arms = {name: planned[f"preserve/{name}"] for name in ("personalized", "generic")}
    judge = load_judge()
    reader = Reader(judge, judge.read(world.packshots).product.numpy())
    told = "learned"
    outcomes = run_study(model, arms, world.shop, audience, settings, reader, paste, label=told)
    claims = []
    for axis in LIKED:
        learned, generic = (find_hits(outcomes[name], axis) for name in arms)
        claims.append(tell_share(f"learning.{axis}_hits", learned))
        claims.append(tell_share(f"learning.{axis}_hits_generic", generic))
        gain = 100 * float(learned.mean() - generic.mean())
        error = 196 * math.sqrt((learned.var() + generic.var()) / len(learned))
        spread = (gain - error, gain + error)
        holds = bool(gain >= MARGIN)
        name = f"learning.{axis}_gain"
        claims.append(Claim(name, gain, "points", MARGIN, "higher", holds, len(learned), spread))
        shown = Counter(outcomes["generic"].shown_looks[:, list(AXES).index(axis)].tolist())
        most = 100 * shown.most_common(1)[0][1] / len(generic)
        claims.append(make_claim(f"learning.{axis}_most_usual", [most], "%"))
    return claims


def find_hits(outcome: Outcome, axis: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(outcome.hits(axis), np.float64)


def tell_share(name: str, hits: np.ndarray[Any, np.dtype[np.float64]]) -> Claim:
    value, error = 100 * float(hits.mean()), 196 * math.sqrt(hits.var() / len(hits))
    spread = (value - error, value + error)
    return Claim(name, value, "%", None, "higher", None, len(hits), spread)


if __name__ == "__main__":
    raise SystemExit(main(parse_options(__doc__ or "")))
