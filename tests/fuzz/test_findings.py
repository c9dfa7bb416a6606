"""What fuzzing found does no harm any more, and what fuzzing begins with never did.

A file of findings has the bytes as they were found; `make fuzz` adds further ones.
"""

from pathlib import Path

import pytest

from tests.fuzz.harnesses import HARNESSES
from tests.fuzz.seeds import SEEDS

FINDINGS = sorted(path for path in Path(__file__).with_name("findings").glob("*/*"))


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_finding_is_refused_by_name(path):
    HARNESSES[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", HARNESSES)
def test_seeds_are_read(name):
    seeds = list(SEEDS[name]())
    assert len(seeds) >= 10 and len(set(seeds)) == len(seeds)
    for seed in seeds:
        HARNESSES[name](seed)
