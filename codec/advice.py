"""What went wrong, in a line for people, with what to do about it."""

from __future__ import annotations

from nacre.bitstream.errors import (
    ChecksumError,
    LimitError,
    NacreError,
    TruncatedError,
    UnsupportedVersionError,
    WeightsMismatchError,
    WeightsNotFoundError,
)

# What a user gets to see as a line; anything else is a fault of the program.
EXPECTED = (NacreError, MemoryError, OSError)

_DAMAGED = "copy or download it again, or decode what is left of it with --keep-going"
_ADVICE: tuple[tuple[type[NacreError], str, str], ...] = (
    (TruncatedError, "", f"the file is incomplete: {_DAMAGED}"),
    (ChecksumError, "", f"the file is damaged: {_DAMAGED}"),
    (UnsupportedVersionError, "", "install a newer nacre"),
    (WeightsNotFoundError, "", "`nacre models` lists what is installed, --weights FOLDER names another place"),
    (WeightsMismatchError, "", "the stream needs the weights it was made with: --weights FOLDER names a place to look"),
    (LimitError, "max_pixels", "--max-pixels or NACRE_MAX_PIXELS sets the largest number of pixels"),
)


def explain(error: BaseException) -> str:
    """What to say of an error of one of the `EXPECTED` kinds."""
    if isinstance(error, BrokenPipeError):
        return "the reader of standard output has gone"
    if isinstance(error, MemoryError):
        return "not enough memory for a picture of this size"
    if "PICTURE_HEADER" in str(error) or "SEQUENCE_HEADER" in str(error):  # without which nothing is left to go on with
        return f"{error} (copy or download the file again)"
    advice = next((text for kind, word, text in _ADVICE if isinstance(error, kind) and word in str(error)), None)
    return f"{error} ({advice})" if advice else f"{error}"
