import os
from concurrent.futures import ThreadPoolExecutor
from threading import get_native_id

import torch

from server.sampling.cores import NICENESS, give_way, take_cores, work_beside


def test_what_a_thread_takes_is_its_own():
    take_cores(1)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        one.submit(take_cores, 2).result()
        other.submit(take_cores, 3).result()
        found = [pool.submit(torch.get_num_threads).result() for pool in (one, other)]
    assert [*found, torch.get_num_threads()] == [2, 3, 1]
    take_cores(1)


def test_what_others_take_before_a_thread_computes_first_does_not_change_it():
    """torch hands the number that was set last, by any thread, to one that computes first."""
    with ThreadPoolExecutor(1) as early, ThreadPoolExecutor(1) as late:
        early.submit(take_cores, 2).result()
        late.submit(take_cores, 3).result()
        product = early.submit(lambda: torch.ones(64, 64) @ torch.ones(64, 64)).result()
        assert early.submit(torch.get_num_threads).result() == 2 and product[0, 0] == 64
    take_cores(1)


def test_who_works_on_pixels_and_who_samples_yield_alike_and_others_do_not():
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, get_native_id())

    own = niceness()
    with (
        ThreadPoolExecutor(1, initializer=work_beside) as pixels,
        ThreadPoolExecutor(1, initializer=give_way) as engine,
    ):
        assert pixels.submit(torch.get_num_threads).result() == 1
        assert pixels.submit(niceness).result() == engine.submit(niceness).result() == NICENESS
    assert niceness() == own < NICENESS
