"""Several LoRAs resident at once, chosen by each row, without merging weights.

Every linear layer or convolution that a LoRA of the specification touches computes

    y = W x + strength[row] · B[place[row]] A[place[row]] x

with A and B of all places stacked, so that a batch is never split by style. Place 0 is zeros:
a row without a style gets an exact 0 added. Hu et al. (2021).
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.checkpoint import CheckpointUnusable
from diffusion.denoiser import Conditions
from diffusion.families.adapters.lora_file import LoraFile, LowRank, find_lora, read_lora
from diffusion.families.specification import Lora, ModelSpecification


class NoRoom(RuntimeError):
    """Every place for a LoRA is in use by a walk; there is room again when one of them ends."""


@dataclass(frozen=True, eq=False)
class Style:
    """A LoRA that is resident as long as somebody holds this, or its `place` [1]."""

    name: str
    place: Tensor
    digest: bytes


@dataclass(slots=True)
class _Choice:
    """Of each row of the forward that runs: place and strength, both [rows]."""

    places: Tensor | None = None
    scales: Tensor | None = None


@dataclass(eq=False, slots=True)
class _Branch:
    """What LoRAs add to one module: `down` [places, r, in, ...kernel] and `up` [places, out, r]."""

    name: str
    choice: _Choice
    down: Tensor
    up: Tensor

    def write(self, place: int, low: LowRank | None) -> None:
        self.down[place] = 0
        self.up[place] = 0
        if low is not None:
            down = self.down[place, : low.rank]
            down.copy_(low.down.reshape(down.shape))
            self.up[place, :, : low.rank] = low.up

    def add(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """As a forward hook of the module."""
        places, scales = self.choice.places, self.choice.scales
        if places is None or scales is None:
            return output
        (x,) = inputs
        if len(x) != len(places):
            raise ValueError(
                f"{self.name} is given {len(x)} rows at once and not {len(places)}: it can't have "
                f"a LoRA of each row"
            )
        down = self.down[places]
        up = self.up[places] * scales.to(self.up.dtype).view(-1, 1, 1)
        x = x.to(down.dtype)
        if isinstance(module, nn.Conv2d):
            added = up @ _convolve(module, x, down).flatten(2)
        else:
            added = x.reshape(len(x), -1, x.shape[-1]) @ down.mT @ up.mT
        return output + added.view(output.shape).to(output.dtype)


def _convolve(module: nn.Conv2d, x: Tensor, kernels: Tensor) -> Tensor:
    """Each row [in, h, w] with kernels [r, in, ...] of its own: the rows as groups of channels."""
    found = F.conv2d(
        x.reshape(1, -1, *x.shape[2:]),
        kernels.flatten(0, 1),
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        groups=len(x),
    )
    return found.view(len(x), -1, *found.shape[2:])


@dataclass(frozen=True, slots=True)
class _Known:
    """A LoRA of the specification: its file, and the digest that this had at the start."""

    lora: Lora
    path: Path
    digest: bytes


@dataclass(slots=True)
class _Resident:
    """A LoRA in its place, and the tensor by which styles and walks hold it there."""

    number: int
    held: weakref.ref[Tensor]


class Loras:
    """At most `max_resident_loras` are resident. The one that was asked for least recently makes
    room, and never one that a style or a walk holds.

    `load` may be called from any thread. Files are read one at a time; what is resident never
    waits for that.
    """

    def __init__(
        self,
        network: nn.Module,
        specification: ModelSpecification,
        known: Mapping[str, _Known],
        ranks: Mapping[str, int],
    ) -> None:
        self.network, self.specification = network, specification
        self.num_places = min(specification.max_resident_loras, len(known))
        self._known = known
        self._resident: OrderedDict[str, _Resident] = OrderedDict()
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._choice = _Choice()
        self._branches = {name: self._attach(name, rank) for name, rank in ranks.items()}
        self._device = next(network.parameters()).device
        self._nobody = torch.zeros(1, dtype=torch.long, device=self._device)

    @classmethod
    def load_for(cls, network: nn.Module, specification: ModelSpecification) -> Loras | None:
        """Reads every file once; nothing is resident yet. None where there are no LoRAs.

        Raises CheckpointUnusable, naming file and field.
        """
        if not specification.loras:
            return None
        ranks: dict[str, int] = {}
        known: dict[str, _Known] = {}
        for lora in specification.loras:
            path = find_lora(lora, specification)
            file = read_lora(path, lora, network, specification.family)
            known[lora.name] = _Known(lora, path, file.digest)
            for name, low in file.weights.items():
                ranks[name] = max(low.rank, ranks.get(name, 0))
        return cls(network, specification, known, ranks)

    @property
    def digest(self) -> bytes:
        """Of all files, and of how strongly each acts."""
        return b"".join(known.digest for known in self._known.values())

    def load(self, name: str) -> Style:
        """Raises KeyError on an unknown name, NoRoom, and CheckpointUnusable where the file is no
        longer the one that was there at the start."""
        known = self._known[name]
        if (place := self._find(name)) is None:
            with self._reading:
                if (place := self._find(name)) is None:
                    place = self._admit(known)
        return Style(name, place, known.digest)

    def conditions(self, style: Style | None, strength: float) -> Conditions:
        scale = 0.0 if style is None else strength
        return {
            "style": self._nobody if style is None else style.place,
            "style_scale": torch.tensor([scale], device=self._device),
        }

    def select(self, places: Tensor, scales: Tensor) -> None:
        """Of the rows of the next forward; both [rows]."""
        self._choice.places, self._choice.scales = places, scales

    def _attach(self, name: str, rank: int) -> _Branch:
        module = self.network.get_submodule(name)
        assert isinstance(module, nn.Linear | nn.Conv2d)
        out, *rest = module.weight.shape
        dtype: torch.dtype = getattr(torch, self.specification.dtype)
        empty = torch.zeros((), device=module.weight.device, dtype=dtype)
        down = empty.new_zeros(self.num_places + 1, rank, *rest)
        up = empty.new_zeros(self.num_places + 1, out, rank)
        branch = _Branch(name, self._choice, down, up)
        module.register_forward_hook(branch.add)
        return branch

    def _find(self, name: str) -> Tensor | None:
        """The tensor that holds a resident LoRA, which is now the most recent one."""
        with self._lock:
            if (resident := self._resident.get(name)) is None:
                return None
            self._resident.move_to_end(name)
            if (place := resident.held()) is None:
                place = self._hold(resident.number)
                resident.held = weakref.ref(place)
            return place

    def _admit(self, known: _Known) -> Tensor:
        number = self._make_room()
        file = read_lora(known.path, known.lora, self.network, self.specification.family)
        name = known.lora.name
        if file.digest != known.digest:
            raise CheckpointUnusable(
                f"loras.{name}.weights: {known.path} has changed since the model was loaded"
            )
        self._write(number, file)
        place = self._hold(number)
        with self._lock:
            self._resident[name] = _Resident(number, weakref.ref(place))
        return place

    def _make_room(self) -> int:
        with self._lock:
            taken = {resident.number for resident in self._resident.values()}
            if free := set(range(1, self.num_places + 1)) - taken:
                return min(free)
            for name, resident in self._resident.items():
                if resident.held() is None:
                    del self._resident[name]
                    return resident.number
        raise NoRoom(f"all {self.num_places} places for LoRAs are in use by images being made")

    @torch.inference_mode()
    def _write(self, number: int, file: LoraFile) -> None:
        """Once the device has done what was asked of this place, and before anything is asked."""
        self._wait()
        for name, branch in self._branches.items():
            branch.write(number, file.weights.get(name))
        self._wait()

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _hold(self, number: int) -> Tensor:
        return torch.tensor([number], device=self._device)
