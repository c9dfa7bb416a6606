"""What became of one request: a line of the journal, and what the manifest is made of."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from server.core import ImageRequest, ImageResult
from server.creative import Fidelity, Layout

IMAGES = "images"
_LONGEST_NAME = 180  # of a file: 255 bytes are what most file systems allow
_SUFFIXES = {"image/png": "png", "image/webp": "webp", "image/jpeg": "jpg"}


class Task(Protocol):
    """A request that waits for its turn: light until it is opened."""

    @property
    def name(self) -> str:
        """Unlike that of any other task of the run."""

    @property
    def number(self) -> int:
        """Its place among them, from 1."""

    @property
    def digest(self) -> str:
        """The same for equal content."""

    def open(self) -> ImageRequest:
        """With its pictures read; called in a thread. Raises server.errors.InvalidRequest."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no images: the name of its gRPC status, a reason in capitals, a sentence
    for a person."""

    code: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Record:
    """`images` has a mapping for each image, `account` what is the same for all of them; both are
    columns of the manifest. No shopper's id is among them."""

    name: str
    number: int
    digest: str
    account: Mapping[str, Any] = field(default_factory=dict)
    images: Sequence[Mapping[str, Any]] = ()
    failure: Failure | None = None

    @property
    def is_finished(self) -> bool:
        return self.failure is None

    @classmethod
    def fail(cls, task: Task, failure: Failure) -> Record:
        return cls(task.name, task.number, task.digest, failure=failure)

    @classmethod
    def finish(
        cls,
        task: Task,
        request: ImageRequest,
        result: ImageResult,
        images: Sequence[Mapping[str, Any]],
    ) -> Record:
        return cls(task.name, task.number, task.digest, _tell(request, result), images)

    def to_line(self) -> bytes:
        told = {name: value for name, value in asdict(self).items() if value}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Record:
        """Raises ValueError or TypeError where the line is torn."""
        told = json.loads(line)
        failure = told.pop("failure", None)
        return cls(**told, failure=Failure(**failure) if failure else None)


def describe_image(path: str, image: Any) -> dict[str, Any]:
    """What is to be known of one image that lies at `path`; `image` is a core.EncodedImage."""
    return {
        "path": path,
        "seed": image.seed,
        "width": image.width,
        "height": image.height,
        "mime_type": image.mime_type,
        "sha256": hashlib.sha256(image.data).hexdigest(),
        **({} if image.fidelity is None else _describe_fidelity(image.fidelity)),
        "look": list(image.look),
        "is_original": image.is_original,
        "layout": None if image.layout is None else describe_layout(image.layout),
    }


def describe_layout(layout: Layout) -> str:
    """JSON, as the column `layout` of a request takes it."""
    told = asdict(layout)
    for element, own in zip(told["elements"], layout.elements, strict=True):
        element["kind"] = f"KIND_{own.kind.name}"
    return json.dumps(told, ensure_ascii=False)


def _describe_fidelity(fidelity: Fidelity) -> dict[str, Any]:
    source = fidelity.mask_source
    return {**asdict(fidelity), "mask_source": "" if source is None else source.value}


def name_image(name: str, number: int | None, mime_type: str) -> str:
    """Where image `number` of a request lies; None for the only one. No two have one path.

    What a file system or a URL could mistake is percent-encoded, and so is "~", which parts the
    name from the number, or from the digest in whose favour a long name is cut.
    """
    safe = urllib.parse.quote(name, safe="").replace("~", "%7E")
    if safe.startswith("."):
        safe = "%2E" + safe[1:]
    if len(safe) > _LONGEST_NAME:
        digest = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        safe = f"{safe[: _LONGEST_NAME - 34]}~~{digest}"
    part = "" if number is None else f"~{number}"
    return f"{IMAGES}/{safe}{part}.{_SUFFIXES[mime_type]}"


def _tell(request: ImageRequest, result: ImageResult) -> dict[str, Any]:
    model, told = result.model, result.personalization
    return {
        "product": request.product if isinstance(request.product, str) else "",
        "source": result.source.value,
        "arm": result.arm.value,
        "reason": told.reason.value,
        "feature_service": told.feature_service,
        "feature_fingerprint": told.feature_fingerprint,
        "feature_ages_s": dict(told.feature_ages_s),
        "model": "" if model is None else model.name,
        "model_digest": "" if model is None else model.digest,
        "sampler": "" if result.sampler is None else result.sampler.value,
        "steps": result.steps,
        "style": result.style,
        "degradation": result.degradation.value,
        "title_language": result.title_language,
        "warnings": list(result.warnings),
        "tries": [{"seed": each.seed, "reasons": list(each.reasons)} for each in result.tries],
        "explanation": "" if result.explanation is None else result.explanation.text,
    }
