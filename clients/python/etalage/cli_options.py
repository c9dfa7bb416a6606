"""What the command `etalage` lets one say of an image, and that as the clients' options."""

from __future__ import annotations

import argparse
import os
from datetime import date
from pathlib import Path
from typing import Any, cast, get_args

from etalage.channels import DEFAULT_SERVER, DEFAULT_TIMEOUT_S, ConnectionOptions
from etalage.creatives import (
    CachePolicy,
    Caption,
    Localization,
    Palette,
    Placement,
    Price,
    Scene,
    Season,
    Setting,
)
from etalage.credentials import read_secret
from etalage.enhancement import EnhanceOptions
from etalage.requests import Arm, DeadlinePolicy, ImageFormat, ImageOptions, Mode, Sampler, Sigmas

SUFFIX_TO_FORMAT = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}

_OPTIONS = tuple(ImageOptions.__annotations__)


def add_image(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the image (left out: the server's default)").add_argument
    add("--user", default="", help="who is asking (default: anonymous)")
    add("--strength", type=float, help="personalization, 0 to 1")
    add("--product-scale", type=float, help="guidance of the product, 0 to 30")
    add("--steps", type=int, help="sampling steps, 1 to 100")
    add("--seed", type=int, help="0 is a seed like any other")
    add("--sampler", choices=get_args(Sampler))
    add("--mode", choices=get_args(Mode), default="preserve", help="(default: preserve)")
    add("--locale", default="en", help="BCP 47 tag (default: en)")
    add("--format", choices=get_args(ImageFormat), help="(default: by the name of the output)")
    add("--quality", type=int, help="of WebP and JPEG, 1 to 100")
    add("--longest-side", type=int, help="in pixels, 32 to 2048")
    add("--aspect-ratio", type=float, help="width over height, 0.25 to 4")
    add("--deadline-policy", choices=get_args(DeadlinePolicy))
    add("--session", default="", help="who is asking where --user is not told, for experiments")
    add("--arm", help=f"forces an arm: {', '.join(get_args(Arm))}, or one of --experiment")
    add("--experiment", default="", metavar="KEY", help="whose arm is forced")
    add("--model", help="one that the server has, such as quality or fast")
    add("--sigmas", choices=get_args(Sigmas), help="noise levels at which the sampler stops")
    add("--style", default="", help="a LoRA that the model has")
    add("--max-tries", type=int, help="for an image that fails verification, 1 to 5")
    add("--cache-policy", choices=get_args(CachePolicy), help="whether an earlier image will do")
    add("--explain", action="store_true", help="say which inputs moved the image")
    add("--reuse", action="store_true", help="let forward passes that change little be skipped")
    add("--request-id", default="", metavar="ID", help="by which to cancel it (default: made up)")
    _add_scene(parser)
    _add_caption(parser)


def add_connection(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the server").add_argument
    add("--server", default=os.environ.get("ETALAGE_SERVER", DEFAULT_SERVER), metavar="HOST:PORT",
        help=f"(default: ETALAGE_SERVER or {DEFAULT_SERVER})")  # fmt: skip
    add("--timeout", type=float, default=DEFAULT_TIMEOUT_S, metavar="SECONDS", help="(default: 30)")
    add_caller(parser)


def add_caller(parser: argparse.ArgumentParser) -> None:
    """No secret by itself: who lists the processes of a machine reads what they were told."""
    add = parser.add_argument_group("encryption, and who calls").add_argument
    add("--ca", metavar="FILE", help="certificates to trust, PEM (default: ETALAGE_CA)")
    add("--cert", metavar="FILE", help="the client's own, PEM (default: ETALAGE_CERT)")
    add("--key", metavar="FILE", help="and its private key, PEM (default: ETALAGE_KEY)")
    add("--insecure", action="store_true", help="plaintext to another machine")
    add("--api-key-file", metavar="FILE", help="default: ETALAGE_API_KEY or ETALAGE_API_KEY_FILE")
    add("--token-file", metavar="FILE", help="a JWT; default: ETALAGE_TOKEN or ETALAGE_TOKEN_FILE")


def read_connection(arguments: argparse.Namespace) -> ConnectionOptions:
    told = {name: getattr(arguments, name) for name in ("ca", "cert", "key", "insecure")}
    for name in "api_key", "token":
        if file := getattr(arguments, f"{name}_file"):
            told[name] = read_secret(file)
    return cast(ConnectionOptions, told)


def _add_scene(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("its surroundings (left out: the shopper's taste)").add_argument
    add("--palette", choices=get_args(Palette))
    add("--setting", choices=get_args(Setting))
    add("--season", choices=get_args(Season))
    add("--brief", default="", metavar="TEXT", help="what the creative is about")
    add("--avoid", default="", metavar="TEXT", help="what must not be seen, in words")
    add("--avoid-palettes", nargs="+", default=(), choices=get_args(Palette), metavar="PALETTE")
    add("--avoid-settings", nargs="+", default=(), choices=get_args(Setting), metavar="SETTING")
    add("--diversity", type=float, help="how far the images may lie apart in look, 0 to 1")
    add("--brand-kit", default="", metavar="NAME", help="one that the server has")


def _add_caption(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("where it is shown, and what is written on it").add_argument
    add("--market", default="", metavar="BR", help="country (default: that of the locale)")
    add("--day", type=date.fromisoformat, metavar="2026-12-24", help="(default: today)")
    add("--occasion", action="store_true", help="let season and festivals choose the scene")
    add("--placement", choices=get_args(Placement), help="proportions and safe areas")
    add("--title", nargs="?", const=True, default=False, metavar="TEXT", help="(default: its own)")
    add("--price", type=parse_price, metavar="12.50EUR")
    add("--former-price", type=parse_price, metavar="15.00EUR", help="struck out")
    add("--badge", default="", metavar="TEXT", help="a few words or a figure, such as -20%%")
    add("--label", action="store_true", help="that artificial intelligence made it")


def parse_price(text: str) -> Price:
    """12.50EUR, or EUR 12.50."""
    letters = "".join(c for c in text if c.isalpha())
    amount = text.replace(letters, "").strip()
    if len(letters) != 3 or not amount:
        raise argparse.ArgumentTypeError(f"{text!r} is no price such as 12.50EUR")
    return Price(amount, letters.upper())


def read_options(arguments: argparse.Namespace) -> ImageOptions:
    options: dict[str, Any] = {
        name: getattr(arguments, name) for name in _OPTIONS if name in arguments
    }
    if "output" in arguments:
        options["format"] = _choose_format(arguments)
    options["scene"] = Scene(
        arguments.palette,
        arguments.setting,
        arguments.season,
        arguments.brief,
        arguments.avoid_palettes,
        arguments.avoid_settings,
        arguments.avoid,
    )
    options["localization"] = Localization(arguments.market, arguments.day, arguments.occasion)
    options["caption"] = Caption(
        arguments.title,
        arguments.price,
        arguments.former_price,
        arguments.badge,
        arguments.label,
    )
    return cast(ImageOptions, options)


def read_repairs(arguments: argparse.Namespace) -> EnhanceOptions:
    names = "repairs", "steps", "upscale_factor", "quality"
    options = {name: getattr(arguments, name) for name in names}
    options |= {"diagnose_only": arguments.output is None, "defect_mask": arguments.mask or b""}
    return cast(EnhanceOptions, options | {"format": _choose_format(arguments)})


def _choose_format(arguments: argparse.Namespace) -> str | None:
    suffix = Path(arguments.output or "").suffix.lower()
    return arguments.format or SUFFIX_TO_FORMAT.get(suffix)
