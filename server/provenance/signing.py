"""Puts a manifest into a file, signed: C2PA by c2pa-python, in memory and without a network, unless
a time stamping authority is asked."""

from __future__ import annotations

import io
import json
import threading

import c2pa
import numpy as np

from server.core import OutputSpec
from server.imaging.encode import encode
from server.provenance.credentials import Credentials, CredentialsUnusable
from server.provenance.origin import Making, SourceType, describe
from server.provenance.settling import UNNAMED, Unsettled, exchange, put_back, settle

SETTINGS = {
    # A thumbnail would be a hundred kilobytes, and 45 ms.
    "builder": {"thumbnail": {"enabled": False}},
    # Read back it is once, when the server starts.
    "verify": {
        "verify_after_sign": False,
        "remote_manifest_fetch": False,
        "ocsp_fetch": False,
    },
}


class FileSigner:
    """Callable from several threads.

    The same file gets the same manifest, and by a key that signs without chance (ECDSA as in RFC
    6979, Ed25519) the same bytes: c2pa writes the manifest around a signature that is none, and
    what it drew by chance is settled before the real one is put there. A time stamp is of the
    moment anyway: with one c2pa signs by itself.
    """

    def __init__(self, credentials: Credentials, timestamp_url: str = "") -> None:
        """Raises CredentialsUnusable where C2PA has no use for the certificate."""
        self._sign, self._is_stamped = credentials.sign, bool(timestamp_url)
        self._placeholder = b"\xa5" * credentials.signature_bytes
        self._asked = threading.local()
        self._context = c2pa.Context.from_dict(SETTINGS)
        try:
            self._signer = c2pa.Signer.from_callback(
                credentials.sign if timestamp_url else self._note,
                c2pa.C2paSigningAlg[credentials.algorithm.upper()],
                credentials.chain.decode(),
                timestamp_url or None,
            )
        except c2pa.C2paError as error:
            raise CredentialsUnusable(f"provenance.certificate: {error}") from error

    def sign(self, data: bytes, mime_type: str, made: Making) -> bytes:
        """The file with its manifest. Raises c2pa.C2paError, Unsettled and what signs raises."""
        file = io.BytesIO()
        told = describe(made)
        if not self._is_stamped:
            told |= {"label": f"urn:c2pa:{UNNAMED}", "instance_id": f"xmp:iid:{UNNAMED}"}
        with c2pa.Builder.from_json(told, self._context) as builder:
            manifest = builder.sign(self._signer, mime_type, io.BytesIO(data), file)
        if self._is_stamped:
            return file.getvalue()
        settled, claim = settle(manifest, self._asked.claim)
        signed = exchange(settled, self._placeholder, self._sign(claim))
        return put_back(file.getvalue(), manifest, signed)

    def check(self) -> None:
        """Signs a picture and reads it back. Raises CredentialsUnusable."""
        image = encode(np.zeros((8, 8, 3), np.uint8), OutputSpec())
        made = Making(SourceType.GENERATED, "check")
        try:
            signed = self.sign(image.data, image.mime_type, made)
            with c2pa.Reader(image.mime_type, io.BytesIO(signed), context=self._context) as reader:
                told = json.loads(reader.json())
        except (c2pa.C2paError, Unsettled) as error:
            raise CredentialsUnusable(f"provenance: nothing can be signed: {error}") from error
        if told.get("validation_state") == "Invalid":
            faults = [str(each.get("code")) for each in told.get("validation_status", [])]
            text = f"provenance.certificate: C2PA does not take it: {', '.join(faults)}"
            raise CredentialsUnusable(text)

    def _note(self, claim: bytes) -> bytes:
        """Called by c2pa in the thread that signs."""
        self._asked.claim = claim
        return self._placeholder
