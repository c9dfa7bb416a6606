"""What can go wrong, as a tree. `server/doors/status.py` translates it to gRPC, once, by table.

EtalageError
├── InvalidRequest       the caller must change the request
├── ProductNotFound      no such product in the feature store
├── ModelNotFound        no model of that name
├── BatchNotFound        no batch of that id, or it was forgotten
├── ExperimentNotFound   no experiment of that key
├── ModelBusy            another load or unload of that model is under way
├── FailedPrecondition   the server is not in a state for that; says why
├── Overloaded           come back after `retry_after_s`
│   └── QuotaExceeded    the tenant's share is spent, while others may still be served
├── Unauthenticated      nobody knows who calls; `reason` says why, and nothing more
├── PermissionDenied     who calls may not do that
├── Unavailable          a part that the request needs is down, or the server is stopping
├── DeadlineExceeded     it could not be, or was not, done in time
├── Cancelled            somebody asked for that, by the request's id
└── SamplingFailed       this row broke; its batch mates did not
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field, by its path in the request message."""

    field: str
    description: str


class EtalageError(Exception):
    """Base of all errors whose text a caller may read."""

    reason = "INTERNAL"


class InvalidRequest(EtalageError):
    reason = "INVALID_REQUEST"

    def __init__(self, *violations: Violation, reason: str | None = None) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = violations
        self.reason = reason or type(self).reason


class ProductNotFound(EtalageError):
    reason = "PRODUCT_NOT_FOUND"

    def __init__(self, product_id: str) -> None:
        super().__init__(f"no product {product_id!r} in the feature store")
        self.product_id = product_id


class ModelNotFound(EtalageError):
    reason = "MODEL_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"no model {name!r} on this server")
        self.name = name


class BatchNotFound(EtalageError):
    reason = "BATCH_NOT_FOUND"

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"no batch {batch_id[:128]!r} on this server")
        self.batch_id = batch_id


class ExperimentNotFound(EtalageError):
    reason = "EXPERIMENT_NOT_FOUND"

    def __init__(self, key: str) -> None:
        super().__init__(f"no experiment {key[:128]!r} on this server")
        self.key = key


class ModelBusy(EtalageError):
    reason = "MODEL_BUSY"

    def __init__(self, name: str) -> None:
        super().__init__(f"another load or unload of {name!r} is under way")
        self.name = name


class FailedPrecondition(EtalageError):
    reason = "FAILED_PRECONDITION"

    def __init__(self, message: str, reason: str = reason) -> None:
        super().__init__(message)
        self.reason = reason


class Overloaded(EtalageError):
    reason = "OVERLOADED"

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the server is full; retry after {retry_after_s:.2f} s")
        self.retry_after_s = retry_after_s


class QuotaExceeded(Overloaded):
    reason = "QUOTA_EXCEEDED"

    def __init__(self, tenant: str, quota: str, retry_after_s: float) -> None:
        EtalageError.__init__(
            self, f"the quota of {quota} is spent; retry after {retry_after_s:.2f} s"
        )
        self.tenant, self.quota, self.retry_after_s = tenant, quota, retry_after_s


class Unauthenticated(EtalageError):
    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class PermissionDenied(EtalageError):
    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Unavailable(EtalageError):
    reason = "UNAVAILABLE"

    def __init__(self, message: str, reason: str = reason) -> None:
        super().__init__(message)
        self.reason = reason


class DeadlineExceeded(EtalageError):
    reason = "DEADLINE_EXCEEDED"


class Cancelled(EtalageError):
    reason = "CANCELLED"

    def __init__(self, message: str, reason: str = reason) -> None:
        super().__init__(message)
        self.reason = reason


class SamplingFailed(EtalageError):
    reason = "SAMPLING_FAILED"
