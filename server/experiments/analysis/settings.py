"""How an analysis is made, as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnalysisSettings:
    """ValueError names what is out of range."""

    goal: str = "ctr"
    """The metric that decides; a key of metrics.METRICS."""
    alpha: float = 0.05
    """Share of experiments without any effect that may be called decided."""
    power: float = 0.8
    effect: float = 0.05
    """Relative effect worth waiting for: time to decision is told for it."""
    pre_period_days: float = 14.0
    """Events of these days before the start make later ones easier to compare (CUPED)."""
    tuning_units: int = 5000
    """Shoppers of two arms together at which the sequential interval is narrowest. To be chosen
    before anything is seen: an interval that is tuned to the data is none."""
    min_units: int = 100
    """Shoppers of an arm, below which nothing is said of it."""
    min_days: float = 7.0
    """A week has all its days."""
    num_segments: int = 8
    """Of each dimension, the largest."""
    memory_gib: float = 2.5
    """For DuckDB; what does not fit goes to disk."""
    num_threads: int = 2

    def __post_init__(self) -> None:
        for name in ("alpha", "power", "effect"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"analysis.{name} must be between 0 and 1")
        for name in ("tuning_units", "min_units", "num_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"analysis.{name} must be at least 1")
        for name in ("pre_period_days", "min_days", "num_segments"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"analysis.{name} must not be negative")
        if not 0.1 <= self.memory_gib < float("inf"):
            raise ValueError("analysis.memory_gib must be at least 0.1")
