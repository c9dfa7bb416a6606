"""Makes the shipped fonts again: `python -m server.imaging.text.build_fonts`.

Needs Debian's packages fonts-noto-core and fonts-noto-cjk. The same packages give the same bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import uharfbuzz as hb

from server.imaging.text.fonts import SHIPPED

SOURCE = Path("/usr/share/fonts")
CJK = "opentype/noto/NotoSansCJK-{}.ttc"
CJK_INDEX = 2  # simplified Chinese; the other three come by the feature locl
OTHER = "truetype/noto/Noto{}.ttf"
SCRIPTS = ("Arabic", "Bengali", "Devanagari", "Hebrew", "Thai")
BOTH = ("Regular", "Bold")

# For vertical text, hinting and signatures.
DROPPED_TABLES = ("BASE", "VORG", "vhea", "vmtx", "DSIG", "STAT", "meta")
KEPT_FEATURES = (
    "abvm abvs akhn blwf blwm blws calt ccmp cjct clig curs dist fina half haln init isol kern "
    "liga ljmo locl mark medi mkmk nukt pres pref pstf pstf psts rclt rkrf rlig rphf tjmo vatu vjmo"
)
MONEY = "$€£¥₩￥￦円元圓圆원万億亿억"
SYMBOLS = "←↑→↓↔★☆✓✔✕✖♥♡♪♫●○■□▲△▼▽◆◇✦✧❤"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One file to make; `letters` of None keeps all that the source has."""

    name: str
    source: str
    letters: frozenset[int] | None
    index: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=SOURCE, help="folder of Debian's fonts")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    for recipe in list_recipes():
        data = subset(options.source / recipe.source, recipe)
        (options.out / recipe.name).write_bytes(data)
        print(f"{recipe.name:32} {len(data):>9,} bytes")


def list_recipes() -> Iterator[Recipe]:
    latin = frozenset(
        [*range(0x20, 0x250), *range(0x2B0, 0x530), *range(0x1E00, 0x2300), 0x25CC, 0xFB01, 0xFB02]
    )
    for weight in BOTH:
        yield Recipe(f"NotoSans-{weight}.ttf", OTHER.format(f"Sans-{weight}"), latin)
        for script in SCRIPTS:
            name = f"Sans{script}-{weight}"
            yield Recipe(f"Noto{name}.ttf", OTHER.format(name), None)
    symbols = frozenset(map(ord, SYMBOLS))
    name = "SansSymbols2-Regular"
    yield Recipe(f"Noto{name}.ttf", OTHER.format(name), symbols)
    yield Recipe("NotoSansMath-Regular.ttf", OTHER.format("SansMath-Regular"), symbols)
    yield Recipe("NotoSansCJK-Bold.otf", CJK.format("Bold"), collect_cjk(), CJK_INDEX)
    # Titles are bold. The regular weight serves what is small: amounts.
    amounts = frozenset([*range(0x20, 0x7F), *range(0xA0, 0x100), *map(ord, MONEY)])
    yield Recipe("NotoSansCJK-Regular.otf", CJK.format("Regular"), amounts, CJK_INDEX)


def collect_cjk() -> frozenset[int]:
    """Han of GB 2312, Big5 (level 1), JIS X 0208 and the catalogue's titles, kana, all Hangul, and
    their punctuation."""
    rows = range(0xA1, 0xFF)
    trails = (*range(0x40, 0x7F), *range(0xA1, 0xFF))
    letters = {*decode("gb2312", rows, rows), *decode("euc_jp", rows, rows)}
    letters |= {*decode("big5", range(0xA1, 0xC7), trails), *decode("euc_kr", rows, rows)}
    letters |= {*range(0xAC00, 0xD7A4), *range(0x3000, 0x3100), *range(0xFF00, 0xFFEF)}
    letters |= {ord(letter) for title in read_titles() for letter in title}
    return frozenset(letters | {*range(0x20, 0x7F), *range(0xA0, 0x100), *map(ord, MONEY)})


def read_titles() -> Iterator[str]:
    """Those of the shipped catalogue, in all of its languages."""
    lines = files("features.world").joinpath("products.jsonl").read_text("utf-8").splitlines()
    for line in lines:
        yield from json.loads(line)["titles"].values()


def decode(encoding: str, leads: Iterable[int], trails: Iterable[int]) -> Iterator[int]:
    trails = tuple(trails)
    for lead in leads:
        for trail in trails:
            text = bytes((lead, trail)).decode(encoding, "ignore")
            if len(text) == 1:
                yield ord(text)


def subset(source: Path, recipe: Recipe) -> bytes:
    face = hb.Face(hb.Blob.from_file_path(str(source)), recipe.index)
    wanted = hb.SubsetInput()
    letters = set(face.unicodes)
    wanted.unicode_set.clear()
    wanted.unicode_set.update(letters & recipe.letters if recipe.letters else letters)
    wanted.drop_table_tag_set.update(_tag(name) for name in DROPPED_TABLES)
    wanted.layout_feature_tag_set.clear()
    wanted.layout_feature_tag_set.update(_tag(name) for name in KEPT_FEATURES.split())
    wanted.name_id_set.update((13, 14))  # the licence travels with the file
    wanted.flags |= hb.SubsetFlags.NO_HINTING
    return bytes(hb.subset(face, wanted).blob.data)


def _tag(name: str) -> int:
    return int.from_bytes(name.encode(), "big")


if __name__ == "__main__":
    main()
