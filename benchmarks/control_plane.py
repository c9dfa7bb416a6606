"""The control plane: how many requests a server answers whose images cost nothing.

`python -m benchmarks.control_plane [--quick]`; needs h2load. Each server is a process of its own,
and so are those who ask: they share the machine. From the least to all: a bare gRPC server that
echoes 10 kB; our door, with an answer of 10 kB behind it; and the whole server, asked for images
that are kept, with features read for each request, as one process and as two.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tqdm import tqdm

from benchmarks.control_load import Asked, Failed, ask, ask_each
from benchmarks.engine_crowd import copy_part
from benchmarks.engine_served import SIZE
from benchmarks.measurement import Options, Report, parse_options
from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from etalage.v1 import images_pb2 as pb
from features.prepare import prepare_world
from features.store import StoreConfig
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
    seconds: int
    """Of a round."""


FULL, QUICK = Size(5, 5), Size(1, 1)


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
        for case in cases:
            measure_case(report, addresses[: case.num_doors], case, size)


def measure_case(report: Report, addresses: Sequence[str], case: Case, size: Size) -> None:
    ask_each(addresses, case.asked)  # what is kept has to be made first
    least_bytes = min(map(len, ask_each(addresses, case.asked)))
    fast, paced = [], []
    for _ in tqdm(range(size.rounds), case.name, leave=False):
        fast.append(ask(addresses, case.asked, size.seconds))
        rate = SHARE * median(each.requests_per_s for each in fast)
        paced.append(ask(addresses, case.asked, size.seconds, rate))
    if min(each.mean_bytes for each in fast + paced) < least_bytes:
        raise Failed(f"{case.name}: some of what came was no image")
    report.add(f"answer{case.name}", [least_bytes / 1000], "kB", better="lower")
    rates = [each.requests_per_s for each in fast]
    target = TARGET_RPS if case.is_claim else None
    report.add(f"requests_per_s{case.name}", rates, "requests/s", target=target)
    p50s = [1e3 * each.p50_s for each in paced]
    report.add(f"p50_at_70_percent{case.name}", p50s, "ms", better="lower")
    p99s = [1e3 * each.p99_s for each in paced]
    target = TARGET_P99_MS if case.is_claim else None
    report.add(f"p99_at_70_percent{case.name}", p99s, "ms", target=target, better="lower")


@contextmanager
def running(server: str, folder: Path, number: int = 0) -> Iterator[Ports]:
    module = ["server", "serve"] if server == "whole" else [SERVERS, server]
    command = [sys.executable, "-m", *module, "--server.port", "0", "--server.admin_port", "0"]
    command += ["--server.metrics_port", "0", "--server.max_in_flight", "1024"]
    command += ["--features.timeout_s", "5", "--drain.lame_duck_s", "0", "--logging.format", "json"]
    store = {"type": "sqlite", "path": str(folder / "home" / "store" / "online.db")}
    if server == "whole":  # the others read nothing
        command += ["--features.online_store", json.dumps(store)]
    log = folder / f"{server}-{number}.log"
    with running_server(command, folder / "home", log, lambda: None) as ports:
        yield ports


def make_asked(products: Sequence[str]) -> tuple[Asked, ...]:
    """Each product by a shopper of its own. Images take about 20 kB, signed as they are."""
    output = pb.OutputSpec(format=pb.IMAGE_FORMAT_WEBP, quality=80, longest_side=320)
    return tuple(
        Asked(
            "/etalage.v1.ImageService/GenerateImage",
            pb.GenerateImageRequest(
                product_id=product,
                user_id=f"shopper-{number:05d}",
                output=output,
                steps=4,
            ).SerializeToString(),
        )
        for number, product in enumerate(products)
    )


def prepare(folder: Path) -> list[str]:
    """A small store of features; its products."""
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
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options((__doc__ or "").splitlines()[0])))
