"""Where an image comes from: what is asked, and what comes back, without protobuf."""

from __future__ import annotations

import os
from dataclasses import dataclass

from etalage.replies import read_word
from etalage.requests import read_picture
from etalage.v1 import provenance_pb2 as pb


@dataclass(frozen=True)
class Signer:
    """Who signed an image. `trust` is "trusted", "development" (the server's own certificate, which
    nobody else trusts) or "unknown" (anybody can call themselves that)."""

    name: str
    organization: str
    trust: str
    algorithm: str
    serial_number: str


@dataclass(frozen=True)
class Origin:
    """How an image was made, as it says itself; what it does not say is empty or 0."""

    source_type: str
    software: str
    model: str
    model_digest: str
    arm: str
    mode: str
    seed: int
    steps: int
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verified:
    """`manifest` is "valid", "tampered" or "absent". `is_watermarked` is None where the server has
    no key to look for a mark; the score is in standard deviations of an image without one."""

    manifest: str
    signer: Signer | None = None
    origin: Origin | None = None
    faults: tuple[str, ...] = ()
    is_watermarked: bool | None = None
    watermark_score: float | None = None
    watermark_threshold: float | None = None

    def __str__(self) -> str:
        """One line for a person."""
        facts = [f"manifest {self.manifest}", *self.faults]
        if (signer := self.signer) is not None:
            facts.append(f"signed by {signer.name}, {signer.organization} ({signer.trust})")
        if (origin := self.origin) is not None:
            facts += [origin.source_type, origin.software]
            if origin.model:
                facts.append(f"model {origin.model}")
            if origin.arm:
                facts.append(f"{origin.arm}, seed {origin.seed}")
            if origin.repairs:
                facts.append(f"repaired: {', '.join(origin.repairs)}")
        if self.is_watermarked is not None:
            found = "found" if self.is_watermarked else "not found"
            facts.append(f"watermark {found} ({self.watermark_score:.1f})")
        return "; ".join(fact for fact in facts if fact)


def build_verify_request(image: str | os.PathLike[str] | bytes) -> pb.VerifyImageRequest:
    """Raises OSError for a file."""
    return pb.VerifyImageRequest(image=read_picture(image))


def read_verified(reply: pb.VerifyImageResponse) -> Verified:
    signer, origin = None, None
    if reply.HasField("signer"):
        told = reply.signer
        trust = read_word(told, "trust")
        signer = Signer(told.name, told.organization, trust, told.algorithm, told.serial_number)
    if reply.HasField("origin"):
        made = reply.origin
        origin = Origin(
            made.source_type,
            made.software,
            made.model,
            made.model_digest,
            made.arm,
            made.mode,
            made.seed,
            made.steps,
            tuple(made.repairs),
        )
    is_known = reply.HasField("is_watermarked")
    return Verified(
        read_word(reply, "manifest"),
        signer,
        origin,
        tuple(reply.faults),
        reply.is_watermarked if is_known else None,
        reply.watermark_score if is_known else None,
        reply.watermark_threshold if is_known else None,
    )
