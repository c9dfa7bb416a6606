"""An async online store in memory, a Feast plug-in that answers the way its Redis store does:
an entity it never saw has every value, unset, from 1970, and `requested_features` grows in place.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Literal

from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel
from google.protobuf.message import DecodeError

SETTINGS = {"type": "tests.features.memory_store.MemoryOnlineStore"}


class MemoryOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    type: Literal["tests.features.memory_store.MemoryOnlineStore"]


class MemoryOnlineStore(OnlineStore):  # type: ignore[misc]
    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], Any] = {}
        self.reads: list[tuple[str, int, list[str]]] = []
        self.delay_s = 0.0
        self.poison: set[str] = set()

    @property
    def async_supported(self):
        return SupportedAsyncMethods(read=True, write=False)

    def online_write_batch(self, config, table, data, progress):
        for key, values, when, _ in data:
            self.rows[table.name, key.SerializeToString()] = (when, values)

    def online_read(self, config, table, entity_keys, requested_features=None):
        requested_features.append(f"_ts:{table.name}")
        answers = []
        for key in entity_keys:
            when, values = self.rows.get(
                (table.name, key.SerializeToString()), (datetime.fromtimestamp(0, UTC), {})
            )
            names = requested_features[:-1]
            answers.append((when, {name: values.get(name, Value()) for name in names}))
        return answers

    async def online_read_async(self, config, table, entity_keys, requested_features=None):
        self.reads.append((table.name, len(entity_keys), list(requested_features)))
        await asyncio.sleep(self.delay_s)
        if self.poison & {key.entity_values[0].string_val for key in entity_keys}:
            raise DecodeError("Error parsing message")
        return self.online_read(config, table, entity_keys, requested_features)

    def update(self, config, tables_to_delete, tables_to_keep, *entities, partial=True, **more):
        pass

    def teardown(self, config, tables, entities):
        pass
