"""nacre: a learned image codec with exact entropy decoding and trained weights in the package."""

from __future__ import annotations

if __name__ != "nacre":
    msg = "this folder is installed as the package 'nacre'; import nacre instead (see README.md)"
    raise ImportError(msg)

from nacre.version import __version__

__all__ = ["__version__"]
