"""What a plan and its simulation say, to people and to programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from server.capacity.figures import GIBIBYTE
from server.capacity.plan import Plan
from server.capacity.simulation import Findings, Scenario


def describe(made: Plan) -> Iterator[tuple[str, str]]:
    load, terms, figures = made.load, made.terms, made.figures
    called = figures.source if figures.is_measured else f"NOT MEASURED: {figures.source}"
    yield "model", made.kind.name
    yield "requests/s", f"{load.rps:,.0f}, at the peak {load.peak_rps:,.0f}"
    yield "images/s to sample", f"{load.images_per_s:,.1f} ({load.cache_hits:.0%} are kept)"
    shared = f", {load.sharing:.0%} of it shared" if load.sharing else ""
    yield (
        "forward rows an image",
        f"{load.rows_per_image:,.1f} ({load.num_steps} steps × {load.num_terms} rows{shared})",
    )
    yield "forward rows/s", f"{load.rows_per_s:,.0f}"
    tick_ms = 1e3 * figures.tick_s[made.tick_rows]
    yield "a forward", f"{made.tick_rows} rows in {tick_ms:.1f} ms ({called})"
    yield (
        "images per GPU-second",
        f"{made.images_per_gpu_s:.2f} at {terms.efficiency:.0%} of the bare forwards' rate",
    )
    yield (
        "replicas",
        f"{made.num_replicas:,} used to {terms.utilization:.0%}, and {made.num_spare:,} to spare",
    )
    yield "GPUs", f"{made.num_gpus:,}, busy {made.busy:.0%} of the time at the peak"
    yield "an image takes", f"{made.alone_s:.2f} s alone, {made.image_s:.2f} s in full forwards"
    if made.kind.weights_bytes:
        yield (
            "memory of a replica",
            f"{made.memory_bytes / GIBIBYTE:.2f} GiB of weights and latents, without activations "
            "(computed, not measured)",
        )
    doors = f"{made.num_doors:,} at {terms.door_rps:,.0f} requests/s each"
    yield "door processes", doors if made.num_doors else "not measured: --door-rps says it"


def tell(scenario: Scenario, found: Findings) -> Iterator[tuple[str, str]]:
    yield "images", f"{found.num_asked:,} asked for, {found.num_made:,} made"
    yield (
        "refused",
        f"{found.num_refused:,}; dropped {found.num_dropped:,}; lost {found.num_lost:,}",
    )
    yield "in time", f"{found.in_time:.2%} of those let in, within {scenario.deadline_s:.2f} s"
    yield "an image took", f"p50 {found.quantile_s(0.5):.2f} s, p99 {found.quantile_s(0.99):.2f} s"
    total_s = scenario.num_replicas * scenario.duration_s
    yield "busy", f"{found.busy_s / total_s:.0%} of the time"
    rows = found.num_tick_rows / max(1, found.num_ticks)
    yield "rows a forward", f"{rows:.1f}"
    yield "steps shared", f"{found.shared:.1%}"
    if scenario.num_lost:
        yield "replicas that died", f"{scenario.num_lost:,}; {found.num_moved:,} images began anew"
    yield "simulated in", f"{found.wall_s:.1f} s"


def as_document(made: Plan, scenario: Scenario | None, found: Findings | None) -> Mapping[str, Any]:
    load, figures = made.load, made.figures
    document: dict[str, Any] = {
        "model": made.kind.name,
        "requests_per_s": load.rps,
        "peak_requests_per_s": load.peak_rps,
        "images_per_s": load.images_per_s,
        "forward_rows_per_image": load.rows_per_image,
        "forward_rows_per_s": load.rows_per_s,
        "figures": {
            "forward_s": {str(rows): s for rows, s in figures.tick_s.items()},
            "source": figures.source,
            "is_measured": figures.is_measured,
        },
        "rows_of_a_forward": made.tick_rows,
        "images_per_gpu_s": made.images_per_gpu_s,
        "replicas": made.num_replicas,
        "spare": made.num_spare,
        "gpus": made.num_gpus,
        "busy": made.busy,
        "image_s": made.image_s,
        "image_alone_s": made.alone_s,
        "replica_memory_bytes": made.memory_bytes,
        "doors": made.num_doors or None,
    }
    if scenario is not None and found is not None:
        document["simulation"] = {
            "replicas": scenario.num_replicas,
            "seconds": scenario.duration_s,
            "deadline_s": scenario.deadline_s,
            "asked": found.num_asked,
            "made": found.num_made,
            "refused": found.num_refused,
            "dropped": found.num_dropped,
            "lost": found.num_lost,
            "moved": found.num_moved,
            "in_time": found.in_time,
            "p50_s": found.quantile_s(0.5),
            "p99_s": found.quantile_s(0.99),
            "busy": found.busy_s / (scenario.num_replicas * scenario.duration_s),
            "shared": found.shared,
            "wall_s": found.wall_s,
        }
    return document
