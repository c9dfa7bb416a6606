"""Shoppers erased, told what is held of them, and asked for consent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from etalage.v1 import privacy_pb2 as pb


@dataclass(frozen=True)
class ErasedStore:
    """What went from one store. Where `finished` is None it is still to be done; `error` says what
    kept it from it, and it is tried again."""

    store: str
    num_removed: int
    finished: datetime | None
    error: str = ""
    note: str = ""


@dataclass(frozen=True)
class ErasureProof:
    """What an erasure did. Nothing in it names the shopper."""

    erasure_id: str
    tombstone_id: str
    permanent: bool
    started: datetime
    finished: datetime | None
    complete: bool
    stores: tuple[ErasedStore, ...]

    @property
    def num_removed(self) -> int:
        return sum(store.num_removed for store in self.stores)

    def to_dict(self) -> Mapping[str, Any]:
        """For JSON: times as ISO 8601."""
        told = asdict(self)
        for each in (told, *told["stores"]):
            for name, value in each.items():
                if isinstance(value, datetime):
                    each[name] = value.isoformat()
        return told


def build_erase_request(user: str, permanent: bool, wait: bool) -> pb.EraseUserRequest:
    return pb.EraseUserRequest(user_id=user, permanent=permanent, wait=wait)


def build_consent_request(user: str, given: bool) -> pb.SetConsentRequest:
    consent = pb.CONSENT_GIVEN if given else pb.CONSENT_WITHDRAWN
    return pb.SetConsentRequest(user_id=user, consent=consent)


def read_proof(response: pb.EraseUserResponse) -> ErasureProof:
    proof = response.proof
    return ErasureProof(
        proof.erasure_id,
        proof.tombstone_id,
        proof.permanent,
        read_time(proof.start_time),
        read_time(proof.finish_time) if proof.HasField("finish_time") else None,
        proof.complete,
        tuple(map(_read_store, proof.stores)),
    )


def read_time(time: Timestamp) -> datetime:
    return time.ToDatetime(UTC)


def _read_store(store: pb.ErasedStore) -> ErasedStore:
    finished = read_time(store.finish_time) if store.HasField("finish_time") else None
    return ErasedStore(store.store, store.num_removed, finished, store.error, store.note)
