"""Builds what creatives keep to, and where they are kept, from the configuration."""

from __future__ import annotations

import json
from concurrent.futures import Executor
from pathlib import Path

from server.brand_kits import BrandKit, BrandKitInvalid, load_kits
from server.breaker import BreakerObserver
from server.commands.start_failed import StartFailed
from server.configuration import CreativesSlice, ImageCacheSlice, ProvenanceSlice
from server.image_cache.cache import ImageCache
from server.image_cache.folder import Folder
from server.image_cache.shelf import CacheObserver, Shelf
from server.localization.labels import Labels, LabelsInvalid
from server.localization.markets import FILES, Markets, MarketsInvalid
from server.rulebook import Rulebook, WordsObserver
from server.safety import DeniedWords, SafetyCheck, SafetyUnusable, load_check
from server.sensitivity import SensitiveWords


def read_rules(
    settings: CreativesSlice,
    provenance: ProvenanceSlice | None = None,
    observer: WordsObserver | None = None,
) -> Rulebook:
    """Raises StartFailed."""
    provenance = provenance or ProvenanceSlice()
    fonts = settings.font_folders
    if missing := [str(folder) for folder in fonts if not folder.is_dir()]:
        raise StartFailed(f"creatives.font_folders: {', '.join(missing)}: no such folder")
    check_markets(settings.markets)
    house = BrandKit(name="house", font_folders=fonts) if fonts else None
    try:
        markets, kits = Markets.read(settings.markets), load_kits(settings.brand_kits, fonts)
        denied, labels = DeniedWords.read(settings.denied_words), Labels.read(provenance.labels)
    except (MarketsInvalid, BrandKitInvalid, SafetyUnusable, LabelsInvalid) as error:
        raise StartFailed(str(error)) from error
    return Rulebook(markets, denied, kits, house, labels, provenance.label, observer)


def check_markets(folder: Path | None) -> None:
    """One file of the two is enough; with neither the shipped ones would stand in unnoticed. Raises
    StartFailed."""
    if folder is None:
        return
    if not folder.is_dir():
        raise StartFailed(f"creatives.markets: {folder}: no such folder")
    if not any((folder / name).is_file() for name in FILES):
        raise StartFailed(f"creatives.markets: {folder}: has neither {' nor '.join(FILES)}")


def read_sensitive(settings: CreativesSlice) -> SensitiveWords:
    """Raises StartFailed."""
    try:
        return SensitiveWords.read(settings.sensitive_words)
    except SafetyUnusable as error:
        raise StartFailed(f"creatives.sensitive_words: {error}") from error


def open_safety(settings: CreativesSlice) -> SafetyCheck | None:
    """Raises StartFailed."""
    try:
        return load_check(settings.safety, settings.safety_options) if settings.safety else None
    except SafetyUnusable as error:
        raise StartFailed(f"creatives.safety: {error}") from error


def describe_safety(settings: CreativesSlice) -> str:
    """The check and its options, empty for none: what it lets pass is not what another does."""
    if not settings.safety:
        return ""
    return json.dumps([settings.safety, dict(settings.safety_options)], sort_keys=True)


def open_cache(
    settings: ImageCacheSlice,
    workers: Executor,
    observer: CacheObserver | None = None,
    breakers: BreakerObserver | None = None,
) -> ImageCache:
    shelf: Shelf | None = None
    if settings.redis_url:
        from server.image_cache.remote import RemoteShelf  # needs an extra

        shelf = RemoteShelf(
            settings.redis_url, settings.ttl_s, settings.timeout_s, observer=breakers
        )
    elif settings.folder is not None:
        shelf = Folder(settings.folder, settings.disk_bytes, settings.ttl_s, workers, observer)
    return ImageCache(settings.memory_bytes, settings.ttl_s, workers, shelf, observer)
