"""Brand kits: what a merchant's creatives keep to, one YAML file each, validated, then frozen.

name: aurora
colours: {ink: "#1b2a41", paper: "#fffaf2", accent: "#c2410c"}
palettes: {preferred: [sand, coral], banned: [graphite], banned_colours: ["#00a0e3"]}
fonts: {files: [fonts/Aurora-Bold.otf], title: Aurora Bold}
logo: {file: logo.svg, on_dark: logo-white.svg, corner: bottom_end, clear_space: 0.25}
denied_words: [cheap, knock-off]
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diffusion.declarations import DeclarationInvalid
from diffusion.looks import SceneWish
from diffusion.palettes import PALETTES
from server.imaging.colours import measure_distance
from server.imaging.text.fonts import Fonts, FontUnusable, load_fonts
from server.localization.markets import PaletteName

NEAR = 25.0
"""CIE 1976 colour difference within which a palette is taken for a banned colour."""

LOGO_SIDE = 1024
LOGO_BYTES = 4 * 1024 * 1024

Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
Corner = Literal["top_start", "top_end", "bottom_start", "bottom_end"]
"""`start` is where lines begin: the left, or the right in Arabic."""


class BrandKitInvalid(DeclarationInvalid):
    """A kit that can't be used; says which file and which field."""


class KitForbids(ValueError):
    """A request wishes for what its brand kit bans."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KitColours(_Part):
    """Colours of what is written: dark and light letters, and badges."""

    ink: Colour | None = None
    paper: Colour | None = None
    accent: Colour | None = None


class KitPalettes(_Part):
    """Of the surroundings. Where some are preferred, taste chooses among these."""

    preferred: tuple[PaletteName, ...] = ()
    banned: tuple[PaletteName, ...] = ()
    banned_colours: tuple[Colour, ...] = ()

    @cached_property
    def all_banned(self) -> frozenset[str]:
        """The named ones, and those whose main colour is near a banned one."""
        near = (
            palette.name
            for palette in PALETTES.values()
            for colour in self.banned_colours
            if measure_distance(palette.main, colour) < NEAR
        )
        return frozenset((*self.banned, *near))

    @model_validator(mode="after")
    def _leave_some(self) -> KitPalettes:
        if both := self.all_banned & set(self.preferred):
            raise ValueError(f"{', '.join(sorted(both))} is both preferred and banned")
        if self.all_banned >= PALETTES.keys():
            raise ValueError("every palette is banned")
        return self


class KitFonts(_Part):
    """Files beside the kit, and which fonts write titles and the rest, by full name: one of these,
    a shipped one, or one of the folders that all kits share."""

    files: tuple[str, ...] = ()
    title: str = ""
    text: str = ""


class Logo(_Part):
    """A PNG or SVG; sizes are shares of the picture's shorter side, the clear space one of the
    logo's height."""

    file: str
    on_dark: str = ""
    corner: Corner = "bottom_end"
    height: float = Field(default=0.075, ge=0.03, le=0.25, allow_inf_nan=False)
    clear_space: float = Field(default=0.25, ge=0, le=1, allow_inf_nan=False)


class BrandKit(_Part):
    """One merchant's rules."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$", description="how requests call it")
    colours: KitColours = KitColours()
    palettes: KitPalettes = KitPalettes()
    fonts: KitFonts = KitFonts()
    logo: Logo | None = None
    denied_words: tuple[str, ...] = ()
    folder: Path = Field(default=Path(), exclude=True, description="what relative files start from")
    font_folders: tuple[Path, ...] = Field(
        default=(), exclude=True, description="shared by all kits"
    )

    @cached_property
    def digest(self) -> bytes:
        """Of the kit and the files that it names."""
        blake = hashlib.blake2b(self.model_dump_json().encode(), digest_size=16)
        logos = () if self.logo is None else (self.logo.file, self.logo.on_dark)
        for file in filter(None, (*self.fonts.files, *logos)):
            blake.update((self.folder / file).read_bytes())
        return blake.digest()

    @cached_property
    def typefaces(self) -> Fonts:
        own = [self.folder / file for file in self.fonts.files]
        return load_fonts(own, shared=self.font_folders)

    @cached_property
    def logo_pixels(self) -> NDArray[np.uint8] | None:
        """RGBA [H, W, 4]."""
        return draw_logo(self.folder / self.logo.file) if self.logo else None

    @cached_property
    def logo_on_dark(self) -> NDArray[np.uint8] | None:
        """That for dark surroundings, or the only one that there is."""
        if self.logo and self.logo.on_dark:
            return draw_logo(self.folder / self.logo.on_dark)
        return self.logo_pixels

    def find_denied(self, text: str) -> tuple[str, ...]:
        """The denied words that a text holds, whatever their case."""
        folded = f" {' '.join(_split_words(text))} "
        found = (
            word for word in self.denied_words if f" {' '.join(_split_words(word))} " in folded
        )
        return tuple(found)

    @classmethod
    def read(cls, path: Path, font_folders: tuple[Path, ...] = ()) -> BrandKit:
        """Raises BrandKitInvalid; fonts and logos are opened, so that no request finds them
        broken."""
        told = BrandKitInvalid.read(path)
        places = {"folder": path.parent.absolute(), "font_folders": font_folders}
        for field in places.keys() & told:
            raise BrandKitInvalid(path, field, "is no field")
        try:
            kit = cls.model_validate({**told, **places})
        except ValidationError as error:
            raise BrandKitInvalid.given(path, error) from error
        kit._open_files(path)
        return kit

    def _open_files(self, path: Path) -> None:
        try:
            self.typefaces  # noqa: B018
        except FontUnusable as error:
            raise BrandKitInvalid(path, "fonts.files", str(error)) from error
        for field in ("title", "text"):
            name = getattr(self.fonts, field)
            if name and self.typefaces.find(name) is None:
                known = ", ".join(font.name for font in self.typefaces.own) or "none of its own"
                raise BrandKitInvalid(path, f"fonts.{field}", f"no font {name!r}: there is {known}")
        for field, read in (("file", "logo_pixels"), ("on_dark", "logo_on_dark")):
            try:
                getattr(self, read)
            except (OSError, ValueError) as error:
                raise BrandKitInvalid(path, f"logo.{field}", str(error)) from error


def load_kits(folder: Path | None, font_folders: tuple[Path, ...] = ()) -> Mapping[str, BrandKit]:
    """All *.yaml of a folder, by name; none where no folder is set. Raises BrandKitInvalid."""
    kits: dict[str, BrandKit] = {}
    if folder is None:
        return kits
    if not folder.is_dir():
        raise BrandKitInvalid(folder, "", "is no folder")
    for path in sorted(folder.glob("*.yaml")):
        kit = BrandKit.read(path, font_folders)
        if kit.name in kits:
            raise BrandKitInvalid(path, "name", f"{kit.name!r} is another kit's name")
        kits[kit.name] = kit
    return kits


def apply_kit(scene: SceneWish, kit: BrandKit) -> SceneWish:
    """The wish within the kit's rules; before `localize`, which keeps to what is avoided.

    Raises KitForbids where the request itself wishes for a banned palette.
    """
    banned = kit.palettes.all_banned
    if scene.palette in banned:
        raise KitForbids(f"the brand kit {kit.name} bans the palette {scene.palette}")
    avoided = scene.avoided_palettes | banned
    if kit.palettes.preferred and not scene.palette:
        others = frozenset(PALETTES) - set(kit.palettes.preferred)
        if not avoided | others >= PALETTES.keys():
            avoided |= others
    kept_out = (*scene.kept_out, *kit.denied_words)
    return replace(scene, avoided_palettes=avoided, kept_out=kept_out)


def draw_logo(path: Path) -> NDArray[np.uint8]:
    """RGBA [H, W, 4] without empty margins, at most 1024 pixels long.

    Raises OSError where it can't be read, ValueError where it is no picture.
    """
    data = path.read_bytes()
    if len(data) > LOGO_BYTES:
        raise ValueError(f"{path}: larger than {LOGO_BYTES:,} bytes")
    try:
        if path.suffix.lower() == ".svg":
            svg = data.decode("utf-8")
            if "<text" in svg:  # it would look different on every machine
                raise ValueError("it has text: want outlines")
            data = resvg_py.svg_to_bytes(svg_string=svg, width=LOGO_SIDE, skip_system_fonts=True)
        with Image.open(io.BytesIO(data)) as image:
            image.thumbnail((LOGO_SIDE, LOGO_SIDE))
            pixels = np.asarray(image.convert("RGBA"))
    except (UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: no PNG or SVG: {error}") from error
    seen = pixels[..., 3] > 0
    if not seen.any():
        raise ValueError(f"{path}: nothing can be seen on it")
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return np.asarray(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _split_words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.casefold()).split()
