"""encode and decode from the command line: many pictures, targets, regions, damaged streams."""

from __future__ import annotations

import io
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import make_picture
from PIL import Image

import nacre
from nacre.bitstream.units import UnitReader, UnitType, write_signature, write_unit
from nacre.cli import main

pytestmark = pytest.mark.usefixtures("tiny_weights")

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(capfd: Capture) -> Callable[..., tuple[int, list[str], list[str]]]:
    """Runs a command; returns its exit code and the lines of standard output and stderr."""

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        output, error = capfd.readouterr()
        return code, output.splitlines(), error.splitlines()

    return run


Run = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Four pictures, the third of which is none."""
    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    for seed, path in enumerate(paths):
        Image.fromarray(make_picture(40 + seed, 50, seed=seed)).save(path)
    paths[2].write_text("no picture")
    return paths


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes encoders cut pictures into tiles of 64 x 64."""
    monkeypatch.setattr("nacre.tiling.ONE_TILE_PIXELS", 4096)
    monkeypatch.setattr("nacre.tiling.TILE_SIZE", 64)


@pytest.fixture
def tiled(tmp_path: Path, small_tiles: None) -> Path:
    """A stream of 3 x 2 tiles."""
    path = tmp_path / "tiled.ncr"
    path.write_bytes(nacre.encode(make_picture(100, 170), threads=1))
    return path


def damage(path: Path, *tiles: int) -> Path:
    """A copy of the stream with a byte changed in each of these tiles."""
    data = bytearray(path.read_bytes())
    parts = [part for part in nacre.inspect(bytes(data)).parts if part.name == "TILE"]
    for tile in tiles:
        data[parts[tile].offset + parts[tile].size // 2] ^= 0x40
    damaged = path.with_name("damaged.ncr")
    damaged.write_bytes(data)
    return damaged


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_bad_picture_does_not_stop_the_rest(photos: list[Path], tmp_path: Path, run: Run, jobs: int) -> None:
    out = tmp_path / "out"
    code, output, error = run("encode", *photos, "--out-dir", out, "--jobs", jobs, "--threads", 1, "-q", 40)
    assert code == 3
    assert error == [f"nacre: error: {photos[2]}: is no picture in a format that Pillow reads"]
    good = [photo for photo in photos if photo != photos[2]]
    assert sorted(line.split(":")[0] for line in output) == [str(out / f"{photo.stem}.ncr") for photo in good]
    assert sorted(out.iterdir()) == [out / f"{photo.stem}.ncr" for photo in good]
    for photo in good:
        assert (out / f"{photo.stem}.ncr").read_bytes() == nacre.encode(photo, 40, threads=1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_decoding_many(tmp_path: Path, run: Run, jobs: int) -> None:
    streams = [tmp_path / f"{name}.ncr" for name in ("a", "b.small", "c")]
    for seed, stream in enumerate(streams):
        stream.write_bytes(nacre.encode(make_picture(40, 50 + seed, seed=seed), threads=1))
    streams[2].write_bytes(streams[2].read_bytes()[:-9])
    out = tmp_path / "out"
    for form, ending in ((None, "png"), ("PPM", "ppm"), (".webp", "webp")):
        options = ["--format", form] if form else []
        code, output, error = run("decode", *streams, "--out-dir", out, "--jobs", jobs, *options)
        assert code == 3
        assert len(error) == 1
        assert error[0].startswith(f"nacre: error: {streams[2]}: ")
        assert len(output) == 2
        assert sorted(path.name for path in out.iterdir()) == [f"a.{ending}", f"b.small.{ending}"]
        for stream in streams[:2]:
            np.testing.assert_array_equal(
                np.asarray(Image.open(out / f"{stream.stem}.{ending}")), nacre.decode_array(stream, threads=1)
            )
        shutil.rmtree(out)


@pytest.mark.parametrize("jobs", [1, 2])
def test_all_bad(tmp_path: Path, run: Run, jobs: int) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    code, output, error = run(
        "encode", tmp_path / "notes.png", tmp_path / "gone.png", "--out-dir", tmp_path / "out", "--jobs", jobs
    )
    assert (code, output) == (1, [])
    assert sorted(line.split(": ")[2] for line in error) == [str(tmp_path / "gone.png"), str(tmp_path / "notes.png")]
    assert list((tmp_path / "out").iterdir()) == []


def test_one_picture_to_a_folder(photos: list[Path], tmp_path: Path, run: Run) -> None:
    assert run("encode", photos[0], "--out-dir", tmp_path, "--quiet") == (0, [], [])
    assert (tmp_path / "a.ncr").exists()
    code, output, error = run("decode", tmp_path / "a.ncr", "--out-dir", tmp_path / "deep" / "below", "-v")
    assert (code, error) == (0, [])
    assert "a.png: 50 x 40 RGB, PNG, entropy networks" in output[0]


def test_names_that_meet(photos: list[Path], tmp_path: Path, run: Run) -> None:
    (tmp_path / "more").mkdir()
    other = Path(shutil.copy(photos[0], tmp_path / "more" / "a.webp"))
    code, output, error = run("encode", *photos, other, "--out-dir", tmp_path / "out")
    assert (code, output) == (1, [])
    (line,) = error
    assert f"{photos[0]} and {other} would both be written to {tmp_path / 'out' / 'a.ncr'}" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_clobber(photos: list[Path], tmp_path: Path, run: Run, jobs: int) -> None:
    (tmp_path / "b.ncr").write_bytes(b"what was there")
    arguments = ["encode", photos[0], photos[1], "--out-dir", tmp_path, "--jobs", jobs]
    code, output, error = run(*arguments, "--no-clobber")
    assert code == 3
    assert len(output) == 1
    assert error == [
        f"nacre: error: {photos[1]}: {tmp_path / 'b.ncr'}: exists already, and --no-clobber keeps it",
    ]
    assert (tmp_path / "b.ncr").read_bytes() == b"what was there"
    code, output, error = run(*arguments, "--no-clobber")  # now both exist
    assert (code, output, len(error)) == (1, [], 2)
    assert run(*arguments, "--quiet") == (0, [], [])
    assert nacre.decode(tmp_path / "b.ncr").size == (50, 41)


def test_folders_that_cannot_be(photos: list[Path], tmp_path: Path, run: Run) -> None:
    code, output, error = run("encode", photos[0], "--out-dir", photos[1])
    assert (code, output) == (1, [])
    assert error == [f"nacre: error: {photos[1]}: cannot be made a folder: File exists"]
    (tmp_path / "a.ncr").mkdir()
    code, output, error = run("encode", *photos[:2], "--out-dir", tmp_path)
    assert (code, len(output)) == (3, 1)
    assert error == [f"nacre: error: {photos[0]}: {tmp_path / 'a.ncr'}: cannot be written: it is a folder"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_folder_that_is_read_only(
    photos: list[Path], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    out = tmp_path / "out"
    out.mkdir()

    def refuse(path: object, *_: object) -> None:  # not chmod, which does not hold root back
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("nacre.atomic.open", refuse, raising=False)
    code, output, error = run("encode", *photos[:2], "--out-dir", out, "--jobs", jobs)
    assert (code, output) == (1, [])
    assert sorted(error) == [
        f"nacre: error: {photo}: {out / photo.stem}.ncr: cannot be written: Permission denied" for photo in photos[:2]
    ]
    assert list(out.iterdir()) == []
    code, output, error = run("encode", photos[0], out / "a.ncr")
    assert (code, output) == (1, [])
    assert error == [f"nacre: error: {out / 'a.ncr'}: cannot be written: Permission denied"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_warnings_name_their_picture(tmp_path: Path, run: Run, jobs: int) -> None:
    for name in "ab":
        Image.fromarray(make_picture(9, 9, 1).astype(np.uint16) * 257).save(tmp_path / f"{name}.png")
    arguments = ["encode", tmp_path / "a.png", tmp_path / "b.png", "--out-dir", tmp_path, "--jobs", jobs]
    code, _, error = run(*arguments)
    assert code == 0
    assert sorted(error) == [
        f"nacre: warning: {tmp_path / name}: 16-bit samples are reduced to 8 bits" for name in ("a.png", "b.png")
    ]
    assert run(*arguments, "--quiet") == (0, [], [])


def test_size_bpp_and_psnr(tmp_path: Path, run: Run) -> None:
    photo, target = tmp_path / "photo.png", tmp_path / "out.ncr"
    picture = make_picture(160, 240)
    Image.fromarray(picture).save(photo)

    def encode(*options: object) -> str:
        code, output, error = run("encode", photo, target, *options)
        assert (code, error) == (0, [])
        assert f", quality {nacre.inspect(target).quality:g}" in output[0]
        return output[0]

    sizes = [len(nacre.encode(photo, quality)) for quality in (20, 80)]
    limit = sum(sizes) // 2
    output = encode("--size", limit)
    assert f" {target.stat().st_size} bytes" in output
    assert 0.98 * limit <= target.stat().st_size <= limit
    encode("--size", f"{limit / 1000}k")
    assert 0.98 * limit <= target.stat().st_size <= limit
    bpp = limit * 8 / picture[..., 0].size
    encode("--bpp", bpp)
    assert abs(nacre.inspect(target).bits_per_pixel / bpp - 1) <= 0.02

    def psnr() -> float:
        error = nacre.decode_array(target).astype(float) - picture
        return float(10 * np.log10(255**2 / np.mean(error**2)))

    ends = []
    for quality in (20, 80):
        run("encode", photo, target, "-q", quality)
        ends.append(psnr())
    wanted = sum(ends) / 2
    encode("--psnr", wanted)
    assert wanted <= psnr() <= wanted + 0.06


@pytest.mark.parametrize(
    ("options", "words"), [("--size 20", "size must be"), ("--bpp 500", "bpp must be"), ("--psnr 150", "psnr must be")]
)
def test_targets_out_of_reach(photos: list[Path], tmp_path: Path, run: Run, options: str, words: str) -> None:
    target = tmp_path / "out.ncr"
    code, output, error = run("encode", photos[0], target, *options.split())
    assert (code, output) == (1, [])
    assert len(error) == 1
    assert words in error[0]
    assert not target.exists()
    code, output, error = run("encode", *photos[:2], "--out-dir", tmp_path, *options.split())
    assert (code, output) == (1, [])
    assert [line.startswith(f"nacre: error: {photo}: ") for line, photo in zip(error, photos, strict=False)] == [
        True
    ] * 2


def test_strip(tmp_path: Path, run: Run) -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    Image.fromarray(make_picture(40, 50)).save(tmp_path / "photo.png", exif=exif)
    for options, expected in (([], {"EXIF"}), (["--strip"], set())):
        assert run("encode", tmp_path / "photo.png", tmp_path / "out.ncr", *options)[0] == 0
        assert set(nacre.inspect(tmp_path / "out.ncr").metadata) == expected


def test_metadata_comes_back(tmp_path: Path, run: Run) -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    Image.fromarray(make_picture(40, 50)).save(tmp_path / "photo.jpg", exif=exif)
    assert run("encode", tmp_path / "photo.jpg", tmp_path / "out.ncr")[0] == 0
    assert run("decode", tmp_path / "out.ncr", tmp_path / "back.png")[0] == 0
    with Image.open(tmp_path / "back.png") as image:
        assert image.getexif()[0x010F] == "maker"
    code, _, error = run("decode", tmp_path / "out.ncr", tmp_path / "back.ppm")
    assert code == 0
    assert len(error) == 1
    assert "warning: PPM cannot hold the picture's EXIF" in error[0]


def test_alpha(tmp_path: Path, run: Run) -> None:
    picture = np.dstack([make_picture(40, 50), np.arange(2000, dtype=np.uint8).reshape(40, 50)])
    Image.fromarray(picture).save(tmp_path / "photo.png")
    assert run("encode", tmp_path / "photo.png", tmp_path / "out.ncr")[0] == 0
    for name in ("back.png", "back.webp", "back.pam"):
        code, output, error = run("decode", tmp_path / "out.ncr", tmp_path / name)
        assert (code, error) == (0, [])
        assert "50 x 40 RGB with alpha" in output[0]
    for name in ("back.png", "back.webp"):
        with Image.open(tmp_path / name) as image:
            np.testing.assert_array_equal(np.asarray(image)[..., 3], picture[..., 3])
    samples = np.frombuffer((tmp_path / "back.pam").read_bytes()[-8000:], np.uint8)  # Pillow reads no such PAM
    np.testing.assert_array_equal(samples.reshape(40, 50, 4)[..., 3], picture[..., 3])
    for name in ("back.jpg", "back.ppm"):
        code, output, error = run("decode", tmp_path / "out.ncr", tmp_path / name)
        assert (code, output) == (1, [])
        assert "holds none; use one of png" in error[0]
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize("form", ["png", "ppm"])
@pytest.mark.parametrize("region", [(0, 0, 170, 100), (50, 60, 70, 20), (169, 99, 1, 1), (64, 0, 64, 64)])
def test_region(tiled: Path, run: Run, region: tuple[int, int, int, int], form: str) -> None:
    target = tiled.with_suffix(f".{form}")
    code, output, error = run("decode", tiled, target, "--region", ",".join(map(str, region)))
    x, y, width, height = region
    assert (code, error) == (0, [])
    assert f"{width} x {height} RGB" in output[0]
    with Image.open(target) as image:
        np.testing.assert_array_equal(np.asarray(image), nacre.decode_array(tiled)[y : y + height, x : x + width])


@pytest.mark.parametrize(
    "region", ["170,0,1,1", "0,100,1,1", "1,0,170,100", "0,0,171,1", "0,99,9,2", "9999999999,0,1,1"]
)
def test_region_outside(tiled: Path, run: Run, region: str) -> None:
    target = tiled.with_suffix(".png")
    code, output, error = run("decode", tiled, target, "--region", region)
    assert (code, output) == (1, [])
    assert len(error) == 1
    assert f"{tiled}: region is {region} " in error[0]
    assert "the picture of 170 x 100" in error[0]
    assert not target.exists()


def test_region_of_many(tiled: Path, run: Run) -> None:
    small = tiled.with_name("small.ncr")
    small.write_bytes(nacre.encode(make_picture(40, 50), threads=1))
    out = tiled.parent / "out"
    code, output, error = run("decode", tiled, small, "--out-dir", out, "--region", "100,50,30,20")
    assert code == 3
    assert len(output) == len(error) == 1
    assert f"{small}: region is 100,50,30,20" in error[0]
    with Image.open(out / "tiled.png") as image:
        assert image.size == (30, 20)


@pytest.mark.parametrize("form", ["png", "ppm"])
def test_keep_going(tiled: Path, run: Run, form: str) -> None:
    damaged = damage(tiled, 1)
    target = tiled.with_suffix(f".{form}")
    code, output, error = run("decode", damaged, target)
    assert (code, output) == (1, [])
    assert "--keep-going" in error[0]
    assert not target.exists()
    code, output, error = run("decode", damaged, target, "--keep-going", "--quiet")
    assert (code, output) == (3, [])
    assert all(line.startswith(f"nacre: {damaged}: ") for line in error)
    assert any("tile 1 (x 64..127, y 0..63) is lost" in line for line in error)
    with Image.open(target) as image:
        found = np.asarray(image)
    whole = nacre.decode_array(tiled)
    assert (found[:48, 80:112] == 128).all()
    kept = np.ones((100, 170), bool)
    kept[:80, 48:144] = False
    np.testing.assert_array_equal(found[kept], whole[kept])


def test_keep_going_over_what_is_whole(tiled: Path, run: Run) -> None:
    target = tiled.with_suffix(".png")
    code, output, error = run("decode", tiled, target, "--keep-going")
    assert (code, len(output), error) == (0, 1, [])
    with Image.open(target) as image:
        np.testing.assert_array_equal(np.asarray(image), nacre.decode_array(tiled))


def test_keep_going_cannot_do_without_a_header(tiled: Path, run: Run) -> None:
    tiled.write_bytes(b"no stream at all, but long enough to be one")
    code, output, error = run("decode", tiled, tiled.with_suffix(".png"), "--keep-going")
    assert (code, output, len(error)) == (1, [], 1)
    assert not tiled.with_suffix(".png").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_keep_going_over_many(tiled: Path, run: Run, jobs: int) -> None:
    out = tiled.parent / "out"
    damaged = damage(tiled, 5)
    arguments = ["decode", damaged, tiled, "--out-dir", out, "--jobs", jobs]
    code, output, error = run(*arguments, "--keep-going")
    assert (code, len(output)) == (3, 2)
    assert all(line.startswith(f"nacre: {damaged}: ") for line in error)
    assert any("tile 5 (x 128..169, y 64..99) is lost" in line for line in error)
    assert sorted(path.name for path in out.iterdir()) == ["damaged.png", "tiled.png"]
    shutil.rmtree(out)
    code, output, error = run(*arguments)
    assert (code, len(output), len(error)) == (3, 1, 1)
    assert [path.name for path in out.iterdir()] == ["tiled.png"]


def test_metadata_behind_the_tiles_reaches_the_file(small_tiles: None, tmp_path: Path, run: Run) -> None:
    image = Image.fromarray(make_picture(100, 170))
    image.info["xmp"] = b"<x/>"
    units = list(UnitReader(io.BytesIO(nacre.encode(image, threads=1))))
    late = [unit for unit in units if unit.type == UnitType.XMP]
    assert len(late) == 1
    stream = io.BytesIO()
    write_signature(stream)
    for unit in [*(unit for unit in units[:-1] if unit not in late), *late, units[-1]]:
        write_unit(stream, unit.type, unit.payload)
    path = tmp_path / "late.ncr"
    path.write_bytes(stream.getvalue())
    assert run("decode", path, tmp_path / "late.png", "--quiet") == (0, [], [])
    with Image.open(tmp_path / "late.png") as decoded:
        assert decoded.info["xmp"] == b"<x/>"
    code, _, error = run("decode", path, tmp_path / "late.ppm")
    assert (code, len(error)) == (0, 1)
    assert "cannot hold the picture's XMP" in error[0]


def test_nothing_left_to_keep(small_tiles: None, tmp_path: Path, run: Run) -> None:
    """A file of a few bytes does not make its reader paint millions of grey pixels."""
    codec = nacre.ImageCodec(threads=1)
    header = replace(codec.inspect(codec.encode(make_picture(100, 170))).header, width=20000, height=20000)
    stream = io.BytesIO()
    write_signature(stream)
    write_unit(stream, UnitType.PICTURE_HEADER, header.pack())
    write_unit(stream, UnitType.END, b"")
    path = tmp_path / "bomb.ncr"
    path.write_bytes(stream.getvalue())
    code, output, error = run("decode", path, tmp_path / "out.ppm", "--keep-going")
    assert (code, output, len(error)) == (1, [], 1)
    assert "nothing is left of the picture" in error[0]
    assert not (tmp_path / "out.ppm").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_target_for_a_named_pipe(tmp_path: Path, run: Run) -> None:
    Image.fromarray(make_picture(40, 50)).save(tmp_path / "a.ppm")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes((tmp_path / "a.ppm").read_bytes()))
    writer.start()
    code, _, error = run("encode", pipe, tmp_path / "a.ncr", "--size", "1M")
    writer.join()
    assert (code, [line for line in error if "warning" not in line]) == (0, [])
    header = nacre.inspect(tmp_path / "a.ncr").header
    assert (header.width, header.height) == (50, 40)


def test_one_line_for_a_picture_beyond_the_limit(tmp_path: Path, run: Run) -> None:
    """Pillow has a limit of its own, which it says nothing of here."""
    Image.new("1", (12000, 12000)).save(tmp_path / "large.png")
    code, _, error = run("encode", tmp_path / "large.png", tmp_path / "out.ncr", "--max-pixels", "1000000")
    assert (code, len(error)) == (1, 1)
    assert "max_pixels is 1000000" in error[0]
