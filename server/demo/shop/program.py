"""The whole loop: a store, a server with an experiment, visits, events, a report."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from etalage import AsyncClient, ExperimentReport
from features.prepare import WorldSize, prepare_world
from features.store import StoreConfig
from server.demo import SERVE
from server.demo.process import running_server
from server.demo.shop.shoppers import Eyes, read_viewers
from server.demo.shop.truth import compare, describe, find_true_shares
from server.demo.shop.visits import Impression, Shop

OUT = Path("out/ab-demo")
EXPERIMENT = "faces"
PRODUCTS = (
    "handbag",
    "bicycle",
    "headphone",
    "teapot",
    "stopwatch",
    "bouquet",
    "croissant",
    "guitar",
)
PROGRAMME = f"""\
# Who sees which face of a product: a third each. Any surroundings lift clicks: hence three arms.
experiments:
  - key: {EXPERIMENT}
    control: original
    arms:
      - {{name: original}}
      - {{name: generic}}
      - {{name: personalized, strength: 1.0}}
"""


@dataclass(frozen=True, slots=True)
class Size:
    num_shoppers: int = 2400
    num_creatives: int = 512


def run(out: Path = OUT, size: Size | None = None) -> int:
    """Writes report.html, report.json and truth.json; 0 where the report found what is true."""
    size, home = size or Size(), out / "home"
    out.mkdir(parents=True, exist_ok=True)
    config = StoreConfig(home=home)
    print("1/3  a shop and its shoppers")
    encoders = Encoders.load(DEFAULT_CHECKPOINT / "encoders")
    prepare_world(config, encoders, size=WorldSize(size.num_shoppers, size.num_creatives))
    programme = out / "experiment.yaml"
    programme.write_text(PROGRAMME)
    serve = [*SERVE, f"--experiments.programme={programme}", "--engine.max_rows=1024"]
    serve.append(name_store(home))
    print("2/3  a server that assigns, renders and listens")
    with running_server(serve, home, out / "server.log", lambda: None) as ports:
        impressions, report = asyncio.run(_visit(ports.server, home))
    print("3/3  what came of it\n")
    shares = find_true_shares(impressions)
    findings = compare(report.facts, shares)
    (out / "report.html").write_text(report.html, "utf-8")
    (out / "report.json").write_text(json.dumps(report.facts, indent=1) + "\n", "utf-8")
    (out / "truth.json").write_text(json.dumps(shares, indent=1) + "\n", "utf-8")
    print(report.facts["verdict"]["headline"], describe(findings), out / "report.html", sep="\n\n")
    return 0 if all(each.is_right for each in findings) else 1


def name_store(home: Path) -> str:
    """Told where its features are, a server prepares no world of its own."""
    online = {"type": "sqlite", "path": str(StoreConfig(home=home).folder / "online.db")}
    return f"--features.online_store={json.dumps(online)}"


async def _visit(address: str, home: Path) -> tuple[list[Impression], ExperimentReport]:
    viewers = read_viewers(home)
    pause_s = 0.2 if sys.stderr.isatty() else 10.0
    async with AsyncClient(address, timeout_s=120) as client:
        shop = Shop(client, Eyes(), PRODUCTS, EXPERIMENT)
        with tqdm(total=len(viewers), desc="shoppers", mininterval=pause_s) as bar:
            impressions = await shop.open(viewers, bar.update)
        return impressions, await client.report(EXPERIMENT, html=True, timeout_s=300)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m server.demo.shop", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="(default: out/ab-demo)")
    parser.add_argument("--shoppers", type=int, default=Size().num_shoppers, help="how many come")
    options = parser.parse_args(arguments)
    return run(options.out, Size(options.shoppers))
