"""`import nacre` is light, and everything public is found when it is first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nacre

HEAVY = ("numpy", "torch", "onnxruntime", "PIL", "av", "constriction", "compressai")


def imported_by(code: str) -> set[str]:
    report = f"{code}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", report], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_import_brings_nothing_heavy_but_pillow_to_register_the_format() -> None:
    code = "import nacre\nimport nacre.bitstream\nimport nacre.cli\nnacre.cli.build_parser()"
    assert imported_by(code) == {"PIL"}


def test_coding_pictures_needs_neither_torch_nor_av() -> None:
    assert imported_by("import nacre\nnacre.encode, nacre.ImageCodec") & {"torch", "compressai", "av"} == set()


def test_all_public_names_exist() -> None:
    for name in nacre.__all__:
        assert getattr(nacre, name) is not None
    assert set(nacre.__all__) <= set(dir(nacre))
    assert nacre.weights.DEFAULT_PROFILE == "fast"


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sing'"):
        nacre.sing  # noqa: B018


def test_folder_under_its_own_name_is_refused() -> None:
    code = "import sys, pathlib, nacre\nfolder = pathlib.Path(nacre.__file__).parent\n"
    code += "spec = __import__('importlib.util').util.spec_from_file_location('codec', folder / '__init__.py')\n"
    code += "spec.loader.exec_module(__import__('importlib.util').util.module_from_spec(spec))"
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert run.returncode == 1
    assert "installed as the package 'nacre'" in run.stderr
