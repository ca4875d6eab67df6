"""Finding and verifying published weights of sequences."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_VIDEO

import nacre
from nacre.entropy.motion import MOTION_TABLES
from nacre.entropy.tables import TableSet
from nacre.weights import find_profiles, load
from nacre.weights.sequence import find_sequence_profiles, load_sequence


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY_VIDEO, tmp_path / "weights" / "tiny-video"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_own_folder_and_folder_of_folders(copy: Path) -> None:
    direct, nested = load_sequence(folder=copy), load_sequence("tiny", copy.parent)
    assert direct == nested
    assert (direct.profile, direct.intra.profile, direct.predicted.profile) == ("tiny", "intra", "predicted")
    assert direct.digest == hashlib.sha256(direct.intra.digest + direct.predicted.digest).digest()
    assert direct.stream_digest == direct.digest[:8]
    assert direct.size == sum(path.stat().st_size for path in copy.glob("*/*") if path.name != "manifest.json")


def test_every_file_is_read_as_published() -> None:
    weights = load_sequence(folder=TINY_VIDEO)
    for part in (weights.intra, weights.predicted):
        assert {name: len(part.read(name)) for name in part.files} == {name: e.size for name, e in part.files.items()}
    kinds = [
        {name.partition(".")[0] for name in part.arrays("entropy.npz")} for part in (weights.intra, weights.predicted)
    ]
    assert kinds == [{"scale", "y", "z"}, {"scale", "y", "z", "m"}]
    arrays = weights.predicted.arrays("entropy.npz").items()
    motion = TableSet.from_arrays({name[2:]: array for name, array in arrays if name.startswith("m.")})
    assert len(motion) == MOTION_TABLES


def test_pictures_and_sequences_do_not_meet(copy: Path, tiny_folder: Path) -> None:
    shutil.copytree(tiny_folder, copy.parent / "tiny")
    assert [weights.folder.name for weights in find_profiles(copy.parent)] == ["tiny"]
    assert [weights.folder.name for weights in find_sequence_profiles(copy.parent)] == ["tiny-video"]
    assert load("tiny", copy.parent).digest != load_sequence("tiny", copy.parent).digest
    assert find_profiles(copy) == []
    assert find_sequence_profiles(tiny_folder) == []
    with pytest.raises(nacre.WeightsNotFoundError, match=r"weights 'fast' are not installed in .*\(there: none\)"):
        load(folder=copy)
    with pytest.raises(nacre.WeightsNotFoundError, match=r"weights of clips 'fast' are not installed in .*: none\)"):
        load_sequence(folder=tiny_folder)


def test_environment_is_searched(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NACRE_WEIGHTS", str(copy.parent))
    assert load_sequence("tiny").folder == copy
    assert find_sequence_profiles()[0].folder == copy
    with pytest.raises(nacre.WeightsNotFoundError, match="'other' are not installed"):
        load_sequence("other")


def test_digest_selects(copy: Path) -> None:
    weights = load_sequence(folder=copy)
    assert load_sequence("tiny", copy.parent, weights.stream_digest) == weights
    with pytest.raises(nacre.WeightsMismatchError, match="digest 0000000000000000 are not installed, only"):
        load_sequence("tiny", copy.parent, bytes(8))


@pytest.mark.parametrize("part", ["intra", "predicted"])
def test_missing_part(copy: Path, part: str) -> None:
    shutil.rmtree(copy / part)
    with pytest.raises(nacre.WeightsNotFoundError, match=f"lack their part {part}"):
        load_sequence(folder=copy)


def test_damaged_file(copy: Path) -> None:
    path = copy / "predicted" / "synthesis.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(nacre.WeightsError, match=r"synthesis\.onnx is damaged"):
        load_sequence(folder=copy).predicted.read("synthesis.onnx")


def test_skip_thresholds_must_agree(copy: Path) -> None:
    edit(copy / "intra", lambda manifest: manifest.update(skip_threshold=7))
    with pytest.raises(nacre.WeightsError, match="the skip thresholds of intra and predicted are 7 and 4, must be the"):
        load_sequence(folder=copy)


MANIFESTS: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    (".", lambda m: m.update(format=2), "format is 2, must be 1"),
    (".", lambda m: m.pop("profile"), "profile is None"),
    (".", lambda m: m.update(version=1), "version is 1"),
    (".", lambda m: m.update(digest="00" * 32), "digest is 0000.*, those of its parts give"),
    (".", lambda m: m.update(digest="short"), "digest is 'short', must match"),
    ("intra", lambda m: m.update(digest="00" * 32), "the hashes of the decoder's files give"),
    ("predicted", lambda m: m["live_channels"].pop(), "must have one for each"),
]


@pytest.mark.parametrize(("part", "change", "text"), MANIFESTS, ids=[text for _, _, text in MANIFESTS])
def test_malformed_manifests(copy: Path, part: str, change: Callable[[dict[str, Any]], object], text: str) -> None:
    edit(copy / part, change)
    with pytest.raises(nacre.WeightsError, match=text):
        load_sequence(folder=copy)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_unreadable_manifest(copy: Path, content: bytes) -> None:
    (copy / "manifest.json").write_bytes(content)
    for find in (find_profiles, find_sequence_profiles):
        with pytest.raises(nacre.WeightsError, match=r"manifest\.json cannot be read"):
            find(copy)
