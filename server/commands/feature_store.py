"""Where features live, from the configuration."""

from __future__ import annotations

from features.definitions import Lifetimes
from features.store import StoreConfig
from server.configuration import FeaturesSlice, PrivacySlice


def store_config(settings: FeaturesSlice, privacy: PrivacySlice) -> StoreConfig:
    lifetimes = Lifetimes(
        user_profile_s=settings.user_profile_ttl_s,
        user_recent_s=settings.user_recent_ttl_s,
        product_features_s=settings.product_features_ttl_s,
    )
    return StoreConfig(
        home=settings.home,
        lifetimes=lifetimes,
        online_store=settings.online_store,
        offline_store=settings.offline_store,
        registry=settings.registry,
        tombstones=privacy.database,
        tombstone_keys=privacy.keys,
    )
