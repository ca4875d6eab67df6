"""Finding and verifying published weights."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nacre
from nacre.weights import find_profiles, load, search_folders, store


@pytest.fixture
def copy(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "weights" / "tiny"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def with_new_file(folder: Path, name: str, data: bytes) -> None:
    """Replace a file and make manifest and digest right again."""
    (folder / name).write_bytes(data)

    def change(manifest: dict[str, Any]) -> None:
        files = manifest["files"]
        files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        names = ("context.onnx", "entropy.npz", "synthesis.onnx")
        hashes = b"".join(bytes.fromhex(files[part]["sha256"]) for part in names)
        manifest["digest"] = hashlib.sha256(hashes).hexdigest()

    edit(folder, change)


def test_profile_folder_and_folder_of_profiles(copy: Path) -> None:
    direct, nested = load(folder=copy), load("tiny", copy.parent)
    assert direct == nested
    assert direct.profile == "tiny"
    assert direct.rows == len(direct.live_channels)
    assert direct.stream_digest == direct.digest[:8]
    assert direct.size == sum(entry.size for entry in direct.files.values())


def test_every_file_is_read_as_published(tiny_folder: Path) -> None:
    weights = load(folder=tiny_folder)
    for name, entry in weights.files.items():
        assert len(weights.read(name)) == entry.size
    assert {name.split(".")[0] for name in weights.arrays("entropy.npz")} == {"scale", "y", "z"}


def test_environment_is_searched_first(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NACRE_WEIGHTS", str(copy.parent))
    assert search_folders()[0] == copy.parent
    assert load("tiny").folder == copy
    assert find_profiles()[0].folder == copy
    monkeypatch.setenv("NACRE_WEIGHTS", str(copy))
    assert load().folder == copy
    monkeypatch.setenv("NACRE_WEIGHTS", str(copy / "nowhere"))
    with pytest.raises(nacre.WeightsNotFoundError, match="NACRE_WEIGHTS names a folder of weights that does not exist"):
        load()


def test_named_folder_is_the_only_one(copy: Path) -> None:
    assert search_folders(copy) == [copy]
    with pytest.raises(nacre.WeightsNotFoundError, match=r"'fast' are not installed in .*weights \(there: tiny\)"):
        load("fast", copy.parent)
    with pytest.raises(nacre.WeightsNotFoundError, match="does not exist"):
        load("fast", copy / "nowhere")


def test_digest_selects_among_versions(copy: Path) -> None:
    older = copy.with_name("a-tiny-of-yesterday")
    shutil.copytree(copy, older)
    with_new_file(older, "synthesis.onnx", b"another synthesis")
    new, old = load("tiny", copy.parent), load(folder=older)
    assert new.folder == copy  # the folder that is called like the profile comes first
    assert load("tiny", copy.parent, old.stream_digest).folder == older
    assert load("tiny", copy.parent, new.stream_digest).folder == copy
    with pytest.raises(nacre.WeightsMismatchError, match="digest 0000000000000000 are not installed, only"):
        load("tiny", copy.parent, bytes(8))


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"x" + data[1:]])
def test_damaged_files(copy: Path, damage: Callable[[bytes], bytes]) -> None:
    path = copy / "synthesis.onnx"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(nacre.WeightsError, match=r"synthesis\.onnx is damaged"):
        load(folder=copy).read("synthesis.onnx")


def test_missing_files(copy: Path) -> None:
    (copy / "analysis.onnx").unlink()
    weights = load(folder=copy)
    with pytest.raises(nacre.WeightsNotFoundError, match=r"analysis\.onnx is missing"):
        weights.read("analysis.onnx")
    with pytest.raises(nacre.WeightsError, match=r"does not list other\.onnx"):
        weights.read("other.onnx")


def test_pickles_are_not_loaded(copy: Path, tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, z=np.array([{"a": 1}], dtype=object))
    with_new_file(copy, "entropy.npz", path.read_bytes())
    with pytest.raises(nacre.WeightsError, match="no archive of arrays"):
        load(folder=copy).arrays("entropy.npz")
    with_new_file(copy, "entropy.npz", b"no archive")
    with pytest.raises(nacre.WeightsError, match="no archive of arrays"):
        load(folder=copy).arrays("entropy.npz")


MANIFESTS: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda m: m.update(format=2), "format is 2, must be 1"),
    (lambda m: m.pop("profile"), "profile is None"),
    (lambda m: m.update(profile="UPPER"), "profile is 'UPPER', must match"),
    (lambda m: m.update(digest="00" * 32), "the hashes of the decoder's files give"),
    (lambda m: m.update(known_answer=7), "known_answer is 7"),
    (lambda m: m.update(skip_threshold=64), r"skip_threshold is 64, must be 0\.\.63"),
    (lambda m: m.update(skip_threshold=True), "skip_threshold is True"),
    (lambda m: m["rounding_offsets"].pop(), "rounding_offsets has 63 entries"),
    (lambda m: m["rounding_offsets"].__setitem__(0, 0.6), r"rounding_offsets has 0\.6, must be numbers in 0\.\.0\.5"),
    (lambda m: m["live_channels"].pop(), "must have one for each"),
    (lambda m: m["live_channels"].__setitem__(0, 0), "live_channels is 0"),
    (lambda m: m["files"].pop("context.onnx"), r"files does not list context\.onnx"),
    (lambda m: m["files"].update({"../x": {}}), "file name is '../x'"),
    (lambda m: m["files"]["context.onnx"].update(bytes=-1), "bytes is -1"),
    (lambda m: m["config"].update(latent_channels="many"), "latent_channels is 'many'"),
    (lambda m: m["mac_per_pixel"].update(analysis="much"), "analysis is 'much'"),
]


@pytest.mark.parametrize(("change", "text"), MANIFESTS, ids=[text for _, text in MANIFESTS])
def test_malformed_manifests(copy: Path, change: Callable[[dict[str, Any]], object], text: str) -> None:
    edit(copy, change)
    with pytest.raises(nacre.WeightsError, match=text):
        load(folder=copy)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_manifests_that_are_no_objects(copy: Path, content: bytes) -> None:
    (copy / "manifest.json").write_bytes(content)
    with pytest.raises(nacre.WeightsError, match=r"manifest\.json"):
        load(folder=copy)


def test_parts_that_do_not_fit_each_other(copy: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["config"]["hyper_channels"] += 1

    edit(copy, change)
    with pytest.raises(nacre.WeightsError, match="channels in and out of the scale network"):
        nacre.ImageCodec(weights=copy).encode(np.zeros((8, 8), np.uint8))


def test_package_folder_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NACRE_WEIGHTS", raising=False)
    assert search_folders() == [Path(store.__file__).resolve().parent]
