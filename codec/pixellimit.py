"""The largest picture that is coded or decoded: what the caller says, else NACRE_MAX_PIXELS, else 400 million."""

from __future__ import annotations

import os
import re

from nacre.bitstream.errors import InputError
from nacre.bitstream.limits import Limits

MAX_PIXELS_VARIABLE = "NACRE_MAX_PIXELS"

_POSITIVE = re.compile(r"0*[1-9][0-9]{0,18}", re.ASCII)


def choose_limits(max_pixels: int | None = None, default: int = Limits().max_pixels) -> Limits:
    """The limits with max_pixels, or without it with the environment variable's value, or else with the default.

    Raises InputError where the one that counts is not at least 1, or the variable no integer.
    """
    if max_pixels is None:
        return Limits(max_pixels=_variable() or default)
    if max_pixels < 1:
        msg = f"max_pixels is {max_pixels}, must be at least 1"
        raise InputError(msg)
    return Limits(max_pixels=max_pixels)


def _variable() -> int | None:
    """What the environment variable names, None where it is not set or empty."""
    text = os.environ.get(MAX_PIXELS_VARIABLE)
    if not text:
        return None
    if not _POSITIVE.fullmatch(text):
        msg = f"the environment variable {MAX_PIXELS_VARIABLE} is {text[:40]!r}, must be an integer of at least 1"
        raise InputError(msg)
    return int(text)
