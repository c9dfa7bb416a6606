"""Shows the whole way: starts the server, asks it through the Python client, keeps what it says.

program        what is asked
process        the server as a process of its own
asking         all questions at once, through the client
summary        what was made, in numbers
layout         what goes where on the contact sheet
contact_sheet  draws it
jobs           the five jobs of a product image, as sections of a page
damage         what happens to packshots before they are repaired
page           the page, as one file of HTML with its pictures beside it
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tqdm import tqdm

from etalage import Client, EtalageError
from server.demo.asking import TIMEOUT_S, WHOLE, Picture, ask_all
from server.demo.contact_sheet import draw_contact_sheet
from server.demo.jobs import JOBS, Job
from server.demo.layout import lay_out, tell_origin
from server.demo.page import Section, Shelf, render
from server.demo.process import ServerFailed, running_server, scrape
from server.demo.program import NUM_SHOPPERS, Cast, Program, Viewer, write_program
from server.demo.summary import file_name, format_table, summarize

OUT = Path("out/demo")
PAGE = "index.html"
FREE_PORTS = ("--server.port=0", "--server.admin_port=0", "--server.metrics_port=0")
SERVE = (sys.executable, "-m", "server", "serve", *FREE_PORTS)

BAR = "{desc:<20} {percentage:3.0f}% {bar} {elapsed}"
CastShoppers = Callable[[Path], Cast]


@dataclass(frozen=True, slots=True)
class Visit:
    """What the server was asked and said; `seconds` by part of the visit, `metrics` a scrape."""

    program: Program
    pictures: tuple[Picture, ...]
    sections: tuple[Section, ...]
    metrics: bytes
    seconds: Mapping[str, float]


def cast_shoppers(home: Path) -> Cast:
    """From the embedded world, once the server has prepared it."""
    from features.prepare import choose_demo_shoppers  # brings Feast, which costs seconds

    chosen = choose_demo_shoppers(home, NUM_SHOPPERS)
    return Cast(
        tuple(
            Viewer(user_id, user_id.replace("-", " "), (taste.palette, taste.setting))
            for user_id, taste in chosen.tastes.items()
        ),
        no_consent=Viewer(chosen.no_consent, "has not consented"),
        cold_start=Viewer(chosen.cold_start, "no history yet"),
    )


def run(
    home: Path,
    out: Path = OUT,
    serve: Sequence[str] = SERVE,
    cast: CastShoppers = cast_shoppers,
    jobs: Sequence[Job] = JOBS,
) -> int:
    """Writes images, contact sheet, page, summary and metrics to `out`; returns the exit status.

    `serve` is the command that starts the server, `home` the folder of its state.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        visit = visit_server(home, out, serve, cast, jobs)
    except (ServerFailed, EtalageError, OSError, RuntimeError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    write(visit, out)
    print(f"\n{format_table(visit.pictures)}\n\n{out / 'contact_sheet.png'}\n{out / PAGE}")
    return 0


def visit_server(
    home: Path, out: Path, serve: Sequence[str], cast: CastShoppers, jobs: Sequence[Job]
) -> Visit:
    """Puts the log and the page's pictures into `out`. Raises ServerFailed or EtalageError."""
    marks_s = [time.monotonic()]
    pause_s = 0.2 if sys.stderr.isatty() else 10.0  # a log needs few lines
    with tqdm(bar_format=BAR, total=1, mininterval=pause_s) as bar:
        bar.set_description("starting the server")
        with running_server(serve, home, out / "server.log", lambda: bar.update(0)) as ports:
            marks_s.append(time.monotonic())
            told = cast(home)
            program = write_program(told)
            bar.set_description("making images")
            bar.reset(total=WHOLE * len(program.shots))
            pictures = asyncio.run(ask_all(ports.server, program, bar.update))
            marks_s.append(time.monotonic())
            bar.set_description("doing five jobs")
            bar.reset(total=len(jobs))
            with Client(ports.server, timeout_s=TIMEOUT_S) as client:
                sections = tuple(_do(job, client, told, out, bar.update) for job in jobs)
            metrics = scrape(ports)
            marks_s.append(time.monotonic())
        marks_s.append(time.monotonic())
        bar.set_description("done")
    parts_s = (later - earlier for earlier, later in pairwise(marks_s))
    seconds = dict(zip(("start", "ask", "jobs", "stop"), parts_s, strict=True))
    return Visit(program, pictures, sections, metrics, seconds)


def _do(
    job: Job, client: Client, cast: Cast, out: Path, advance: Callable[[int], object]
) -> Section:
    section = job(client, cast, Shelf(out / "images"))
    advance(1)
    return section


def write(visit: Visit, out: Path) -> None:
    for picture in visit.pictures:
        picture.result.image.save(out / file_name(picture))
    draw_contact_sheet(lay_out(visit.program, visit.pictures)).save(out / "contact_sheet.png")
    page = render(visit.sections, tell_origin(visit.pictures))
    (out / PAGE).write_text(page, "utf-8")
    summary = summarize(visit.pictures, visit.seconds)
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
    (out / "metrics.prom").write_bytes(visit.metrics)
