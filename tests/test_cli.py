"""The command line: every sub-command through main(argv) on one picture, and bad input of every kind."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, TINY_VIDEO, make_picture
from PIL import Image

import nacre
from nacre.cli import main

pytestmark = pytest.mark.usefixtures("tiny_weights")

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(make_picture(60, 90)).save(path)
    return path


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    path = tmp_path / "photo.ncr"
    path.write_bytes(nacre.encode(make_picture(60, 90), threads=1))
    return path


@pytest.fixture
def fails(capfd: Capture, tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must fail with one line on stderr and leave the folder as it was."""

    def run(*arguments: object, code: int = 1) -> str:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        capfd.readouterr()
        assert main([str(argument) for argument in arguments]) == code
        output, error = capfd.readouterr()
        assert output == ""
        assert error.count("\n") == 1
        assert error.startswith("nacre: ")
        assert "Traceback" not in error
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        return error

    return run


def test_encode_and_decode(photo: Path, tmp_path: Path, capfd: Capture) -> None:
    coded, decoded = tmp_path / "out.ncr", tmp_path / "out.png"
    assert main(["encode", str(photo), str(coded), "-q", "85.5", "--threads", "1"]) == 0
    assert coded.read_bytes() == nacre.encode(photo, 85.5, threads=1)
    assert main(["decode", str(coded), str(decoded)]) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(decoded)), nacre.decode_array(coded))
    output, error = capfd.readouterr()
    assert f"{coded}: 90 x 60, {coded.stat().st_size} bytes" in output
    assert f"{decoded}: 90 x 60 RGB, PNG" in output
    assert error == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.ncr", "out.png", "photo.png"]


def test_default_quality_is_60(photo: Path, tmp_path: Path) -> None:
    assert main(["encode", str(photo), str(tmp_path / "out.ncr"), "--quiet"]) == 0
    assert nacre.inspect(tmp_path / "out.ncr").quality == 60.0


def test_quiet_and_verbose_stand_anywhere(photo: Path, tmp_path: Path, capfd: Capture) -> None:
    target = str(tmp_path / "out.ncr")
    for arguments in (["--quiet", "encode", str(photo), target], ["encode", "--quiet", str(photo), target]):
        assert main(arguments) == 0
        assert capfd.readouterr() == ("", "")
    for arguments in (["-v", "encode", str(photo), target], ["encode", str(photo), target, "--verbose"]):
        assert main(arguments) == 0
        assert ", entropy networks " in capfd.readouterr().out


def test_format_overrules_the_ending(stream: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    assert main(["decode", str(stream), str(target), "--format", "webp"]) == 0
    with Image.open(target) as image:
        assert image.format == "WEBP"


def test_standard_input_and_output(photo: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    assert main(["encode", "-", "-", "--threads", "1"]) == 0
    coded, error = capfdbinary.readouterr()
    assert coded == nacre.encode(photo, threads=1)
    assert error == b""
    for form, expected in ((None, "PNG"), ("tiff", "TIFF")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(coded)))
        assert main(["decode", "-", "-", *(["--format", form] if form else [])]) == 0
        picture, error = capfdbinary.readouterr()
        with Image.open(io.BytesIO(picture)) as image:
            assert image.format == expected
            np.testing.assert_array_equal(np.asarray(image), nacre.decode_array(coded))


def test_info(stream: Path, capfd: Capture) -> None:
    assert main(["info", str(stream)]) == 0
    output = capfd.readouterr().out
    words = ("90 x 60 RGB, 8 bits", "quality  60", "tiny", "PICTURE_HEADER", "TILE", "bpp")
    for text in (*words, "tiles    1\n", "alpha    none", "metadata none"):
        assert text in output
    assert main(["info", "--json", str(stream)]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found == nacre.inspect(stream).to_dict()
    assert found["bytes"] == stream.stat().st_size == sum(part["bytes"] for part in found["parts"])
    assert found["bits_per_pixel"] == found["bytes"] * 8 / 5400
    assert (found["width"], found["height"], found["chroma"], found["quality"]) == (90, 60, "rgb", 60.0)


def test_info_of_alpha_metadata_and_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    monkeypatch.setattr("nacre.tiling.ONE_TILE_PIXELS", 4096)
    monkeypatch.setattr("nacre.tiling.TILE_SIZE", 64)
    picture = np.dstack([make_picture(60, 90), np.arange(5400, dtype=np.uint8).reshape(60, 90)])
    exif = Image.Exif()
    exif[0x010F] = "maker"
    Image.fromarray(picture).save(tmp_path / "photo.png", exif=exif)
    target = tmp_path / "out.ncr"
    assert main(["encode", str(tmp_path / "photo.png"), str(target), "--quiet"]) == 0
    assert main(["info", str(target)]) == 0
    output = capfd.readouterr().out
    found = nacre.inspect(target)
    assert "RGB with alpha" in output
    assert "tiles    2 of 64 x 64, margin 16" in output
    assert f"alpha    straight, {found.alpha_size} bytes" in output
    assert f"metadata EXIF {len(exif.tobytes()) - 6} bytes" in output


def test_info_needs_no_weights(stream: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Capture) -> None:
    monkeypatch.setenv("NACRE_WEIGHTS", str(tmp_path / "nowhere"))
    assert main(["info", str(stream), "--json"]) == 0


def test_verify(stream: Path, capfd: Capture) -> None:
    before = sorted(stream.parent.iterdir())
    assert main(["verify", str(stream)]) == 0
    assert ": good, 3 units" in capfd.readouterr().out
    assert main(["verify", str(stream), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["ok"] is True
    assert sorted(stream.parent.iterdir()) == before
    stream.write_bytes(stream.read_bytes()[:-1])
    assert main(["verify", str(stream), "--json"]) == 1
    output, error = capfd.readouterr()
    assert json.loads(output)["error"] == "TruncatedError"
    assert error.count("\n") == 1


def test_models(capfd: Capture, tiny_weights: Path) -> None:
    assert main(["models", "--weights", str(tiny_weights)]) == 0
    output = capfd.readouterr().out
    for text in ("tiny 0.1.0", "digest", "MAC/pixel", "synthesis"):
        assert text in output
    assert main(["models", "--weights", str(tiny_weights), "--json"]) == 0
    (found,) = json.loads(capfd.readouterr().out)
    assert set(found) == {"kind", "profile", "version", "digest", "folder", "bytes", "mac_per_pixel"}
    assert found["kind"] == "pictures"


def test_models_of_clips(capfd: Capture) -> None:
    assert main(["models", "--weights", str(TINY_VIDEO)]) == 0
    output = capfd.readouterr().out
    for text in ("tiny 0.1.0, for clips", "12 files", "in intra frames", "in predicted frames", "condition"):
        assert text in output
    assert main(["models", "--weights", str(TINY_VIDEO.parent), "--json"]) == 0
    pictures, clips, others = json.loads(capfd.readouterr().out)
    assert [pictures["kind"], clips["kind"], others["kind"]] == ["pictures", "clips", "clips"]
    assert clips["digest"] != others["digest"]
    assert set(clips) == set(pictures)
    assert {kind: sum(counts.values()) > 0 for kind, counts in clips["mac_per_pixel"].items()} == {
        "intra": True,
        "predicted": True,
    }


def test_no_models(capfd: Capture, tmp_path: Path) -> None:
    assert main(["models", "--weights", str(tmp_path)]) == 0
    assert "no weights are installed" in capfd.readouterr().out


def test_demo(photo: Path, tmp_path: Path, capfd: Capture) -> None:
    out = tmp_path / "demo"
    assert main(["demo", str(photo), "--out", str(out), "--threads", "1"]) == 0
    output = capfd.readouterr().out
    assert all(name in output for name in ("nacre", "JPEG", "WEBP"))
    assert {path.name for path in out.iterdir()} == {"original.png", "picture.ncr", "decoded.png"}


def test_demo_draws_its_own_scene(tmp_path: Path, capfd: Capture) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo"), "--threads", "1"]) == 0
    with Image.open(tmp_path / "demo" / "decoded.png") as image:
        assert image.size == (768, 512)


def test_no_clobber(photo: Path, stream: Path, fails: Callable[..., str]) -> None:
    assert "exists already" in fails("encode", photo, stream, "--no-clobber")
    assert "exists already" in fails("decode", stream, photo, "--no-clobber")


def test_version_and_help(capfd: Capture) -> None:
    for arguments in (["--version"], ["encode", "--version"], ["models", "--version"]):
        assert main(arguments) == 0
        assert capfd.readouterr().out == f"nacre {nacre.__version__}\n"
    assert main(["--help"]) == 0
    output = capfd.readouterr().out
    assert all(name in output for name in ("encode", "decode", "info", "verify", "models", "demo", "evaluate"))


def test_pictures_that_cannot_be_encoded(tmp_path: Path, fails: Callable[..., str]) -> None:
    target = tmp_path / "out.ncr"
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.png").write_text("no picture")
    animation = [Image.new("L", (9, 9), value) for value in (0, 200)]
    animation[0].save(tmp_path / "moving.gif", save_all=True, append_images=animation[1:])
    Image.new("CMYK", (9, 9)).save(tmp_path / "ink.jpg")
    Image.new("L", (65536, 1)).save(tmp_path / "wide.png")
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    whole = io.BytesIO()
    Image.fromarray(make_picture(60, 90)).save(whole, "PNG")
    (tmp_path / "cut.png").write_bytes(whole.getvalue()[:-3000])
    for name, text in (
        ("missing.png", "No such file"),
        ("empty.png", "is empty"),
        ("notes.png", "is no picture"),
        ("moving.gif", "animation of 2 frames"),
        ("ink.jpg", "CMYK"),
        ("wide.png", "width is 65536 pixels"),
        ("film.mp4", "cannot be read as a clip"),
        ("cut.png", "damaged or unreadable"),
    ):
        error = fails("encode", tmp_path / name, target)
        assert str(tmp_path / name) in error
        assert text in error


def test_streams_that_cannot_be_decoded(stream: Path, photo: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    data = stream.read_bytes()
    bad = tmp_path / "bad.ncr"
    flipped = bytearray(data)
    flipped[80] ^= 1
    for content, text in (
        (b"", "is empty"),
        (data[:5], "inside signature"),
        (data[:30], "is cut off"),
        (data[:-1], "the file is incomplete: copy or download it again"),
        (bytes(flipped), "the file is damaged: copy or download it again"),
        (data[:8] + b"\x09" + data[9:], "install a newer nacre"),
        (photo.read_bytes(), "this is no nacre stream"),
        (data + b"more", "behind its END"),
    ):
        bad.write_bytes(content)
        for command in (["decode", bad, tmp_path / "out.png"], ["verify", bad], ["info", bad]):
            error = fails(*command)
            assert str(bad) in error
            assert text in error
    assert "No such file" in fails("decode", tmp_path / "missing.ncr", tmp_path / "out.png")
    assert "Is a directory" in fails("decode", tmp_path, tmp_path / "out.png")


def test_targets_that_cannot_be_written(stream: Path, photo: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    assert "does not exist" in fails("encode", photo, tmp_path / "nowhere" / "out.ncr")
    assert "does not exist" in fails("decode", stream, tmp_path / "nowhere" / "out.png")
    assert "it is a folder" in fails("encode", photo, tmp_path)
    assert "the name's ending is '.xyz'" in fails("decode", stream, tmp_path / "out.xyz")
    assert "format is 'xyz'" in fails("decode", stream, tmp_path / "out.png", "--format", "xyz")
    assert "cannot be written as video" in fails("decode", stream, tmp_path / "out.mkv")
    assert "that of video" in fails("encode", photo, tmp_path / "out.mp4")
    assert "another picture format" in fails("encode", photo, tmp_path / "out.png")
    if sys.platform.startswith("linux"):
        for form in ("png", "jpg", "webp", "tiff", "bmp", "tga", "ppm"):
            assert "No space left" in fails("decode", stream, "/dev/full", "--format", form)


def test_failing_write_leaves_nothing(
    stream: Path, tmp_path: Path, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(image: Image.Image, file: Any, **_: Any) -> None:
        file.write(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_the_disk)
    target = tmp_path / "out.png"
    target.write_bytes(b"what was there")
    assert "No space left" in fails("decode", stream, target)
    assert target.read_bytes() == b"what was there"


def test_limit(stream: Path, photo: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    for command in (
        ["decode", stream, tmp_path / "out.png"],
        ["encode", photo, tmp_path / "out.ncr"],
        ["verify", stream],
    ):
        error = fails(*command, "--max-pixels", 5399)
        assert "90 x 60 = 5400 pixels" in error
        assert "--max-pixels" in error


def test_weights_that_are_missing_or_damaged(
    photo: Path, stream: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    empty = tmp_path / "none"
    empty.mkdir()
    assert "'fast' are not installed" in fails("encode", photo, tmp_path / "out.ncr", "--weights", empty)
    assert "'slow' are not installed" in fails("encode", photo, tmp_path / "out.ncr", "--profile", "slow")
    error = fails("decode", stream, tmp_path / "out.png", "--weights", empty)
    assert "'tiny' with digest" in error
    assert "`nacre models` lists" in error
    damaged = Path(shutil.copytree(TINY, tmp_path / "damaged"))
    (damaged / "synthesis.onnx").write_bytes(b"rubbish")
    assert "synthesis.onnx is damaged" in fails("decode", stream, tmp_path / "out.png", "--weights", damaged)
    (damaged / "entropy.npz").unlink()
    assert "entropy.npz is missing" in fails("decode", stream, tmp_path / "out.png", "--weights", damaged)
    (damaged / "manifest.json").write_text("{")
    assert "manifest.json cannot be read" in fails("models", "--weights", damaged)


def test_failures_of_the_runtime(
    photo: Path, tmp_path: Path, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "ONNX Runtime cannot be imported" in fails("encode", photo, tmp_path / "out.ncr", "--quiet")


def test_warnings_are_lines(photo: Path, tmp_path: Path, capfd: Capture) -> None:
    Image.fromarray(make_picture(9, 9, 1).astype(np.uint16) * 257).save(photo)
    assert main(["encode", str(photo), str(tmp_path / "out.ncr")]) == 0
    assert capfd.readouterr().err == "nacre: warning: 16-bit samples are reduced to 8 bits\n"
    assert main(["encode", str(photo), str(tmp_path / "out.ncr"), "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


def test_names_that_no_terminal_shows(tmp_path: Path, fails: Callable[..., str]) -> None:
    assert "missing" in fails("decode", tmp_path / "missing\n\udcff.ncr", tmp_path / "out.png")


def test_tools_are_handed_their_arguments(monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    seen: list[list[str]] = []

    class Tool:
        @staticmethod
        def main(arguments: list[str]) -> int:
            seen.append(arguments)
            return 3

    def without_scipy(name: str) -> None:
        raise ModuleNotFoundError(name="scipy")

    monkeypatch.setattr("nacre.cli.import_module", lambda name: Tool)
    assert main(["-v", "evaluate", "--data", "x", "-q", "5"]) == 3
    assert seen == [["-v", "--data", "x", "-q", "5"]]
    monkeypatch.setattr("nacre.cli.import_module", without_scipy)
    assert main(["evaluate"]) == 1
    assert "nacre evaluate needs scipy, which pip install 'nacre[eval]' brings" in capfd.readouterr().err


def test_tools_that_are_not_installed_are_no_commands(monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    monkeypatch.setattr("nacre.cli.find_spec", lambda name: None)
    assert main(["evaluate", "x"]) == 2
    assert "invalid choice: 'evaluate'" in capfd.readouterr().err


def test_signals_inside_a_command(photo: Path, tmp_path: Path, fails: Callable[..., str], monkeypatch: Any) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        monkeypatch.setattr(nacre.ImageCodec, "encode_to", lambda *_, number=number, **__: os.kill(os.getpid(), number))
        fails("encode", photo, tmp_path / "out.ncr", code=code)
