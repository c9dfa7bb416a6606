"""Weights in eight bits: nearly the same numbers in a quarter of the memory."""

import sys
from typing import Any

import pytest
import torch
from torch import nn

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.quantization import quantize


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(128, 256), nn.SiLU(), nn.Linear(256, 64), nn.Linear(64, 4))


@pytest.mark.parametrize(("kind", "error"), [("int8", 0.02), ("fp8", 0.06)])
@torch.inference_mode()
def test_a_quantized_network_is_near_the_one_that_it_was(kind, error):
    pytest.importorskip(
        "torchao", reason="it is an extra: pip install etalage-server[quantization]"
    )
    network: Any = make_network()
    x = torch.randn(5, 128, generator=torch.Generator().manual_seed(1))
    wanted = network(x)
    last = network[3].weight.detach().clone()
    quantize(network, kind)
    found = network(x)
    assert 0 < float((found - wanted).norm() / wanted.norm()) < error
    assert torch.equal(network[3].weight, last), "small layers stay as they are"
    assert network[0].weight.__class__ is not nn.Parameter
    again = network(torch.cat([x[2:3], x]))
    assert torch.allclose(again[1:], found, atol=1e-5), "row by row"


def test_none_leaves_everything_as_it_is():
    network = make_network()
    before = [parameter.clone() for parameter in network.parameters()]
    quantize(network, "none")
    assert all(map(torch.equal, network.parameters(), before))


def test_without_torchao_the_field_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(CheckpointUnusable, match=r"quantization: int8 needs torchao"):
        quantize(make_network(), "int8")
