"""What goes to a replica is what was asked for, to the last bit."""

from dataclasses import replace

import pytest
import torch

from diffusion.guidance import Guidance
from diffusion.walks import Segment, Term
from server.errors import DeadlineExceeded, Overloaded, SamplingFailed, Unavailable
from server.fleet.orders import Refused, pack, pack_rows, unpack, unpack_rows
from tests.server.sampling.closed_model import make_request

CPU = torch.device("cpu")


def test_rows_come_back_with_every_bit_and_the_deadline_of_the_clock_there():
    row = make_request(7, seed=3, steps=5, guidance=Guidance(2.0, 1.5), deadline_s=12.0, mean=0.25)
    row = replace(row, image=torch.randn(3, 4, 4), warnings=("dim",), is_first=True)
    (found,) = unpack_rows(pack_rows([row]), CPU, deadline_s=90.0)
    assert found.deadline_s == 90.0 and found.plan == row.plan and found.warnings == ("dim",)
    assert found.image is not None and row.image is not None
    assert torch.equal(found.image, row.image) and found.is_first
    for ours, theirs in zip(row.walk, found.walk, strict=True):
        assert (ours.stop, ours.key) == (theirs.stop, theirs.key)
        for one, other in zip(ours.terms, theirs.terms, strict=True):
            assert one.weight == other.weight and one.cond.keys() == other.cond.keys()
            assert all(torch.equal(one.cond[name], other.cond[name]) for name in one.cond)


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float32, torch.int64, torch.bool]
)
def test_numbers_of_every_format_keep_their_bits(dtype):
    tensor = torch.arange(-3, 3).reshape(2, 3).to(dtype)
    found = unpack(pack({"x": tensor, "none": torch.zeros((), dtype=dtype)}), CPU)
    assert found["x"].dtype is dtype and torch.equal(found["x"], tensor)
    assert found["none"].shape == ()


def test_what_rows_share_travels_once():
    shared = torch.randn(64, 64)
    segment = Segment(4, (Term({"mean": shared}, 1.0),), b"key")
    rows = [replace(make_request(n), walk=(segment,)) for n in range(8)]
    assert len(pack_rows(rows)) < 2 * shared.nbytes
    found = unpack_rows(pack_rows(rows), CPU)
    assert found[0].walk[0].terms[0].cond["mean"] is found[7].walk[0].terms[0].cond["mean"]


@pytest.mark.parametrize(
    "error",
    [
        Overloaded(1.5),
        DeadlineExceeded("too late"),
        SamplingFailed("it broke"),
        Unavailable("it stopped", "ENGINE_STOPPED"),
    ],
)
def test_a_refusal_is_the_same_error_here(error):
    found = unpack(pack(Refused.of(error)), CPU).as_error()
    assert type(found) is type(error) and str(found) == str(error)
    assert found.reason == error.reason
    assert getattr(found, "retry_after_s", None) == getattr(error, "retry_after_s", None)
