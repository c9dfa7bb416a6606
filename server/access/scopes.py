"""Which method needs which right, as one table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Scope(StrEnum):
    GENERATE = "generate"
    RECORD = "record"
    ADMIN = "admin"
    ERASE = "erase"


class Rule(StrEnum):
    """What else the table may say of a method."""

    OPEN = "open"
    """Who asks needs no credentials."""
    REFUSED = "refused"
    """The table does not know it."""


Need = Scope | Rule

_NEEDS: Mapping[str, Need] = {
    "etalage.v1.ImageService": Scope.GENERATE,
    "etalage.v1.BatchService": Scope.GENERATE,
    "etalage.v1.EnhancementService": Scope.GENERATE,
    "etalage.v1.ProvenanceService": Scope.GENERATE,
    "etalage.v1.ExperimentService/RecordEvents": Scope.RECORD,
    "etalage.v1.ExperimentService/StreamEvents": Scope.RECORD,
    "etalage.v1.ExperimentService/ListExperiments": Scope.ADMIN,
    "etalage.v1.ExperimentService/GetExperimentReport": Scope.ADMIN,
    "etalage.v1.ModelService": Scope.ADMIN,
    "etalage.v1.PrivacyService": Scope.ERASE,
    "grpc.channelz.v1.Channelz": Scope.ADMIN,
    "grpc.health.v1.Health": Rule.OPEN,
    "grpc.reflection.v1alpha.ServerReflection": Rule.OPEN,
}
"""By method, or by service for all methods of it."""


def need_of(method: str) -> Need:
    """Of `package.Service/Method`."""
    service = method.partition("/")[0]
    return _NEEDS.get(method) or _NEEDS.get(service) or Rule.REFUSED
