"""Published weights of sequences: one set for intra frames and one for predicted frames, under one name and digest.

Their folder holds manifest.json and two ordinary folders of weights, `intra` and `predicted`; the latter's entropy.npz
has the tables of motion too. They are looked for where pictures' weights are (nacre.weights.store).
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from nacre.bitstream.errors import WeightsError, WeightsNotFoundError
from nacre.weights import store
from nacre.weights.store import MANIFEST, Weights

INTRA = "intra"
PREDICTED = "predicted"


@dataclass(frozen=True, slots=True)
class SequenceWeights:
    """Installed weights of sequences. digest: of the decoder's side, 32 bytes, see `sequence_digest`."""

    profile: str
    version: str
    folder: Path
    digest: bytes
    intra: Weights
    predicted: Weights

    @property
    def stream_digest(self) -> bytes:
        """The bytes of the digest that a stream carries."""
        return self.digest[: store.STREAM_DIGEST_BYTES]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return self.intra.size + self.predicted.size


def sequence_digest(intra: bytes, predicted: bytes) -> bytes:
    """The digest of a sequence's weights: SHA-256 over the digests of its two parts."""
    return hashlib.sha256(intra + predicted).digest()


def find_sequence_profiles(folder: str | os.PathLike[str] | None = None) -> list[SequenceWeights]:
    """All installed weights of sequences, in the order in which they are looked for; raises as `find_profiles`."""
    found: list[SequenceWeights] = []
    for place in store.search_folders(folder):
        if (place / MANIFEST).is_file():
            folders = [place]
        else:
            folders = sorted(path for path in place.iterdir() if (path / MANIFEST).is_file())
        found += [_read(path) for path in folders if store.holds_sequences(path)]
    return found


def load_sequence(
    profile: str | None = None, folder: str | os.PathLike[str] | None = None, digest: bytes | None = None
) -> SequenceWeights:
    """The first installed weights of sequences of a profile, by default 'fast', and of a digest where one is given.

    Raises as `nacre.weights.store.load`.
    """
    return store.choose(find_sequence_profiles(folder), profile, folder, digest, "of clips ")


def _read(folder: Path) -> SequenceWeights:
    path = folder / MANIFEST
    values = store.read_json(path)
    for part in (INTRA, PREDICTED):
        if not (folder / part / MANIFEST).is_file():
            msg = f"the weights of clips in {folder} lack their part {part}"
            raise WeightsNotFoundError(msg)
    try:
        store.check_format(values)
        intra, predicted = (store.read_manifest(folder / part) for part in (INTRA, PREDICTED))
        if intra.skip_threshold != predicted.skip_threshold:
            msg = (
                f"the skip thresholds of {INTRA} and {PREDICTED} are {intra.skip_threshold} and"
                f" {predicted.skip_threshold}, must be the same"
            )
            raise WeightsError(msg)
        digest = store.digest_field(values)
        computed = sequence_digest(intra.digest, predicted.digest)
        if digest != computed:
            msg = f"digest is {digest.hex()}, those of its parts give {computed.hex()}"
            raise WeightsError(msg)
        profile, version = store.name_fields(values)
    except WeightsError as error:
        msg = f"{path}: {error}"
        raise WeightsError(msg) from error
    return SequenceWeights(profile, version, folder, digest, intra, predicted)


def manifest(profile: str, version: str, intra: bytes, predicted: bytes, training: dict[str, object]) -> str:
    """The text of the manifest of two sets of weights, given by their digests."""
    values = {
        "format": store.MANIFEST_FORMAT,
        "kind": store.SEQUENCE_KIND,
        "profile": profile,
        "version": version,
        "digest": sequence_digest(intra, predicted).hex(),
        "training": training,
    }
    return json.dumps(values, indent=1) + "\n"
