"""What is told of an image: what made it, and never for whom.

The manifest travels with the image. No shopper, embedding, experiment or request is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from importlib import metadata
from typing import Any

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
ASSERTION = "com.github.etalage.generation"
SOFTWARE = "Etalage"
VERSION = metadata.version("etalage-server")

_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\
<x:xmpmeta xmlns:x="adobe:ns:meta/">\
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" \
Iptc4xmpExt:DigitalSourceType="{source_type}"/>\
</rdf:RDF></x:xmpmeta><?xpacket end="r"?>"""


class SourceType(Enum):
    """Terms of IPTC's digital source types."""

    COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
    GENERATED = "trainedAlgorithmicMedia"
    ENHANCED = "algorithmicallyEnhanced"

    @property
    def uri(self) -> str:
        return IPTC + self.value


@dataclass(frozen=True, slots=True)
class Making:
    """How an image was made: a creative of an arm, or a repaired picture by its `repairs`."""

    source: SourceType
    model: str = ""
    model_digest: str = ""
    arm: str = ""
    mode: str = ""
    seed: int = 0
    steps: int = 0
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """What a manifest says of that; what it does not say is empty or 0."""

    source_type: str = ""
    software: str = ""
    model: str = ""
    model_digest: str = ""
    arm: str = ""
    mode: str = ""
    seed: int = 0
    steps: int = 0
    repairs: tuple[str, ...] = ()


def write_xmp(source: SourceType) -> str:
    return _XMP.format(source_type=source.uri)


def describe(made: Making) -> dict[str, Any]:
    """A manifest, as c2pa takes it."""
    told = {name: value for name, value in asdict(made).items() if value}
    del told["source"]
    if made.arm:
        told["seed"] = str(made.seed)
    software = {"name": SOFTWARE, "version": VERSION}
    action = {
        "action": "c2pa.created",
        "digitalSourceType": made.source.uri,
        "softwareAgent": software,
    }
    return {
        "claim_version": 2,
        "claim_generator_info": [software],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {"label": ASSERTION, "data": told},
        ],
    }


def read_origin(manifest: Mapping[str, Any]) -> Origin | None:
    """What a manifest tells, ours or another's; None where that is nothing. It was written by
    whoever signed it: its values may be anything."""
    told: dict[str, Any] = {}
    source_type = software = ""
    for assertion in _list(manifest.get("assertions")):
        data = assertion.get("data")
        if not isinstance(data, Mapping):
            continue
        if assertion.get("label") == ASSERTION:
            told = {name: data[name] for name in _TOLD if name in data}
        elif str(assertion.get("label")).startswith("c2pa.actions"):
            sources = (action.get("digitalSourceType") for action in _list(data.get("actions")))
            source_type = next((_text(each) for each in sources if each), source_type)
    for generator in _list(manifest.get("claim_generator_info"))[:1]:
        software = f"{_text(generator.get('name'))} {_text(generator.get('version'))}".strip()
    if not (told or source_type or software):
        return None
    return Origin(
        source_type=source_type.rpartition("/")[2],
        software=software,
        model=_text(told.get("model")),
        model_digest=_text(told.get("model_digest")),
        arm=_text(told.get("arm")),
        mode=_text(told.get("mode")),
        seed=_number(told.get("seed"), 2**64),
        steps=_number(told.get("steps"), 2**32),
        repairs=_texts(told.get("repairs")),
    )


_TOLD = ("model", "model_digest", "arm", "mode", "seed", "steps", "repairs")
_LONGEST, _MOST = 200, 32


def _list(value: Any) -> list[Mapping[str, Any]]:
    entries = value if isinstance(value, list) else []
    return [entry for entry in entries if isinstance(entry, Mapping)]


def _text(value: Any) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    entries = value if isinstance(value, list) else []
    return tuple(entry[:_LONGEST] for entry in entries[:_MOST] if isinstance(entry, str))


def _number(value: Any, end: int) -> int:
    """0 for what is no number below `end`."""
    told = str(value)
    return (
        int(told) if told.isascii() and told.isdigit() and len(told) < 21 and int(told) < end else 0
    )
