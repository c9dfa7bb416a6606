"""Which moments of a shopper's history a model learns from, and which shoppers it never sees."""

from __future__ import annotations

import hashlib
import zlib

PACE = 6  # clicks from one moment to the next
MAX_MOMENTS = 8  # of one shopper, so that the busiest don't drown out the others
HELD_OUT_SHARE = 0.1


def find_moments(user_id: str, num_clicks: int) -> range:
    """Numbers of the clicks, from old to new, before which a shopper is looked at: the last ones.

    The first depends on who it is alone: histories of every length occur, and later clicks move no
    moment.
    """
    first = zlib.crc32(user_id.encode()) % PACE
    return range(first, num_clicks, PACE)[-MAX_MOMENTS:]


def choose_split(user_id: str) -> str:
    """`train` or `held_out`: all of a shopper's moments, for good."""
    share = int(hashlib.sha256(user_id.encode()).hexdigest()[:8], 16) / 16**8
    return "held_out" if share < HELD_OUT_SHARE else "train"
