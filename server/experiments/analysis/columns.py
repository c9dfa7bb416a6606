"""What is counted of each shopper, in whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

FINE = 10_000
"""Money and seconds are counted in ten-thousandths. Sums of whole numbers are exact, so that a
report does not depend on the order in which threads add."""


@dataclass(frozen=True, slots=True)
class Column:
    """A number for each shopper, `scale` of which make one."""

    name: str
    scale: int = 1


DAILY = (
    Column("shown"),
    Column("latency", scale=FINE),
    Column("degraded"),
    Column("clicks"),
    Column("carts"),
    Column("purchases"),
    Column("value", scale=FINE),
    Column("returns"),
    Column("hides"),
    Column("dwell", scale=FINE),
)
"""Images, and what was done with them: added up by day."""
FLAGS = {"clicked": "clicks", "carted": "carts", "bought": "purchases"}
"""Of each shopper, whether there was any."""
BEFORE = (
    Column("pre_shown"),
    Column("pre_clicks"),
    Column("pre_carts"),
    Column("pre_purchases"),
    Column("pre_value", scale=FINE),
    Column("pre_dwell", scale=FINE),
)
"""The same before the experiment."""
REQUESTS = (Column("asked"), Column("refused"))
"""Of all who asked, also those who never got an image."""

SCALES = {column.name: column.scale for column in DAILY + BEFORE + REQUESTS}


def name_before(name: str) -> str:
    """What stands for a column in the time before: for a flag, how often."""
    return f"pre_{FLAGS.get(name, name)}"
