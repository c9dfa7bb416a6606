"""The control plane: how many requests a server answers whose images cost nothing.

`python -m benchmarks.control_plane [--quick]`. Each server is a process of its own, and so is who
asks: both share the machine. From the least to all: a bare gRPC server that echoes 10 kB; our door,
with an answer of 10 kB behind it; and the whole server, asked for images that are kept, with
features read for each request, as one process and as two. For information: the whole way with a
denoiser that costs nothing, every image sampled, composed and encoded.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from tqdm import tqdm

from benchmarks.control_load import Asked, Latencies, ask_each, measure_latency, measure_rate
from benchmarks.measurement import Options, Report, parse_options
from etalage.v1 import images_pb2 as pb
from server.demo.process import Ports, running_server

TARGET_RPS = 1500
TARGET_P99_MS = 25
SHARE = 0.7
"""Of the highest rate, at which latency is measured."""

NUM_PRODUCTS = 8
SERVERS = "benchmarks.control_servers"


@dataclass(frozen=True, slots=True)
class Size:
    rounds: int
    seconds: float
    """Of a round."""


FULL, QUICK = Size(5, 6.0), Size(1, 1.5)


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked, of how many of the servers that run."""

    name: str
    asked: tuple[Asked, ...]
    num_doors: int = 1
    is_claim: bool = False


def measure(report: Report, server: str, cases: Sequence[Case], size: Size, folder: Path) -> None:
    """Cases of one kind of server, by its name in `control_servers`; "whole" is the real one."""
    with ExitStack() as stack:
        num_doors = max(case.num_doors for case in cases)
        doors = [running(server, folder, number) for number in range(num_doors)]
        addresses = [stack.enter_context(door).server for door in doors]
        pool = stack.enter_context(asking())
        for case in cases:
            measure_case(report, pool, addresses[: case.num_doors], case, size)


def measure_case(
    report: Report,
    pool: ProcessPoolExecutor,
    addresses: Sequence[str],
    case: Case,
    size: Size,
) -> None:
    pool.submit(ask_each, addresses, case.asked).result()  # what is kept has to be made first
    sizes = [len(data) for data in pool.submit(ask_each, addresses, case.asked).result()]
    rates, p50s, p99s = [], [], []
    for _ in tqdm(range(size.rounds), case.name, leave=False):
        rates.append(pool.submit(measure_rate, addresses, case.asked, size.seconds).result())
        rate = SHARE * median(rates)
        told: Latencies = pool.submit(
            measure_latency, addresses, case.asked, rate, size.seconds
        ).result()
        p50s.append(1e3 * told.p50_s)
        p99s.append(1e3 * told.p99_s)
    report.add(f"answer{case.name}", [median(sizes) / 1000], "kB", better="lower")
    target = TARGET_RPS if case.is_claim else None
    report.add(f"requests_per_s{case.name}", rates, "requests/s", target=target)
    report.add(f"p50_at_70_percent{case.name}", p50s, "ms", better="lower")
    target = TARGET_P99_MS if case.is_claim else None
    report.add(f"p99_at_70_percent{case.name}", p99s, "ms", target=target, better="lower")


def measure_sampled(report: Report, case: Case, size: Size, folder: Path) -> None:
    """Every image is made: what is left of the rate are pixels."""
    with running("free", folder) as ports, asking() as pool:
        rates = [
            pool.submit(measure_rate, [ports.server], case.asked, size.seconds).result()
            for _ in tqdm(range(size.rounds), case.name, leave=False)
        ]
    report.add(f"requests_per_s{case.name}", rates, "requests/s")


@contextmanager
def running(server: str, folder: Path, number: int = 0) -> Iterator[Ports]:
    module = ["server", "serve"] if server == "whole" else [SERVERS, server]
    command = [sys.executable, "-m", *module, "--server.port", "0", "--server.admin_port", "0"]
    command += ["--server.metrics_port", "0", "--server.max_in_flight", "1024"]
    command += ["--features.timeout_s", "5", "--drain.lame_duck_s", "0", "--logging.format", "json"]
    store = {"type": "sqlite", "path": str(folder / "home" / "store" / "online.db")}
    if server in ("whole", "free"):  # the others read nothing
        command += ["--features.online_store", json.dumps(store)]
    log = folder / f"{server}-{number}.log"
    with running_server(command, folder / "home", log, lambda: None) as ports:
        yield ports


@contextmanager
def asking() -> Iterator[ProcessPoolExecutor]:
    """A new process for each task: gRPC's asyncio lives on one loop of a process alone."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        yield pool


def make_asked(products: list[str], **told: object) -> tuple[Asked, ...]:
    """The same few images again and again. Signed, as they are, they take about 20 kB."""
    output = pb.OutputSpec(format=pb.IMAGE_FORMAT_WEBP, quality=80, longest_side=320)
    return tuple(
        Asked(
            "/etalage.v1.ImageService/GenerateImage",
            pb.GenerateImageRequest(
                product_id=product,
                user_id=f"shopper-{number:05d}",
                output=output,
                steps=4,
                **told,  # type: ignore[arg-type]
            ).SerializeToString(),
        )
        for number in range(2)
        for product in products
    )


def prepare(folder: Path) -> list[str]:
    """A small store of features; its products."""
    # Not above: each process that asks imports this module anew, and torch takes seconds.
    from benchmarks.engine_crowd import copy_part
    from benchmarks.engine_served import SIZE
    from diffusion.checkpoint import DEFAULT_CHECKPOINT
    from diffusion.encoders import Encoders
    from features.prepare import prepare_world
    from features.store import StoreConfig

    shop = copy_part(folder / "shop", NUM_PRODUCTS)
    encoders = Encoders.load(DEFAULT_CHECKPOINT / "encoders")
    config = StoreConfig(home=folder / "home")
    prepare_world(config, encoders, size=SIZE, catalogue=shop, progress=False)
    lines = (shop / "products.jsonl").read_text("utf-8").splitlines()
    return [str(json.loads(line)["product_id"]) for line in lines]


def main(options: Options) -> int:
    report, size = Report("control_plane", options), QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory(prefix="control-plane-") as name:
        folder = Path(name)
        products = prepare(folder)
        asked = make_asked(products)
        echoed = (Asked("/benchmarks.Echo/Echo", asked[0].data),)
        measure(report, "echo", [Case("_of_bare_grpc", echoed)], size, folder)
        measure(report, "door", [Case("_of_the_door_alone", asked)], size, folder)
        whole = [Case("_of_one_door", asked), Case("", asked, 2, is_claim=True)]
        measure(report, "whole", whole, size, folder)
        fresh = make_asked(products, cache_policy=pb.CACHE_POLICY_BYPASS)
        measure_sampled(report, Case("_of_new_images", fresh), size, folder)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options((__doc__ or "").splitlines()[0])))
