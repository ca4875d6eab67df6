"""The exceptions of the package: one root, one class for each kind of trouble.

Messages name the field, its value and the legal range, or the place in the stream where reading stopped.
"""

from __future__ import annotations


class NacreError(Exception):
    """Root of all exceptions that the package raises on purpose."""


class FormatError(NacreError, ValueError):
    """The stream is not a nacre stream, is damaged, or breaks a rule of the format."""


class TruncatedError(FormatError):
    """The stream ends before the structure that it announced."""


class ChecksumError(FormatError):
    """A checksum stored in the stream does not agree with the bytes or the symbols that were read."""


class UnsupportedVersionError(FormatError):
    """The stream is of a major version that this reader does not know."""


class LimitError(NacreError, ValueError):
    """The stream asks for more than the caller's limits allow."""


class WeightsError(NacreError):
    """Weights are damaged, malformed or not usable."""


class WeightsNotFoundError(WeightsError):
    """No installed weights carry the name or the digest that is asked for."""


class WeightsMismatchError(WeightsError):
    """Weights of this name are installed, but their digest is not the one that is asked for."""


class InputError(NacreError, ValueError):
    """An argument or an input given by the caller is outside its legal range."""


class BackendError(NacreError, RuntimeError):
    """The library that runs the networks is missing or failed."""
