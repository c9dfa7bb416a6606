"""Builds what seals images and reads seals from the configuration; the verb `verify`."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffusion.pictures import PictureUnusable
from features.keys import KeysUnusable, load_keys
from server.commands.start_failed import StartFailed
from server.configuration import Configuration, ProvenanceSlice
from server.provenance.credentials import (
    CERTIFICATE,
    Credentials,
    CredentialsUnusable,
    load_credentials,
    load_development,
    read_chain,
)
from server.provenance.sealing import Sealer, SealObserver
from server.provenance.signing import FileSigner
from server.provenance.verifying import ManifestState, Verdict, Verifier
from server.provenance.watermark import Watermark

MAX_BYTES = 64 * 1024 * 1024
"""Of a file that is verified."""

_ALL_VALID, _SOME_NOT, _NOT_STARTED = 0, 1, 2


def open_sealer(configuration: Configuration, observer: SealObserver | None = None) -> Sealer:
    """Raises StartFailed."""
    settings, home = configuration.provenance, configuration.features.home.absolute()
    try:
        credentials = open_credentials(settings, home) if settings.sign else None
        signer = None
        if credentials is not None:
            FileSigner(credentials).check()
            signer = FileSigner(credentials, settings.timestamp_url)
        keys = load_keys(name_watermark_key(settings, home)).all if settings.watermark else ()
    except (CredentialsUnusable, KeysUnusable) as error:
        raise StartFailed(str(error)) from error
    told = [credentials.chain if credentials else b"", *keys[:1]]
    return Sealer(
        None if signer is None else signer.sign,
        Watermark(keys) if keys else None,
        settings.on_failure == "refuse",
        observer,
        ":".join(hashlib.sha256(each).hexdigest()[:16] if each else "" for each in told),
    )


def open_credentials(settings: ProvenanceSlice, home: Path) -> Credentials:
    """Raises CredentialsUnusable."""
    if settings.certificate is None:
        return load_development(name_development(home))
    return load_credentials(settings.certificate, settings.key, settings.signer)


def open_verifier(configuration: Configuration) -> Verifier:
    """Makes no key: what was not made was not used either. Raises StartFailed."""
    settings, home = configuration.provenance, configuration.features.home.absolute()
    own = settings.certificate or name_development(home) / CERTIFICATE
    key = name_watermark_key(settings, home)
    try:
        is_there = settings.certificate is not None or own.exists()
        chain = read_chain(own, "provenance.certificate") if is_there else ()
        trusted = settings.trusted
        authorities = read_chain(trusted, "provenance.trusted") if trusted is not None else ()
        is_marking = settings.watermark_key is not None or key.exists()
        watermark = Watermark(load_keys(key).all) if is_marking else None
    except (CredentialsUnusable, KeysUnusable) as error:
        raise StartFailed(str(error)) from error
    return Verifier(chain, settings.certificate is None, authorities, watermark)


def name_development(home: Path) -> Path:
    return home / "keys" / "provenance"


def name_watermark_key(settings: ProvenanceSlice, home: Path) -> Path:
    return settings.watermark_key or home / "keys" / "watermark"


def verify(configuration: Configuration, images: Sequence[Path], is_json: bool = False) -> int:
    """A line for each image; the exit status: 0 where all are as they were signed, 1 where some are
    not, 2 where one can't be read."""
    try:
        verifier = open_verifier(configuration)
    except StartFailed as error:
        print(f"verify: {error}", file=sys.stderr)
        return _NOT_STARTED
    status = _ALL_VALID
    for path in images:
        try:
            verdict = verifier.verify(read_file(path))
        except (OSError, PictureUnusable) as error:
            why = error.strerror if isinstance(error, OSError) else f"the image {error}"
            print(f"verify: {path}: {why}", file=sys.stderr)
            status = _NOT_STARTED
            continue
        print(
            json.dumps({"image": str(path)} | tell(verdict)) if is_json else describe(path, verdict)
        )
        if verdict.manifest is not ManifestState.VALID:
            status = max(status, _SOME_NOT)
    return status


def read_file(path: Path) -> bytes:
    """Raises OSError, and PictureUnusable for more than anybody would send."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise PictureUnusable(f"is larger than {MAX_BYTES >> 20} MiB")
    return data


def tell(verdict: Verdict) -> dict[str, Any]:
    told = asdict(verdict) | {"manifest": verdict.manifest.value}
    if verdict.signer is not None:
        told["signer"]["trust"] = verdict.signer.trust.value
    if verdict.watermark is not None:
        told["watermark"]["is_marked"] = verdict.watermark.is_marked
    return told


def describe(path: Path, verdict: Verdict) -> str:
    """One line for a person."""
    facts = [f"{path}: manifest {verdict.manifest.value}", *verdict.faults]
    if (signer := verdict.signer) is not None:
        name = ", ".join(filter(None, (signer.name, signer.organization)))
        facts.append(f"signed by {name} ({signer.trust.value})")
    if (origin := verdict.origin) is not None:
        facts += [origin.source_type, origin.software]
        if origin.model:
            facts.append(f"model {origin.model} {origin.model_digest}")
        if origin.arm:
            facts.append(f"{origin.arm}, {origin.mode}, seed {origin.seed}, {origin.steps} steps")
        if origin.repairs:
            facts.append(f"repaired: {', '.join(origin.repairs)}")
    if (score := verdict.watermark) is not None:
        found = "found" if score.is_marked else "not found"
        facts.append(f"watermark {found} ({score.value:.1f} of {score.threshold:.1f})")
    return "; ".join(fact for fact in facts if fact)
