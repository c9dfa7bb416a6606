"""`python -m features.simulate`: shoppers for a world without, as a shop's warehouse has them.

Clicks, profiles over time and last clicks are written as parquet with event timestamps; hidden
tastes go to `evaluation/`, beside the feature store and never into it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from diffusion.scenes import PALETTES, SETTINGS
from diffusion.treatments import TREATMENTS
from features.catalogue import Catalogue, CatalogueProduct
from features.creatives import CreativeBank, choose_creatives, embed_creatives
from features.definitions import FINGERPRINT_TAG
from features.histories import make_profiles, make_recents, to_times
from features.materialize import materialize
from features.offline import to_vectors, write_part
from features.schema import TIMESTAMP, USER_PROFILE, USER_RECENT
from features.shoppers import ACTIONS, Population, draw_population
from features.store import Store, StoreConfig, apply_store, default_home
from features.vector import ImageTextEncoders, Vector, fingerprint

WORLD = Path(__file__).parent / "world"
PART = "simulated"
SHOP = "world"  # the folder under home with what a warehouse has: creatives and clicks
LATENT_TASTES = Path("evaluation", "latent_tastes.parquet")


def simulate(
    store: Store,
    products: Sequence[CatalogueProduct],
    encoders: ImageTextEncoders,
    *,
    num_shoppers: int = 500,
    num_creatives: int = 512,
    seed: int = 7,
    progress: bool = True,
) -> Population:
    """Draws shoppers, writes what they left behind and materializes it.

    Nobody has seen a creative of a held-out product.
    """
    rng = np.random.default_rng(seed)
    shown = [product for product in products if product.split != "held_out"]
    bank = choose_creatives(len(shown), num_creatives, rng)
    population = draw_population(num_shoppers, bank, shown, rng)
    embeddings = embed_creatives(bank, shown, encoders, progress=progress)
    now = datetime.now(UTC).replace(microsecond=0)
    profiles = make_profiles(population, embeddings, now)
    recents = make_recents(population.clicks, population.ids, embeddings, now)

    def leave_out_erased(table: pa.Table) -> pa.Table:
        """To be simulated anew is no coming back."""
        return store.tombstones.sift(table, at_any_time=True)

    for view, table in ((USER_PROFILE, profiles), (USER_RECENT, recents)):
        write_part(store.config.offline_folder(view), PART, leave_out_erased(table))
        materialize(store, view, encoders.width, progress=progress)
    shop = store.config.home / SHOP
    creatives = _tell_creatives(bank, shown, embeddings)
    printed = {FINGERPRINT_TAG: store.fingerprint()}
    write_part(shop, "creatives", creatives.replace_schema_metadata(printed))
    write_part(shop, "clicks", leave_out_erased(_tell_clicks(population, bank, now)))
    tastes = store.config.home / LATENT_TASTES
    write_part(tastes.parent, tastes.stem, leave_out_erased(_tell_tastes(population)))
    return population


def _tell_creatives(
    bank: CreativeBank, products: Sequence[CatalogueProduct], embeddings: Vector
) -> pa.Table:
    return pa.table(
        {
            "creative_id": bank.ids,
            "product_id": [products[i].product_id for i in bank.product],
            "palette": np.array(list(PALETTES))[bank.palette],
            "setting": np.array(list(SETTINGS))[bank.setting],
            "treatment": np.array(TREATMENTS)[bank.treatment],
            "seed": bank.seed,
            "embedding": to_vectors(embeddings),
        }
    )


def _tell_clicks(population: Population, bank: CreativeBank, now: datetime) -> pa.Table:
    clicks = population.clicks
    return pa.table(
        {
            "user_id": np.array(population.ids)[clicks.shopper],
            "creative_id": np.array(bank.ids)[clicks.creative],
            "action": np.array(ACTIONS)[clicks.action],
            "position": clicks.position,
            TIMESTAMP: to_times(now, clicks.age_s),
        }
    )


def _tell_tastes(population: Population) -> pa.Table:
    tastes = population.tastes
    return pa.table(
        {
            "user_id": population.ids,
            "palette": np.array(list(PALETTES))[tastes.palette],
            "setting": np.array(list(SETTINGS))[tastes.setting],
            "treatment": np.array(TREATMENTS)[tastes.treatment],
            "categories": population.interests,
            "num_clicks": np.diff(population.clicks.starts),
            "consent": population.consents,
        }
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m features.simulate", description=__doc__)
    parser.add_argument("--shoppers", type=int, default=500, help="how many (default: 500)")
    parser.add_argument("--creatives", type=int, default=512, help="in the shop (default: 512)")
    parser.add_argument("--seed", type=int, default=7, help="of all draws (default: 7)")
    parser.add_argument("--home", type=Path, default=default_home(), help="state folder")
    parser.add_argument("--catalogue", type=Path, default=WORLD, help="what the shop sells")
    parser.add_argument(
        "--checkpoint", type=Path, default=DEFAULT_CHECKPOINT, help="of the encoders"
    )
    options = parser.parse_args(arguments)
    encoders = Encoders.load(options.checkpoint / "encoders")
    config = StoreConfig(home=options.home)
    store = apply_store(config, fingerprint(encoders.width, encoders.digest))
    catalogue = Catalogue(options.catalogue)
    population = simulate(
        store,
        [product for product, _ in catalogue],
        encoders,
        num_shoppers=options.shoppers,
        num_creatives=options.creatives,
        seed=options.seed,
    )
    print(f"{len(population)} shoppers, {len(population.clicks.shopper)} clicks: {options.home}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
