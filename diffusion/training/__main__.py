"""`python -m diffusion.training`: trains the embedded default, stage by stage, resumable."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from diffusion.autoencoder import Autoencoder
from diffusion.checkpoint import DEFAULT_CHECKPOINT, FAST_CHECKPOINT
from diffusion.encoders import Encoders
from diffusion.matting import save_index as save_matting_index
from diffusion.model import (
    ProductDiffusion,
    load_network,
    read_rules,
    save_index,
    save_student_index,
)
from diffusion.restoration import save_index as save_restorer_index
from diffusion.samplers import flow_sigmas
from diffusion.taste_buckets import TasteBuckets
from diffusion.training.autoencoder import train_autoencoder
from diffusion.training.baseline import train_baseline
from diffusion.training.clicks import load_moments
from diffusion.training.corpus import Corpus, build_corpus
from diffusion.training.distillation import STUDENT_STEPS, record_walks, train_student
from diffusion.training.encoders import train_encoders, train_titles
from diffusion.training.examples import ExampleSource
from diffusion.training.generator import build_generator, forget_shoppers, train_generator
from diffusion.training.judge import train_judge
from diffusion.training.loop import Schedule
from diffusion.training.matting import SIDE as MATTING_SIDE
from diffusion.training.matting import train_matting
from diffusion.training.packshots import Packshots
from diffusion.training.restorer import train_estimator, train_restorer
from diffusion.transformer import ProductTransformer
from diffusion.unet import UNet

WORLD = Path("features/world")
YARDSTICKS = Path("diffusion/evaluation")
RESTORERS = Path("diffusion")
NOT_OF_A_SCHEDULE = (
    *("batch", "network", "name", "card", "num_walks"),
    *("tile_side", "steps_of_walk"),
)


@dataclass(frozen=True)
class Training:
    """One configuration and its folders; each stage needs the ones before it."""

    config: dict[str, Any]
    artworks: Path
    run: Path
    out: Path
    student: Path
    yardsticks: Path
    restorers: Path
    clicks: Path
    start: Path | None
    forget: bool
    device: torch.device

    def train_encoders(self) -> None:
        """Pictures and titles into one space; then the titles again, against all packshots."""
        schedule, batch = self.read("encoders")
        network = train_encoders(self.corpus, schedule, self.run, batch, self.device)
        schedule, _ = self.read("titles")
        network = train_titles(network, self.corpus, schedule, self.run)
        network.bfloat16().save(self.out / "encoders")

    def train_autoencoder(self) -> None:
        """Pixels ↔ latents."""
        schedule, batch = self.read("autoencoder")
        network = train_autoencoder(self.corpus, schedule, self.run, batch, self.device)
        network.bfloat16().save_pretrained(self.out / "autoencoder")

    def train_generator(self) -> None:
        """Creatives that shoppers clicked, from what was known of them before the click."""
        schedule, batch = self.read("generator")
        if self.start:
            network = load_network(ProductTransformer, self.start / "transformer", torch.float32)
            if self.forget:
                forget_shoppers(network)
        else:
            network = build_generator(self.examples, **self.config["generator"].get("network", {}))
        network.to(self.device)
        network = train_generator(self.examples, network, schedule, self.run, batch)
        network.bfloat16().save_pretrained(self.out / "transformer")
        self.write_card()

    def fit_tastes(self) -> None:
        """Which shoppers count as alike, and the model's card, which says how long."""
        moments = self.examples.moments
        shoppers = moments.embed(np.arange(len(moments)))
        TasteBuckets.fit(moments.axes[:2], shoppers).save(self.out)
        self.write_card()

    def write_card(self) -> None:
        save_index(self.out, self.config["name"], self.config["card"])

    def train_student(self) -> None:
        """The generator's own pictures in a fifth of its steps, learnt from its walks."""
        told = self.config["student"]
        schedule, batch = self.read("student")
        teacher = ProductDiffusion.load(self.out, str(self.device))
        # Examples are made ready only where a walk is missing.
        record = record_walks(
            teacher, lambda *drawn: self.examples.draw(*drawn), told["num_walks"], self.run
        )
        save_student_index(self.student, told["name"], told["card"], teacher)
        rules = read_rules(told["card"], self.student)
        sigmas = flow_sigmas(STUDENT_STEPS, shift=told["card"]["shift"])
        network = load_network(ProductTransformer, self.out / "transformer", torch.float32)
        network.to(self.device)
        network = train_student(record, network, rules, sigmas, schedule, self.run, batch)
        network.bfloat16().save_pretrained(self.student / "transformer")

    def train_baseline(self) -> None:
        """The conditional GAN that the generator is compared with."""
        schedule, batch = self.read("baseline")
        network = train_baseline(
            self.examples.draw, schedule, self.run, batch, self.encoders.width, self.device
        )
        network.bfloat16().save_pretrained(self.yardsticks / "baseline")

    def train_judge(self) -> None:
        """The eye of the evaluation: real composites only, and nothing of the other networks."""
        schedule, batch = self.read("judge")
        network = train_judge(self.corpus, schedule, self.run, batch, device=self.device)
        network.bfloat16().save_pretrained(self.yardsticks / "judge")

    def train_restorer(self) -> None:
        """Good packshots from damaged ones, tile by tile."""
        told, folder = self.config["restorer"], self.restorers / "restorer"
        schedule, batch = self.read("restorer")
        start = load_network(UNet, self.start / "network", torch.float32) if self.start else None
        settings = told.get("network", {})
        network = train_restorer(
            self.packshots, schedule, self.run, batch, self.device, start=start, **settings
        )
        network.bfloat16().save_pretrained(folder / "network")
        save_restorer_index(folder, told["name"], told["tile_side"], told["steps_of_walk"])

    def train_estimator(self) -> None:
        """What the restorer is told of a picture: how much there is of each kind of damage."""
        schedule, batch = self.read("estimator")
        network = train_estimator(self.packshots, schedule, self.run, batch, self.device)
        network.bfloat16().save_pretrained(self.restorers / "restorer" / "estimator")

    def train_matting(self) -> None:
        """Where a product is, in front of anything; the decoder says how soft creatives are."""
        told, folder = self.config["matting"], self.restorers / "matting_net"
        schedule, batch = self.read("matting")
        decoder = load_network(Autoencoder, self.out / "autoencoder", torch.float32).eval()
        network = train_matting(
            self.packshots, schedule, self.run, batch, decoder, self.device, **told["network"]
        )
        network.bfloat16().save_pretrained(folder / "network")
        save_matting_index(folder, told["name"], MATTING_SIDE)

    def read(self, stage: str) -> tuple[Schedule, int]:
        told = {k: v for k, v in self.config[stage].items() if k not in NOT_OF_A_SCHEDULE}
        return Schedule(**told), self.config[stage].get("batch", 0)

    @cached_property
    def corpus(self) -> Corpus:
        return build_corpus(
            WORLD, self.artworks, self.run / "corpus", self.config["num_scene_seeds"]
        )

    @cached_property
    def packshots(self) -> Packshots:
        return Packshots.load(WORLD, self.artworks, self.run / "packshots")

    @cached_property
    def encoders(self) -> Encoders:
        return Encoders.load(self.out / "encoders")

    @cached_property
    def examples(self) -> ExampleSource:
        autoencoder = load_network(Autoencoder, self.out / "autoencoder", torch.float32).eval()
        autoencoder.requires_grad_(False)
        moments = load_moments(self.clicks, self.encoders.digest, self.encoders.width)
        return ExampleSource(self.corpus, moments, autoencoder, self.encoders)


STAGES = {
    "encoders": Training.train_encoders,
    "autoencoder": Training.train_autoencoder,
    "judge": Training.train_judge,
    "generator": Training.train_generator,
    "tastes": Training.fit_tastes,
    "student": Training.train_student,
    "baseline": Training.train_baseline,
    "restorer": Training.train_restorer,
    "estimator": Training.train_estimator,
    "matting": Training.train_matting,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m diffusion.training", description=__doc__)
    default = Path(__file__).with_name("default.yaml")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("stages", nargs="+", choices=list(STAGES), help="what to train, in order")
    parser.add_argument("--config", type=Path, default=default, help="stages, steps and rates")
    parser.add_argument("--artworks", type=Path, required=True, help="folder of the artists' sets")
    parser.add_argument("--run", type=Path, default=Path("out/train"), help="curves and state")
    parser.add_argument("--out", type=Path, default=DEFAULT_CHECKPOINT, help="checkpoint folder")
    parser.add_argument("--student", type=Path, default=FAST_CHECKPOINT, help="of few steps")
    parser.add_argument("--yardsticks", type=Path, default=YARDSTICKS, help="judge and baseline")
    parser.add_argument("--restorers", type=Path, default=RESTORERS, help="of packshots")
    parser.add_argument(
        "--clicks",
        type=Path,
        default=Path("out/train/clicks.parquet"),
        help="training set, from python -m features.training_set",
    )
    parser.add_argument(
        "--start", type=Path, help="a checkpoint whose generator or restorer is trained on"
    )
    text = "what the generator of --start knows of shoppers, so that these clicks alone teach it"
    parser.add_argument("--forget", action="store_true", help=text)
    parser.add_argument("--device", type=torch.device, default=device, help="default: %(default)s")
    told = vars(parser.parse_args())
    stages = told.pop("stages")
    training = Training(**(told | {"config": yaml.safe_load(told["config"].read_text())}))
    for stage in stages:
        torch.manual_seed(0)
        STAGES[stage](training)


if __name__ == "__main__":
    main()
