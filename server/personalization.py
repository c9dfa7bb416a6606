"""Whether the shopper takes part, and the reason that the response gives.

Personalization is a dial that reaches zero: whatever is missing gives exactly the generic image.
"""

from __future__ import annotations

from dataclasses import dataclass

from features.records import Shopper, Status
from server.core import Personalization, Reason
from server.experiments.assignment import Assignment

REASON_BY_STATUS = {
    Status.FOUND: Reason.APPLIED,
    Status.MISSING: Reason.UNKNOWN_USER,
    Status.STALE: Reason.STALE,
    Status.INVALID: Reason.INVALID_FEATURES,
    Status.UNAVAILABLE: Reason.FEATURES_UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Taste:
    """What fusion may know of the shopper: who they are if and only if that may be used."""

    account: Personalization
    shopper: Shopper | None


def decide(
    assignment: Assignment, user_id: str, shopper: Shopper | None, service: str, fingerprint: str
) -> Taste:
    """`shopper` is None where nobody was read."""
    reason = _reason(assignment, user_id, shopper)
    ages_s = {} if shopper is None else shopper.ages_s
    account = Personalization(reason, service, fingerprint, ages_s)
    return Taste(account, shopper if reason is Reason.APPLIED else None)


def _reason(assignment: Assignment, user_id: str, shopper: Shopper | None) -> Reason:
    if not assignment.wants_shopper:
        return Reason.STRENGTH_ZERO
    if not user_id:
        return Reason.ANONYMOUS
    if shopper is None:
        return Reason.FEATURES_UNAVAILABLE
    # Consent is read with the features: where they could not be read, that is the reason.
    if shopper.status in (Status.FOUND, Status.STALE, Status.INVALID) and not shopper.consent:
        return Reason.NO_CONSENT
    return REASON_BY_STATUS[shopper.status]
