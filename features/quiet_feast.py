"""The one door through which Feast comes in.

Importing Feast points prometheus_client at a directory for multi-process metrics, by environment
variable. A process that imports prometheus_client later would silently keep its metrics in files
there, and so would every child. Hence the order: prometheus_client first, which settles its mode;
then Feast; then the environment is put back as it was. Of its log only warnings are let through: it
tells of every refresh of its registry.

Nor does it check the types of its own calls: typeguard would write all its classes anew as they are
imported, which takes half of the time of a start.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import prometheus_client
import typeguard

_VARIABLES = (
    "PROMETHEUS_MULTIPROC_DIR",
    "PROMETHEUS_MULTIPROCESS_DIR",
    "prometheus_multiproc_dir",
)


@contextmanager
def environment_kept() -> Iterator[None]:
    """Afterwards the variables of multi-process metrics are what they were, or not there."""
    before = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    try:
        yield
    finally:
        for name in _VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(before)


@contextmanager
def unchecked() -> Iterator[None]:
    """What is defined meanwhile is not rewritten by typeguard."""

    def leave(target: Any = None, **_: Any) -> Any:
        return leave if target is None else target

    before: Callable[..., Any] = typeguard.typechecked
    setattr(typeguard, "typechecked", leave)  # noqa: B010
    try:
        yield
    finally:
        setattr(typeguard, "typechecked", before)  # noqa: B010


with environment_kept(), unchecked():
    from feast import (
        Entity,
        FeatureService,
        FeatureStore,
        FeatureView,
        Field,
        FileSource,
        PushSource,
        RepoConfig,
        ValueType,
    )
    from feast.errors import FeastObjectNotFoundException
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.infra.online_stores.helpers import compute_table_id
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import FloatList, StringList, Value
    from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String

assert prometheus_client.REGISTRY  # imported above for its order, before Feast

logging.getLogger("feast").setLevel(logging.WARNING)

__all__ = [
    "Array",
    "Bool",
    "Entity",
    "EntityKey",
    "FeastObjectNotFoundException",
    "FeatureService",
    "FeatureStore",
    "FeatureView",
    "Field",
    "FileSource",
    "Float32",
    "Float64",
    "FloatList",
    "Int32",
    "Int64",
    "PushSource",
    "RepoConfig",
    "String",
    "StringList",
    "Value",
    "ValueType",
    "compute_table_id",
    "environment_kept",
    "serialize_entity_key",
]
