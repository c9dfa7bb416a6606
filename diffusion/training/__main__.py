"""`python -m diffusion.training`: trains the embedded default, stage by stage, resumable."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
import yaml

from diffusion.autoencoder import Autoencoder
from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from diffusion.model import save_index
from diffusion.training.autoencoder import train_autoencoder
from diffusion.training.corpus import build_corpus
from diffusion.training.encoders import train_encoders
from diffusion.training.generator import train_generator
from diffusion.training.loop import Schedule

WORLD = Path("features/world")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m diffusion.training", description=__doc__)
    default = Path(__file__).with_name("default.yaml")
    parser.add_argument("--config", type=Path, default=default, help="stages, steps and rates")
    parser.add_argument("--artworks", type=Path, required=True, help="folder of the artist's sets")
    parser.add_argument("--run", type=Path, default=Path("out/train"), help="curves and state")
    parser.add_argument("--out", type=Path, default=DEFAULT_CHECKPOINT, help="checkpoint folder")
    arguments = parser.parse_args()
    config = yaml.safe_load(arguments.config.read_text())
    torch.manual_seed(0)
    train(config, arguments.artworks, arguments.run, arguments.out)


def train(config: dict[str, Any], artworks: Path, run: Path, out: Path) -> None:
    """Runs what is not done yet of the three stages, and saves all as one checkpoint."""
    corpus = build_corpus(WORLD, artworks, run / "corpus", config["num_scene_seeds"])
    if not (out / "encoders").exists():
        schedule, batch = read_stage(config["encoders"])
        train_encoders(corpus, schedule, run, batch).bfloat16().save(out / "encoders")
    encoders = Encoders.load(out / "encoders")
    if not (out / "autoencoder").exists():
        schedule, batch = read_stage(config["autoencoder"])
        train_autoencoder(corpus, schedule, run, batch).bfloat16().save_pretrained(
            out / "autoencoder"
        )
    autoencoder = Autoencoder.from_pretrained(out / "autoencoder").float().eval()
    autoencoder.requires_grad_(False)
    schedule, batch = read_stage(config["generator"])
    transformer = train_generator(corpus, autoencoder, encoders, schedule, run, batch)
    transformer.bfloat16().save_pretrained(out / "transformer")
    save_index(out, config["name"])


def read_stage(stage: dict[str, Any]) -> tuple[Schedule, int]:
    return Schedule(**{k: v for k, v in stage.items() if k != "batch"}), stage["batch"]


if __name__ == "__main__":
    main()
