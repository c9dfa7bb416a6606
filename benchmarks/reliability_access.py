"""What it costs to ask who calls, whether they may, and whether their quotas allow it, in CPU time
of the event loop's thread."""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from benchmarks.measurement import Report
from server import logs
from server.access.keys import hash_key, make_key
from server.access.reception import Metadata, Reception
from server.metrics import Metrics

NUM_TENANTS = 1000
NUM_IN_BATCH = 500
TARGET_MS = 0.2

_METHOD = "etalage.v1.ImageService/GenerateImage"
_QUOTAS = {name: 10**9 for name in ("requests_per_minute", "images_per_minute")}


def measure(report: Report, is_quick: bool) -> None:
    """Of a server of a thousand tenants: by a key, by a token that comes again, and by tokens that
    nobody has seen before, signed with RSA or an elliptic curve."""
    logs.configure_logs("console", "warning")
    num_batches = 2 if is_quick else 10
    with tempfile.TemporaryDirectory() as folder:
        shown = write_house(Path(folder), num_batches * NUM_IN_BATCH)
        reception = Reception(Path(folder) / "tenants.yaml", Metrics())
        for kind, calls in shown.items():
            taken_ms = asyncio.run(admit_all(reception, calls))
            batches = [
                taken_ms[at : at + NUM_IN_BATCH] for at in range(0, len(taken_ms), NUM_IN_BATCH)
            ]
            p50 = [statistics.median(batch) for batch in batches]
            p99 = [statistics.quantiles(batch, n=100)[98] for batch in batches]
            report.add(f"access.{kind}_p50", p50, "ms", better="lower")
            target = None if "new" in kind else TARGET_MS  # which each token costs once only
            report.add(f"access.{kind}_p99", p99, "ms", target=target, better="lower")


def write_house(folder: Path, num_calls: int) -> Mapping[str, Sequence[Metadata]]:
    """Writes tenants and the keys of an issuer; what callers show, by kind."""
    keys = [make_key() for _ in range(NUM_TENANTS)]
    tenants = [
        {
            "name": f"tenant-{number}",
            "scopes": ["generate"],
            "keys": [hash_key(key)],
            "tokens": {"login": [f"backend-{number}"]},
            "quotas": {**_QUOTAS, "concurrent_images": 10**6},
        }
        for number, key in enumerate(keys)
    ]
    issuer = {"issuer": "https://login.test", "audience": "etalage", "jwks": "jwks.json"}
    content = {"issuers": {"login": issuer}, "tenants": tenants}
    (folder / "tenants.yaml").write_text(yaml.safe_dump(content), "utf-8")
    curve, factors = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    published = [
        ECAlgorithm.to_jwk(curve.public_key(), as_dict=True) | {"kid": "ES256", "alg": "ES256"},
        RSAAlgorithm.to_jwk(factors.public_key(), as_dict=True) | {"kid": "RS256", "alg": "RS256"},
    ]
    (folder / "jwks.json").write_text(json.dumps({"keys": published}), "utf-8")
    numbers = range(num_calls)
    by_curve = [_sign(curve, "ES256", number) for number in numbers]
    return {
        "key": [[("x-api-key", keys[number % NUM_TENANTS])] for number in numbers],
        "token_known": [_bear(by_curve[number % 100]) for number in numbers],
        "token_new_es256": [_bear(token) for token in by_curve],
        "token_new_rs256": [_bear(_sign(factors, "RS256", number)) for number in numbers],
    }


async def admit_all(reception: Reception, calls: Sequence[Metadata]) -> list[float]:
    """Milliseconds that each call took to be let in and to be charged for an image."""
    for shown in calls[:100]:
        await admit(reception, shown)
    gc.collect()
    gc.freeze()
    taken_ms = []
    for shown in calls:
        begun = time.thread_time_ns()
        await admit(reception, shown)
        taken_ms.append((time.thread_time_ns() - begun) / 1e6)
    gc.unfreeze()
    return taken_ms


async def admit(reception: Reception, shown: Metadata) -> None:
    call = await reception.admit(_METHOD, shown, ())
    assert call is not None
    call.charge_request()
    call.charge(1)
    call.end()


def _sign(key: Any, algorithm: str, number: int) -> str:
    claims = {
        "iss": "https://login.test",
        "aud": "etalage",
        "sub": f"backend-{number % NUM_TENANTS}",
        "exp": int(time.time()) + 3600,
        "jti": str(number),
    }
    return jwt.encode(claims, key, algorithm, {"kid": algorithm})


def _bear(token: str) -> Metadata:
    return [("authorization", f"Bearer {token}")]
