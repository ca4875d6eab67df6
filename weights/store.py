"""Finds published weights, checks their manifests, and hands out their files only when the digests agree.

A folder of weights holds manifest.json and the files that it lists. They are looked for in a folder that the caller
names, or else in the one that the environment variable NACRE_WEIGHTS names and then in the package. Such a folder is
either one profile's own or holds one folder for each profile.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import WeightsError, WeightsMismatchError, WeightsNotFoundError

DEFAULT_PROFILE = "fast"
WEIGHTS_VARIABLE = "NACRE_WEIGHTS"
MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
SEQUENCE_KIND = "sequence"  # of a manifest that belongs to nacre.weights.sequence
SCALE_LEVELS = 64  # as in nacre.entropy.scales; the store does not import the coder
STREAM_DIGEST_BYTES = 8

SYNTHESIS = "synthesis.onnx"
# The files whose hashes make the digest that streams carry, in this order.
DECODER_FILES = ("context.onnx", "entropy.npz", SYNTHESIS)
ANALYSIS = "analysis.onnx"
HEAVY_ANALYSIS = "analysis_heavy.onnx"  # for the same decoder; not every set of weights has one
INT8_ANALYSIS = "analysis_int8.onnx"
INT8_HYPER_ANALYSIS = "hyper_analysis_int8.onnx"
FIRST_CONTEXT = "context_first.onnx"
NEXT_CONTEXT = "context_next.onnx"
LIGHT_SYNTHESIS = "synthesis_light.onnx"
LIGHT_FILES = (LIGHT_SYNTHESIS, FIRST_CONTEXT, NEXT_CONTEXT)  # of light decoding; not every set of weights has them
# The fastest encoder's graphs, for the same decoder; not every set of weights has them.
FASTEST_FILES = (INT8_ANALYSIS, INT8_HYPER_ANALYSIS, FIRST_CONTEXT, NEXT_CONTEXT)
LEVEL_STEP = 0.05  # of the latent's signed logarithm, what one level of INT8_HYPER_ANALYSIS' input is worth
REFINEMENT = "refine.onnx"  # the synthesis and its adjoint, for the encoder's higher efforts; weights may lack it
_FILES = (ANALYSIS, "scale_decoder.onnx", *DECODER_FILES)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_PROFILE = re.compile(r"[a-z0-9_-]{1,16}\Z")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")

Value = TypeVar("Value")


class Named(Protocol):
    """What weights of any kind are chosen by."""

    @property
    def profile(self) -> str:
        """Name."""

    @property
    def version(self) -> str:
        """Version of the package that they were published with."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the decoder's side."""


Choice = TypeVar("Choice", bound=Named)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What the manifest says of a file: SHA-256 in hexadecimal and size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Weights:
    """One installed model: the manifest's fields, checked, and the folder that its files are read from.

    digest: SHA-256 of the decoder's side, 32 bytes. live_channels: for each entropy row, how many latent channels are
    coded, 1..latent_channels. skip_threshold: 0..63. rounding_offsets: for each of 64 scale indices, what the encoder
    adds to a residual's magnitude before it cuts it to an integer, 0..0.5. known_answer: what the scale network gives
    for fixed input. mac_per_pixel: multiply-accumulates per pixel of each part.
    """

    profile: str
    version: str
    folder: Path
    digest: bytes
    known_answer: str
    skip_threshold: int
    rounding_offsets: tuple[float, ...]
    live_channels: tuple[int, ...]
    latent_channels: int
    hyper_channels: int
    files: Mapping[str, FileEntry]
    mac_per_pixel: Mapping[str, float]

    @property
    def rows(self) -> int:
        """Number of entropy rows."""
        return len(self.live_channels)

    @property
    def stream_digest(self) -> bytes:
        """The bytes of the digest that a stream carries."""
        return self.digest[:STREAM_DIGEST_BYTES]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises WeightsNotFoundError where it is missing, WeightsError where it is damaged."""
        path = self.folder / name
        entry = self.files.get(name)
        if entry is None:
            msg = f"the manifest of the weights in {self.folder} does not list {name}"
            raise WeightsError(msg)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            msg = f"the weights file {path} is missing"
            raise WeightsNotFoundError(msg) from error
        except OSError as error:
            msg = f"the weights file {path} cannot be read: {error.strerror}"
            raise WeightsError(msg) from error
        found = hashlib.sha256(data).hexdigest()
        if found != entry.sha256:
            msg = (
                f"the weights file {path} is damaged: it has {len(data)} bytes and SHA-256 {found[:16]}...,"
                f" the manifest says {entry.size} and {entry.sha256[:16]}..."
            )
            raise WeightsError(msg)
        return data

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays of an .npz file by name; raises as `read`, and WeightsError where it is no archive of arrays."""
        data = self.read(name)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        except (ValueError, OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            msg = f"the weights file {self.folder / name} is no archive of arrays: {error}"
            raise WeightsError(msg) from error


def decoder_digest(hashes: Mapping[str, str]) -> str:
    """The digest that streams carry, in hexadecimal: SHA-256 over the hashes, by file name, of DECODER_FILES."""
    return hashlib.sha256(b"".join(bytes.fromhex(hashes[name]) for name in DECODER_FILES)).hexdigest()


def search_folders(folder: str | os.PathLike[str] | None = None) -> list[Path]:
    """Where weights are looked for, first to last: only in `folder` where it is given.

    Raises WeightsNotFoundError where a folder that was named does not exist.
    """
    if folder is not None:
        return [_existing(Path(folder), "the folder of weights")]
    named = os.environ.get(WEIGHTS_VARIABLE)
    package = Path(__file__).resolve().parent
    return (
        [_existing(Path(named), f"{WEIGHTS_VARIABLE} names a folder of weights that"), package] if named else [package]
    )


def find_profiles(folder: str | os.PathLike[str] | None = None) -> list[Weights]:
    """All installed weights of pictures, in the order in which they are looked for.

    Raises as `search_folders`, and WeightsError.
    """
    found: list[Weights] = []
    for place in search_folders(folder):
        if (place / MANIFEST).is_file():
            if not holds_sequences(place):
                found.append(read_manifest(place))
            continue
        manifests = sorted(path for path in place.iterdir() if (path / MANIFEST).is_file())
        installed = [read_manifest(path) for path in manifests if not holds_sequences(path)]
        # Of several weights of one profile, the folder with the profile's own name is the one to encode with.
        found += sorted(installed, key=lambda weights: weights.folder.name != weights.profile)
    return found


def load(
    profile: str | None = None, folder: str | os.PathLike[str] | None = None, digest: bytes | None = None
) -> Weights:
    """The first installed weights of a profile, and of a digest (its first bytes) where one is given.

    Without a profile: where the first folder to look in is one profile's own, that one, otherwise 'fast'.
    Raises WeightsNotFoundError where the profile is not installed, WeightsMismatchError where only other digests of it
    are, WeightsError where a manifest is malformed. Files are verified when they are read.
    """
    return choose(find_profiles(folder), profile, folder, digest, "")


def choose(
    installed: Sequence[Choice],
    profile: str | None,
    folder: str | os.PathLike[str] | None,
    digest: bytes | None,
    kind: str,
) -> Choice:
    """What `load` returns of the weights that are installed; kind: what they are called in messages."""
    places = search_folders(folder)
    if profile is None:
        if installed and (places[0] / MANIFEST).is_file():
            return installed[0]
        profile = DEFAULT_PROFILE
    named = [weights for weights in installed if weights.profile == profile]
    if not named:
        names = ", ".join(sorted({weights.profile for weights in installed})) or "none"
        where = " and ".join(str(place) for place in places)
        wanted = f"'{profile}'" if digest is None else f"'{profile}' with digest {digest.hex()}"
        msg = f"weights {kind}{wanted} are not installed in {where} (there: {names})"
        raise WeightsNotFoundError(msg)
    for weights in named:
        if digest is None or weights.digest.startswith(digest):
            return weights
    others = ", ".join(f"{weights.digest[:STREAM_DIGEST_BYTES].hex()} (version {weights.version})" for weights in named)
    msg = f"weights {kind}'{profile}' with digest {digest.hex() if digest else ''} are not installed, only {others}"
    raise WeightsMismatchError(msg)


def _existing(path: Path, what: str) -> Path:
    if not path.is_dir():
        msg = f"{what} does not exist: {path}"
        raise WeightsNotFoundError(msg)
    return path


def holds_sequences(folder: Path) -> bool:
    """Whether a folder's manifest is that of weights of sequences."""
    values = read_json(folder / MANIFEST)
    return isinstance(values, dict) and values.get("kind") == SEQUENCE_KIND


def read_manifest(folder: Path) -> Weights:
    """The weights that a folder's manifest describes; WeightsError where it is malformed."""
    path = folder / MANIFEST
    values = read_json(path)
    try:
        return _parse_manifest(values, folder)
    except WeightsError as error:
        msg = f"{path}: {error}"
        raise WeightsError(msg) from error


def read_json(path: Path) -> Any:
    """The values of a manifest; WeightsError where it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} cannot be read: {error}"
        raise WeightsError(msg) from error


def check_format(values: Any) -> None:
    """Raise WeightsError for a manifest of another format."""
    version = _field(values, "format", int)
    if version != MANIFEST_FORMAT:
        msg = f"format is {version}, must be {MANIFEST_FORMAT}"
        raise WeightsError(msg)


def name_fields(values: Any) -> tuple[str, str]:
    """Profile and version of a manifest; WeightsError where they are malformed."""
    return _matching(values, "profile", _PROFILE), _field(values, "version", str)


def digest_field(values: Any) -> bytes:
    """The digest of a manifest; WeightsError where it is malformed."""
    return bytes.fromhex(_matching(values, "digest", _SHA256))


def _parse_manifest(values: Any, folder: Path) -> Weights:
    check_format(values)
    config = _field(values, "config", dict)
    latent = _number(config, "latent_channels", 1, 1024)
    live = _field(values, "live_channels", list)
    rows = _number(config, "rows", 1, 25601)
    if len(live) != rows:
        msg = f"live_channels has {len(live)} entries, must have one for each of {rows} rows"
        raise WeightsError(msg)
    files = _field(values, "files", dict)
    entries = {name: _parse_file(name, files) for name in files}
    missing = [name for name in _FILES if name not in entries]
    if missing:
        msg = f"files does not list {', '.join(missing)}"
        raise WeightsError(msg)
    digest = digest_field(values)
    computed = decoder_digest({name: entry.sha256 for name, entry in entries.items()})
    if digest.hex() != computed:
        msg = f"digest is {digest.hex()}, the hashes of the decoder's files give {computed}"
        raise WeightsError(msg)
    macs = _field(values, "mac_per_pixel", dict)
    profile, version_name = name_fields(values)
    return Weights(
        profile=profile,
        version=version_name,
        folder=folder,
        digest=digest,
        known_answer=_matching(values, "known_answer", _SHA256),
        skip_threshold=_number(values, "skip_threshold", 0, 63),
        rounding_offsets=_offsets(values),
        live_channels=tuple(_number({"live_channels": count}, "live_channels", 1, latent) for count in live),
        latent_channels=latent,
        hyper_channels=_number(config, "hyper_channels", 1, 1024),
        files=entries,
        mac_per_pixel={name: float(_field(macs, name, int, float)) for name in macs},
    )


def _offsets(values: Any) -> tuple[float, ...]:
    offsets = _field(values, "rounding_offsets", list)
    if len(offsets) != SCALE_LEVELS:
        msg = f"rounding_offsets has {len(offsets)} entries, must have one for each of {SCALE_LEVELS} scale indices"
        raise WeightsError(msg)
    for offset in offsets:
        if not isinstance(offset, int | float) or isinstance(offset, bool) or not 0 <= offset <= 0.5:
            msg = f"rounding_offsets has {offset!r:.80}, must be numbers in 0..0.5"
            raise WeightsError(msg)
    return tuple(map(float, offsets))


def _parse_file(name: str, files: dict[str, Any]) -> FileEntry:
    if not _FILE_NAME.match(name):
        msg = f"file name is {name!r}, must be letters, digits, '.', '_' and '-'"
        raise WeightsError(msg)
    entry = _field(files, name, dict)
    return FileEntry(_matching(entry, "sha256", _SHA256), _number(entry, "bytes", 0, 1 << 40))


def _field(values: Any, name: str, *kinds: type[Value]) -> Value:
    value = values.get(name) if isinstance(values, dict) else None
    if not isinstance(value, kinds) or isinstance(value, bool):
        legal = " or ".join(kind.__name__ for kind in kinds)
        msg = f"{name} is {value!r:.80}, must be of type {legal}"
        raise WeightsError(msg)
    return value


def _number(values: dict[str, Any], name: str, low: int, high: int) -> int:
    value = _field(values, name, int)
    if not low <= value <= high:
        msg = f"{name} is {value}, must be {low}..{high}"
        raise WeightsError(msg)
    return value


def _matching(values: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = _field(values, name, str)
    if not pattern.match(value):
        msg = f"{name} is {value!r:.80}, must match {pattern.pattern}"
        raise WeightsError(msg)
    return value
