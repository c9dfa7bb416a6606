"""plan: how many devices so many requests need, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from server.capacity.figures import (
    GIBIBYTE,
    KINDS,
    Figures,
    FiguresMissing,
    Kind,
    find_figures,
    read_claims,
)
from server.capacity.plan import Load, Plan, PlanImpossible, Terms, make_plan
from server.capacity.simulation import Scenario, simulate
from server.capacity.telling import as_document, describe, tell

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
DEADLINE_IMAGES = 3.0
"""What an image may take in the simulation, in times of a full forward's, unless it is told."""


def plan(arguments: argparse.Namespace) -> int:
    """2 where that can't be planned."""
    try:
        kind = find_kind(arguments)
        figures = choose_figures(kind, arguments)
        made = make_plan(kind, read_load(kind, arguments), read_terms(arguments), figures)
    except (FiguresMissing, PlanImpossible) as error:
        print(f"plan: {error}", file=sys.stderr)
        return 2
    scenario = draw_scenario(made, arguments) if arguments.simulate else None
    if scenario is not None and not arguments.json:
        print_lines(describe(made))
        print(
            f"\nsimulating {scenario.num_replicas:,} replicas for {arguments.minutes:g} minutes …"
        )
    found = None if scenario is None else simulate(scenario)
    if arguments.json:
        print(json.dumps(as_document(made, scenario, found), indent=2))
    elif scenario is None or found is None:
        print_lines(describe(made))
    else:
        print_lines(tell(scenario, found))
    return 0


def find_kind(arguments: argparse.Namespace) -> Kind:
    """Another model's name is no obstacle where its forwards are told."""
    known = KINDS.get(arguments.model)
    if known is None and not (arguments.step_ms or arguments.pace):
        names = ", ".join(KINDS)
        raise FiguresMissing(
            f"--model {arguments.model}: nothing is known of it ({names} are known): --step-ms "
            "says what a forward takes, or --pace names the file in which a server keeps it"
        )
    kind = known or Kind(arguments.model, 20, 1, 0, 0, arguments.model, "")
    if arguments.weights_gib is not None:
        kind = replace(kind, weights_bytes=int(arguments.weights_gib * GIBIBYTE))
    return kind


def choose_figures(kind: Kind, arguments: argparse.Namespace) -> Figures:
    if arguments.step_ms:
        ticks_s = {rows: ms / 1e3 for rows, ms in sorted(arguments.step_ms.items())}
        return Figures(ticks_s, "told by --step-ms", True)
    return find_figures(kind, arguments.device, arguments.results or RESULTS, arguments.pace)


def read_load(kind: Kind, arguments: argparse.Namespace) -> Load:
    return Load(
        arguments.rps,
        arguments.images,
        arguments.cache_hits,
        arguments.sharing,
        arguments.peak,
        arguments.steps or kind.num_steps,
        arguments.rows or kind.num_terms,
    )


def read_terms(arguments: argparse.Namespace) -> Terms:
    claims, _ = read_claims((arguments.results or RESULTS) / "control_plane.json")
    return Terms(
        arguments.utilization,
        arguments.spare,
        arguments.efficiency,
        arguments.gpus_per_replica,
        arguments.max_image_s or math.inf,
        arguments.door_rps or claims.get("control_plane.requests_per_s_of_one_door", 0.0),
    )


def draw_scenario(made: Plan, arguments: argparse.Namespace) -> Scenario:
    """The planned fleet at its peak. What is shared is what walks have in common: as much of an
    image's steps as makes the planned share, were every walk found."""
    load, terms = made.load, made.terms
    deadline_s = arguments.deadline_s or DEADLINE_IMAGES * made.image_s
    return Scenario(
        num_replicas=made.num_replicas + made.num_spare,
        tick_s={rows: s / terms.efficiency for rows, s in made.figures.tick_s.items()},
        images_per_s=load.images_per_s,
        num_steps=load.num_steps,
        num_terms=load.num_terms,
        duration_s=60 * arguments.minutes,
        deadline_s=deadline_s,
        num_shared=min(load.num_steps - 1, round(load.num_steps * load.sharing)),
        num_lost=min(arguments.lose, made.num_replicas + made.num_spare - 1),
    )


def print_lines(lines: Iterator[tuple[str, str]]) -> None:
    for name, text in lines:
        print(f"{name:<23}{text}")
