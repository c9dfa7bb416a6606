"""The five jobs of a product image, each asked of the server and told as a section of the page.

source           the code that stands under each section
mass_generation  a batch of many products
personalization  a slate for several shoppers, and why a picture looks so
localization     one product for markets and places on a screen
repair           damaged packshots, diagnosed and repaired
creation         new pictures from a brief
"""

from __future__ import annotations

from collections.abc import Callable

from etalage import Client
from server.demo.jobs import creation, localization, mass_generation, personalization, repair
from server.demo.page import Section, Shelf
from server.demo.program import Cast

Job = Callable[[Client, Cast, Shelf], Section]

JOBS: tuple[Job, ...] = (
    mass_generation.show,
    personalization.show,
    localization.show,
    repair.show,
    creation.show,
)
