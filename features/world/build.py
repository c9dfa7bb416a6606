"""Builds the embedded catalogue from pinned npm packages.

npm install --prefix DIR $(python -m features.world.build --packages)
python -m features.world.build --npm DIR [--artworks DIR]
"""

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.world.artworks import Artworks, normalise, save
from features.world.assortment import category_of
from features.world.packages import NAMES, BuildError, Packages

WORLD = Path(__file__).parent
SOURCES = WORLD / "sources.json"
PACKSHOT_SIDE = 512
ARTWORK_SIDE = 256
HELD_OUT_ONE_IN = 10


@dataclass(frozen=True, slots=True)
class Product:
    """One row of the catalogue, before its pictures are drawn."""

    product_id: str
    category: str
    codepoint: str  # the key in all four artwork sets, e.g. "1f3b8"
    titles: dict[str, str]  # by locale
    tags: dict[str, list[str]]

    def as_row(self) -> dict[str, Any]:
        return {
            "product_id": self.product_id,
            "category": self.category,
            "split": split_of(self.product_id),
            "codepoint": self.codepoint,
            "packshot": f"packshots/{self.product_id}.webp",
            "titles": self.titles,
            "tags": self.tags,
        }


def slug(label: str) -> str:
    """A stable kebab-case id from an English label."""
    plain = label.lower().replace("ñ", "n").replace("’", "").replace("'", "")
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def split_of(product_id: str) -> str:
    """ "held_out" for one product in ten, for ever the same ones; "train" for the others."""
    digest = hashlib.sha256(product_id.encode()).digest()
    return "train" if int.from_bytes(digest[:8], "big") % HELD_OUT_ONE_IN else "held_out"


def read_products(packages: Packages, locales: list[str], artworks: Artworks) -> list[Product]:
    """Every product of the assortment that all four artists have drawn, in the emoji order."""
    subgroups = packages.read_json(NAMES, "meta/groups.json")["subgroups"]
    locale_to_names: dict[str, dict[str, Any]] = {}
    for locale in locales:
        rows = packages.read_json(NAMES, f"{locale}/data.json")
        locale_to_names[locale] = {row["hexcode"]: row for row in rows}
    products: list[Product] = []
    for row in sorted(locale_to_names["en"].values(), key=lambda row: row.get("order", 0)):
        category = category_of(subgroups.get(str(row.get("subgroup"))), row["label"])
        if category is None or not artworks.has_all(normalise(row["hexcode"])):
            continue
        names = {locale: locale_to_names[locale][row["hexcode"]] for locale in locales}
        products.append(describe(names, category))
    counts = Counter(product.product_id for product in products)
    if repeated := [product_id for product_id, count in counts.items() if count > 1]:
        raise BuildError(f"two products would be called {', '.join(repeated)}")
    return products


def describe(names: dict[str, dict[str, Any]], category: str) -> Product:
    """One product from its entries in emojibase, by locale."""
    return Product(
        product_id=slug(names["en"]["label"]),
        category=category,
        codepoint=normalise(names["en"]["hexcode"]),
        titles={locale: row["label"].strip() for locale, row in names.items()},
        tags={locale: row.get("tags", []) for locale, row in names.items()},
    )


def build_catalogue(products: list[Product], artworks: Artworks, folder: Path) -> None:
    """Writes products.jsonl and one packshot a product."""
    for stale in folder.glob("packshots/*.webp"):
        stale.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "products.jsonl").open("w", encoding="utf-8") as lines:
        for product in products:
            row = product.as_row()
            packshot = artworks.svg["noto"].draw(product.codepoint, PACKSHOT_SIDE)
            save(packshot, folder / row["packshot"])
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def build_artworks(products: list[Product], artworks: Artworks, folder: Path) -> None:
    """Writes all four sets as <set>/<product_id>.webp, for training."""
    for product in products:
        for name, image in artworks.draw_all(product.codepoint, ARTWORK_SIDE):
            save(image, folder / name / f"{product.product_id}.webp")


def build(asked: argparse.Namespace, sources: dict[str, Any]) -> int:
    """Writes what was asked for; returns the number of products."""
    packages = Packages(asked.npm, sources["packages"], is_pinning=asked.pin)
    artworks = Artworks(packages)
    products = read_products(packages, sources["locales"], artworks)
    build_catalogue(products, artworks, asked.out)
    if asked.artworks:
        build_artworks(products, artworks, asked.artworks)
    if asked.pin:
        for package, digests in packages.digests().items():
            sources["packages"][package]["sha256"] = digests
        SOURCES.write_text(json.dumps(sources, indent=1) + "\n")
    return len(products)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m features.world.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--npm", type=Path, help="the folder given to npm install --prefix")
    parser.add_argument("--artworks", type=Path, help="also write all four artwork sets here")
    parser.add_argument("--out", type=Path, default=WORLD, help="where the catalogue goes")
    parser.add_argument("--packages", action="store_true", help="print the pinned packages")
    parser.add_argument("--pin", action="store_true", help="write new checksums: needs --artworks")
    asked = parser.parse_args(argv)
    if asked.npm is None and not asked.packages:
        parser.error("--npm is needed: where the packages were installed")
    if asked.pin and asked.artworks is None:
        parser.error("--pin needs --artworks, or some files would go unread and unpinned")
    return asked


def main(argv: list[str] | None = None) -> int:
    asked = parse(argv)
    sources = json.loads(SOURCES.read_text())
    if asked.packages:
        print(*(f"{name}@{pin['version']}" for name, pin in sources["packages"].items()))
        return 0
    try:
        print(f"{build(asked, sources)} products written to {asked.out}")
    except BuildError as wrong:
        print(f"build: {wrong}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
