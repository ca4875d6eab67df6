"""The package as it is built: what it lists, what it refuses, what it says of itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import nacre
from nacre.weights.sequence import INTRA, PREDICTED
from nacre.weights.store import DECODER_FILES

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_folder_with_code_is_a_listed_package() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"}
    mapping = PROJECT["tool"]["setuptools"]["package-dir"]
    assert set(mapping.values()) == folders
    assert set(mapping) == set(PROJECT["tool"]["setuptools"]["packages"])
    assert {name.rpartition(".")[2] for name in mapping} == (folders - {"codec"}) | {"nacre"}
    # a folder below a package would be left out of the wheel without a word
    assert not [path for folder in folders for path in (ROOT / folder).glob("*/**/*.py")]


def test_the_checkout_is_no_package() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import codec"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "installed as the package 'nacre'" in result.stderr


def test_the_run_time_needs_no_pytorch() -> None:
    plain = [line for line in requires("nacre") or [] if "extra ==" not in line]
    names = {line.split(">")[0].split("<")[0].split(";")[0].strip() for line in plain}
    assert names == {"numpy", "onnxruntime", "constriction", "pillow", "av", "numba"}


def packaged_data() -> set[str]:
    """What package-data takes into a wheel, as paths in the checkout."""
    setuptools = PROJECT["tool"]["setuptools"]
    assert setuptools["include-package-data"] is False  # or MANIFEST.in would add to it
    return {
        path.relative_to(ROOT).as_posix()
        for package, patterns in setuptools["package-data"].items()
        for pattern in patterns
        for path in (ROOT / setuptools["package-dir"][package]).glob(pattern)
        if path.is_file()
    }


def test_wheels_hold_what_is_needed_at_run_time() -> None:
    found = packaged_data()
    assert {"codec/py.typed", "bitstream/SPEC.md"} <= found
    assert not [name for name in found if "__pycache__" in name or name.endswith((".pyc", ".py"))]
    published = {path.parent for path in (ROOT / "weights").glob("*/manifest.json")}
    sequences = {folder for folder in published if "kind" in json.loads((folder / "manifest.json").read_text())}
    for folder in (published - sequences) | {folder / part for folder in sequences for part in (INTRA, PREDICTED)}:
        names = {"manifest.json", *json.loads((folder / "manifest.json").read_text())["files"]}
        assert len(names & {"analysis.onnx", "scale_decoder.onnx", *DECODER_FILES}) == 5
        assert {(folder / name).relative_to(ROOT).as_posix() for name in names} <= found
    assert {(folder / "manifest.json").relative_to(ROOT).as_posix() for folder in sequences} <= found
    folders = {path for path in (ROOT / "weights").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == published  # a folder without a manifest is of no use to anyone


def test_version_is_in_the_changelog() -> None:
    assert f"## {nacre.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_installed_data_is_there() -> None:
    package = Path(nacre.__file__).parent
    assert (package / "py.typed").exists()
    assert (Path(nacre.bitstream.__file__).parent / "SPEC.md").exists()
