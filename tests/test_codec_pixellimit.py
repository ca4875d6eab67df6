"""The largest picture: argument, --max-pixels, NACRE_MAX_PIXELS, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import make_picture
from PIL import Image

import nacre
from nacre.bitstream.limits import Limits
from nacre.cli import main
from nacre.pixellimit import MAX_PIXELS_VARIABLE, choose_limits

pytestmark = pytest.mark.usefixtures("tiny_weights")

ILLEGAL = ["0", "-1", "1.5", "1e6", "ten", " 7", "7 ", "0x10", "٣", "1_000", "9" * 5000]


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv(MAX_PIXELS_VARIABLE, raising=False)
    return monkeypatch


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(make_picture(10, 20)).save(path)
    return path


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    path = tmp_path / "stream.ncr"
    path.write_bytes(nacre.encode(make_picture(10, 20), threads=1, max_pixels=200))
    return path


def test_order(pixels: pytest.MonkeyPatch) -> None:
    assert choose_limits() == Limits()
    assert choose_limits(default=7).max_pixels == 7
    pixels.setenv(MAX_PIXELS_VARIABLE, "")
    assert choose_limits() == Limits()
    pixels.setenv(MAX_PIXELS_VARIABLE, "00199")
    assert choose_limits() == choose_limits(default=7) == Limits(max_pixels=199)
    assert choose_limits(200) == Limits(max_pixels=200)


@pytest.mark.parametrize("text", ILLEGAL)
def test_illegal_values(text: str, pixels: pytest.MonkeyPatch) -> None:
    pixels.setenv(MAX_PIXELS_VARIABLE, text)
    with pytest.raises(nacre.InputError, match=r"variable NACRE_MAX_PIXELS is '.*', must be an integer of at least 1"):
        nacre.ImageCodec()
    nacre.ImageCodec(max_pixels=1)


def test_functions(pixels: pytest.MonkeyPatch, stream: Path) -> None:
    """Also of functions whose codec was kept from before the variable was set."""
    picture = make_picture(10, 20)
    assert nacre.decode_array(stream, threads=1).shape == picture.shape
    pixels.setenv(MAX_PIXELS_VARIABLE, "199")
    calls = (
        lambda: nacre.encode(picture, threads=1),
        lambda: nacre.decode(stream, threads=1),
        lambda: nacre.decode_array(stream, threads=1),
        lambda: nacre.verify(stream, threads=1),
        lambda: nacre.inspect(stream),
        lambda: nacre.ImageCodec(threads=1).encode(picture),
        lambda: nacre.ImageCodec(threads=1).inspect(stream),
    )
    for call in calls:
        with pytest.raises(nacre.LimitError, match="10 = 200 pixels, the limit max_pixels is 199"):
            call()
    assert nacre.decode_array(stream, threads=1, max_pixels=200).shape == picture.shape
    pixels.setenv(MAX_PIXELS_VARIABLE, "200")
    for call in calls:
        call()


def test_pillow(pixels: pytest.MonkeyPatch, stream: Path) -> None:
    pixels.setenv(MAX_PIXELS_VARIABLE, "199")
    with Image.open(stream) as image, pytest.raises(OSError, match="the limit max_pixels is 199"):
        image.load()
    with Image.open(stream) as image, pytest.raises(OSError, match="the limit max_pixels is 199"):
        image.verify()
    pixels.setenv(MAX_PIXELS_VARIABLE, "200")
    with Image.open(stream) as image:
        image.load()


@pytest.mark.parametrize("command", ["encode photo.png out.ncr", "decode stream.ncr out.png", "info stream.ncr",
                                     "verify stream.ncr", "demo photo.png --out demo"])  # fmt: skip
def test_command_line(
    command: str, pixels: pytest.MonkeyPatch, photo: Path, stream: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pixels.chdir(photo.parent)
    pixels.setenv(MAX_PIXELS_VARIABLE, "many")
    arguments = command.split()
    if arguments[0] != "info":
        arguments += ["--threads", "1"]
    before = sorted(photo.parent.iterdir())
    assert main(arguments) == 1
    error = "nacre: error: the environment variable NACRE_MAX_PIXELS is 'many', must be an integer of at least 1\n"
    assert capfd.readouterr() == ("", error)
    pixels.setenv(MAX_PIXELS_VARIABLE, "199")
    assert main(arguments) == 1
    output, error = capfd.readouterr()
    assert (output, error.count("\n")) == ("", 1)
    assert "20 x 10 = 200 pixels, the limit max_pixels is 199" in error
    assert "NACRE_MAX_PIXELS" in error
    assert sorted(photo.parent.iterdir()) == before
    if arguments[0] != "info":
        assert main([*arguments, "--max-pixels", "200"]) == 0


def test_help_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["encode"], ["decode"], ["verify"], ["demo"]):
        assert main([*command, "--help"]) == 0
        assert MAX_PIXELS_VARIABLE in capsys.readouterr().out
