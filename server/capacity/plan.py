"""From requests to devices, each number in its own line, so that whoever doubts one can say why."""

from __future__ import annotations

import math
from dataclasses import dataclass

from server.capacity.figures import Figures, Kind


class PlanImpossible(ValueError):
    """No number of devices does it."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for. `rps` is the mean of a day; shares run from 0 to 1.

    `cache_hits` are answered by images that are kept, `sharing` is the share of the other images'
    forward rows that are taken over from walks of others.
    """

    rps: float
    num_images: int = 1
    cache_hits: float = 0.0
    sharing: float = 0.0
    peak: float = 1.0
    num_steps: int = 20
    num_terms: int = 1

    @property
    def peak_rps(self) -> float:
        return self.rps * self.peak

    @property
    def images_per_s(self) -> float:
        """To be sampled, at the peak."""
        return self.peak_rps * self.num_images * (1 - self.cache_hits)

    @property
    def rows_per_image(self) -> float:
        return self.num_steps * self.num_terms * (1 - self.sharing)

    @property
    def rows_per_s(self) -> float:
        return self.images_per_s * self.rows_per_image


@dataclass(frozen=True, slots=True)
class Terms:
    """How the fleet is run: up to which share of what it can, with how many that may fail.

    `efficiency` is what decoding and gaps between forwards leave of a bare forward's rate; an image
    in full forwards takes no longer than `max_image_s`. `door_rps` is of one process, 0 where
    nobody measured it.
    """

    utilization: float = 0.7
    spare: int = 1
    efficiency: float = 0.9
    gpus_per_replica: int = 1
    max_image_s: float = math.inf
    door_rps: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`tick_rows` are the rows of a forward that is planned with; `image_s` what an image takes in
    such forwards, `alone_s` with nobody beside it. Memory is of one replica."""

    kind: Kind
    load: Load
    terms: Terms
    figures: Figures
    tick_rows: int
    rows_per_s: float
    num_replicas: int
    num_spare: int
    image_s: float
    alone_s: float
    memory_bytes: int
    num_doors: int

    @property
    def images_per_gpu_s(self) -> float:
        """Of one device that does nothing else, at the planned sharing."""
        per_replica = self.rows_per_s / self.load.rows_per_image
        return per_replica / self.terms.gpus_per_replica

    @property
    def num_gpus(self) -> int:
        return (self.num_replicas + self.num_spare) * self.terms.gpus_per_replica

    @property
    def busy(self) -> float:
        """Share of time at the peak, with all of them."""
        can = (self.num_replicas + self.num_spare) * self.rows_per_s
        return self.load.rows_per_s / can


def make_plan(kind: Kind, load: Load, terms: Terms, figures: Figures) -> Plan:
    """Raises PlanImpossible."""
    tick_rows = choose_forward(load, terms, figures)
    rows_per_s = figures.rate(tick_rows) * terms.efficiency
    needed = load.rows_per_s / (rows_per_s * terms.utilization)
    num_replicas = max(1, math.ceil(needed - 1e-9))
    least = min(rows for rows in figures.tick_s if rows >= min(load.num_terms, max(figures.tick_s)))
    num_open = math.ceil(tick_rows / load.num_terms)
    return Plan(
        kind,
        load,
        terms,
        figures,
        tick_rows,
        rows_per_s,
        num_replicas,
        terms.spare,
        load.num_steps * figures.tick_s[tick_rows] / terms.efficiency,
        load.num_steps * figures.tick_s[least] / terms.efficiency,
        kind.weights_bytes + 4 * num_open * kind.state_bytes,
        math.ceil(load.peak_rps / (terms.door_rps * terms.utilization)) if terms.door_rps else 0,
    )


def choose_forward(load: Load, terms: Terms, figures: Figures) -> int:
    """The rows of most per second among the forwards in which an image is done soon enough."""
    soon = [
        rows
        for rows, tick_s in figures.tick_s.items()
        if rows >= load.num_terms
        and load.num_steps * tick_s / terms.efficiency <= terms.max_image_s
    ]
    if not soon:
        raise PlanImpossible(
            f"no forward of {load.num_terms} rows or more lets an image of {load.num_steps} steps "
            f"be done in {terms.max_image_s:g} s"
        )
    return max(soon, key=figures.rate)
