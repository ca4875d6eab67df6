"""Packages that only an extra of nacre brings: imported on use, missed with a message that says what to install."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import Any

from nacre.bitstream.errors import InputError


def require(module: str, install: str = "'nacre[eval]'") -> Any:
    """The imported module; InputError naming the package and what pip must install where it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        msg = f"{module.partition('.')[0]} is not installed: pip install {install}"
        raise InputError(msg) from error


def package_version(distribution: str) -> str | None:
    """The installed version of a distribution, None where it is missing."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
