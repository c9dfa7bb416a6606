"""How many cores a thread of ours computes with.

OpenMP keeps a team of threads for each thread that ever computed with several, and lets none of
them wait awake once they are more than the cores (libgomp, gomp_throttled_spin_count): a forward
then takes up to half as long again. So while serving only the engine computes with several.
"""

from __future__ import annotations

from threading import Lock

import torch

_lock = Lock()


def take_cores(count: int) -> None:
    """The calling thread computes with so many from now on, whatever others take."""
    with _lock:
        torch.set_num_threads(count)
        torch.get_num_threads()  # a thread's first use reads what any thread set last: that is now
