"""Published models, one folder each (graphs, tables, manifest), and the store that finds and verifies them."""

from __future__ import annotations

from nacre.weights.store import (
    DEFAULT_PROFILE,
    WEIGHTS_VARIABLE,
    FileEntry,
    Weights,
    find_profiles,
    load,
    search_folders,
)

__all__ = [
    "DEFAULT_PROFILE",
    "WEIGHTS_VARIABLE",
    "FileEntry",
    "Weights",
    "find_profiles",
    "load",
    "search_folders",
]
