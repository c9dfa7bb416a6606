"""Reads what an image says of where it comes from, and whether that is true."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import c2pa
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from diffusion.pictures import PictureUnusable, open_picture
from server.provenance.origin import Origin, read_origin
from server.provenance.watermark import Score, Watermark

FORMATS = ("PNG", "WEBP", "JPEG")
DAMAGED = "does not decode"
MAX_FAULTS = 16
UNTRUSTED = "signingCredential.untrusted"
"""A fault of whoever asks, not of the image: it says whom they trust."""

_VERIFY = {
    "verify_trust": True,
    # An image must not make the server call an address that it names.
    "remote_manifest_fetch": False,
    "ocsp_fetch": False,
}


class ManifestState(Enum):
    ABSENT = "absent"
    VALID = "valid"
    TAMPERED = "tampered"


class Trust(Enum):
    UNKNOWN = "unknown"
    DEVELOPMENT = "development"
    TRUSTED = "trusted"


@dataclass(frozen=True, slots=True)
class SignedBy:
    name: str
    organization: str
    trust: Trust
    algorithm: str
    serial_number: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`watermark` is None where there is no key to look for one."""

    manifest: ManifestState
    signer: SignedBy | None = None
    origin: Origin | None = None
    faults: tuple[str, ...] = ()
    watermark: Score | None = None


class Verifier:
    """`own` is the chain that this server signs with, the signer first; `trusted` are authorities
    whose signers it believes. Callable from several threads."""

    def __init__(
        self,
        own: Sequence[x509.Certificate] = (),
        is_development: bool = False,
        trusted: Sequence[x509.Certificate] = (),
        watermark: Watermark | None = None,
    ) -> None:
        # A certificate that leads to no authority in its own chain is trusted for itself.
        trust = {"trust_anchors": write_pem([*own, *trusted]), "allowed_list": write_pem(own[:1])}
        settings: dict[str, Any] = {"verify": _VERIFY}
        if own or trusted:
            settings["trust"] = {name: text for name, text in trust.items() if text}
        self._context = c2pa.Context.from_dict(settings)
        self._development = {str(each.serial_number) for each in own[:1] if is_development}
        self._watermark = watermark

    def verify(self, data: bytes) -> Verdict:
        """Raises PictureUnusable for what is no still picture of a format and size that is read,
        but not for one that was damaged after it was signed: that is a verdict."""
        try:
            picture = open_picture(data, formats=FORMATS)
        except PictureUnusable as fault:
            if not str(fault).startswith(DAMAGED) or name_format(data) is None:
                raise
            verdict = self._judge(data)
            if verdict.signer is None:  # nobody has ever signed it
                raise
            return verdict
        verdict = self._judge(data)
        if self._watermark is None:
            return verdict
        return replace(verdict, watermark=self._watermark.find(np.asarray(picture.convert("RGB"))))

    def _judge(self, data: bytes) -> Verdict:
        store, fault = self._read(data)
        if store is None:
            state = ManifestState.TAMPERED if fault else ManifestState.ABSENT
            return Verdict(state, faults=(fault,) if fault else ())
        found = store.get("validation_status") or []
        faults = tuple(dict.fromkeys(str(each.get("code", ""))[:100] for each in found))
        is_valid = store.get("validation_state") in ("Valid", "Trusted")
        active = store.get("manifests", {}).get(store.get("active_manifest"), {})
        return Verdict(
            ManifestState.VALID if is_valid else ManifestState.TAMPERED,
            self._find_signer(active, store.get("validation_state") == "Trusted"),
            read_origin(active),
            tuple(fault for fault in faults if fault != UNTRUSTED)[:MAX_FAULTS],
        )

    def _read(self, data: bytes) -> tuple[Mapping[str, Any] | None, str]:
        """The manifests of a file, or why they can't be read; neither where there are none."""
        try:
            with c2pa.Reader(name_format(data), io.BytesIO(data), context=self._context) as reader:
                told: Mapping[str, Any] = json.loads(reader.json())
                return told, ""
        except c2pa.C2paError.ManifestNotFound:
            return None, ""
        except c2pa.C2paError as error:
            return None, str(error)[:100]

    def _find_signer(self, manifest: Mapping[str, Any], is_trusted: bool) -> SignedBy | None:
        told = manifest.get("signature_info")
        if not isinstance(told, Mapping):
            return None
        name, organization, algorithm, serial = (
            str(told.get(key, ""))[:200]
            for key in ("common_name", "issuer", "alg", "cert_serial_number")
        )
        trust = Trust.TRUSTED if is_trusted else Trust.UNKNOWN
        if is_trusted and serial in self._development:
            trust = Trust.DEVELOPMENT
        return SignedBy(name, organization, trust, algorithm, serial)


class VerifyingDesk:
    """A verifier whose work is done by `workers`, off the event loop."""

    def __init__(self, verifier: Verifier, workers: Executor) -> None:
        self._verifier, self._workers = verifier, workers

    async def verify(self, image: bytes) -> Verdict:
        """Raises PictureUnusable."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, self._verifier.verify, image)


def name_format(data: bytes) -> str | None:
    """By how it begins; None for what is none of `FORMATS`."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return "image/jpeg" if data.startswith(b"\xff\xd8\xff") else None


def write_pem(certificates: Sequence[x509.Certificate]) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)
