"""Whether bytes are a packshot: one still image of a kind and a size that the server opens."""

from __future__ import annotations

from diffusion.pictures import PictureUnusable, open_mask, open_picture


def find_fault(packshot: bytes) -> str | None:
    """What is wrong with the bytes, for a person; None where nothing is. Costs a whole decoding."""
    try:
        open_picture(packshot)
    except PictureUnusable as fault:
        return str(fault)
    return None


def find_mask_fault(mask: bytes, packshot: bytes) -> str | None:
    """The same of a mask, which must be as large as its packshot."""
    try:
        size = open_picture(packshot).size
    except PictureUnusable:
        return None  # the packshot itself is what is wrong
    try:
        open_mask(mask, size)
    except PictureUnusable as fault:
        return str(fault)
    return None


def find_faults(packshot: bytes, control_map: bytes, mask: bytes) -> dict[str, str]:
    """What is wrong with which of the pictures of an inline product; empty ones are not there."""
    faults = {
        "packshot": find_fault(packshot) if packshot else None,
        "control_map": find_fault(control_map) if control_map else None,
        "mask": find_mask_fault(mask, packshot) if mask else None,
    }
    return {field: fault for field, fault in faults.items() if fault is not None}
