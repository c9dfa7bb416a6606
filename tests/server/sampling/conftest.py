"""What the engine logs is kept instead of printed; toy networks run on one thread."""

from __future__ import annotations

import pytest
import structlog
import torch


@pytest.fixture(autouse=True)
def logged():
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
