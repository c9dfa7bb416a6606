"""`python -m diffusion.train_adapter`: teaches a pretrained UNet who the shopper is.

The model stays as it is; what is trained is an image-prompt adapter for shoppers' vectors. An
interrupted run goes on from its last checkpoint in --out when it is started again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.adapters.user_adapter import UserAdapter
from diffusion.families.specification import ModelSpecification, SpecificationInvalid
from diffusion.training.adapter import AdapterTraining, Listening, find_length
from diffusion.training.frozen import Base, load_base
from diffusion.training.latents import encode_pictures
from diffusion.training.loop import Schedule
from diffusion.training.noising import find_noising
from diffusion.training.pictures import Dataset, DatasetUnusable, read_dataset

ADAPTER, SETTINGS = "adapter.safetensors", "training.json"
WORLD = Path("features/world")
MAX_STEPS = 10_000_000
NO_DEFAULT = argparse.SUPPRESS  # that help would speak of


def check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Whether an earlier run in this folder was the same but for fewer steps, and if so keeps what
    this one is. Raises CheckpointUnusable."""
    file = folder / SETTINGS
    folder.mkdir(parents=True, exist_ok=True)
    if file.exists() or (folder / "adapter.pt").exists():
        try:
            before = dict(json.loads(file.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointUnusable(f"{file} can't be read: {error}") from error
        for name, value in settings.items():
            then = before.get(name)
            if then != value and not (name == "steps" and isinstance(then, int) and then < value):
                raise CheckpointUnusable(
                    f"{file}: {name} is {then}, and {value} was asked for: take another --out"
                )
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
    unfinished.replace(file)


def train(options: argparse.Namespace) -> Listening | None:
    """What shoppers held out get of it, if there are any."""
    specification = ModelSpecification.read(options.spec)
    base = load_base(options.spec, specification, getattr(options, "size", None))
    dataset = read_dataset(options.dataset, options.catalogue)
    check_settings(options.out, tell_settings(options, specification, base, dataset))
    training = prepare(options, specification, base, dataset)
    schedule = Schedule(
        options.steps,
        options.learning_rate,
        num_warmup_steps=min(100, options.steps // 10),
        ema_decay=options.ema_decay,
        checkpoint_every_s=options.checkpoint_every,
    )
    training.train(schedule, options.out, options.batch_size)
    facts = {
        "family": specification.family,
        "base": base.digest,
        "encoder_digest": dataset.encoder_digest,
        "width": str(dataset.width),
    }
    training.adapter.save(options.out / ADAPTER, facts)
    return training.listen(dataset.held_out, options.batch_size) if dataset.held_out else None


def tell_settings(
    options: argparse.Namespace, specification: ModelSpecification, base: Base, dataset: Dataset
) -> dict[str, Any]:
    """All that the way of a training depends on."""
    return {
        "family": specification.family,
        "base": base.digest,
        "prompt": specification.prompt,
        "size": list(base.size),
        "dataset": dataset.digest,
        "num_tokens": options.num_tokens,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "ema_decay": options.ema_decay,
        "precision": options.precision,
        "seed": options.seed,
        "steps": options.steps,
    }


def prepare(
    options: argparse.Namespace, specification: ModelSpecification, base: Base, dataset: Dataset
) -> AdapterTraining:
    """Encodes the pictures, and puts a fresh adapter into the pipeline."""
    pipe, is_half = base.pipe, options.precision == "bfloat16"
    for part in (pipe.vae, pipe.text_encoder, getattr(pipe, "text_encoder_2", None)):
        if part is not None:
            part.requires_grad_(False)
    pipe.vae.to(options.device)
    latents = encode_pictures(dataset.pictures, pipe.vae, base.size, options.out, base.digest)
    pipe.vae = None  # has done its work
    pipe.to(options.device, torch.bfloat16 if is_half else torch.float32)
    adapter = UserAdapter.attach(
        pipe, dataset.width, options.num_tokens, find_length(dataset.trained), options.seed
    )
    if options.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
    prompts = [specification.prompt.format(title=p.title) for p in dataset.pictures]
    return AdapterTraining(
        pipe,
        adapter,
        find_noising(pipe.scheduler),
        dataset.trained,
        prompts,
        latents,
        base.size,
        is_half,
        options.seed,
    )


def whole(low: int, high: int) -> Any:
    def read(text: str) -> int:
        if not low <= (value := int(text)) <= high:
            raise argparse.ArgumentTypeError(f"{value} is not within {low} to {high}")
        return value

    return read


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m diffusion.train_adapter",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--spec",
        type=Path,
        required=True,
        default=NO_DEFAULT,
        help="the model's YAML; family sd15 or sdxl",
    )
    add(
        "--dataset",
        type=Path,
        required=True,
        default=NO_DEFAULT,
        help="folder of clicks.parquet and creatives.parquet, from python -m "
        "features.training_set; pictures/<creative_id>.png, .jpg or .webp beside them are the "
        "shop's own, without such a folder they are drawn",
    )
    add(
        "--out",
        type=Path,
        required=True,
        default=NO_DEFAULT,
        help=f"folder of {ADAPTER}, of the checkpoint that a run goes on from, and of the curve",
    )
    add("--catalogue", type=Path, default=WORLD, help="folder of products.jsonl, with the titles")
    add(
        "--size",
        type=whole(16, 4096),
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
        default=NO_DEFAULT,
        help="of pictures (default: the specification's first, or the model's own)",
    )
    add("--steps", type=whole(1, MAX_STEPS), default=10_000, help="of training")
    add("--batch-size", type=whole(1, 4096), default=8, help="clicks shown in a step")
    add("--num-tokens", type=whole(1, 257), default=4, help="that a vector becomes")
    add("--learning-rate", type=float, default=1e-4, help="after warming up; falls to a tenth")
    add("--ema-decay", type=float, default=0.999, help="of the moving average; 0 for none")
    add("--precision", choices=("float32", "bfloat16"), default="float32", help="of the UNet")
    add(
        "--gradient-checkpointing",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="less memory, a third slower",
    )
    add("--checkpoint-every", type=float, default=120.0, metavar="S", help="seconds")
    add("--seed", type=whole(0, 2**63), default=0, help="of first weights and all draws")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    add("--device", type=torch.device, default=device, help="of the training")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = read_options(arguments)
    for library in (diffusers, transformers):  # whose notes are for those who call them
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    try:
        found = train(options)
    except (SpecificationInvalid, CheckpointUnusable, DatasetUnusable) as error:
        print(f"no adapter: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except torch.OutOfMemoryError:
        print("no adapter: too little memory: take a smaller --batch-size", file=sys.stderr)
        return 2
    if found is not None:
        print(
            f"shoppers held out: error {found.own:.4f} told who they are, {found.other:.4f} told "
            f"of another, {found.nobody:.4f} told of nobody"
        )
    print(options.out / ADAPTER)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
