"""How many cores a thread of ours computes with.

OpenMP keeps a team of threads for each thread that ever computed with several, and lets none of
them wait awake once they are more than the cores (libgomp, gomp_throttled_spin_count): a forward
then takes up to half as long again. So while serving only the engine computes with several.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Lock, get_native_id

import torch

NICENESS = 5

_lock = Lock()


def take_cores(count: int) -> None:
    """The calling thread computes with so many from now on, whatever others take."""
    with _lock:
        torch.set_num_threads(count)
        torch.get_num_threads()  # a thread's first use reads what any thread set last: that is now


def give_way() -> None:
    """The calling thread, and the team that it makes later, yields to the others of this process.

    Forwards keep all cores busy: whoever answers requests would wait up to 5 ms for one, each time.
    Who works on pixels beside them yields as well: at a higher priority it held up one of a
    forward's threads, and with that all of it, to the sixfold; at a lower one finished images
    missed their deadlines.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, get_native_id(), NICENESS)


def work_beside() -> None:
    """Starts a thread that works on pixels while the engine samples."""
    take_cores(1)
    give_way()
