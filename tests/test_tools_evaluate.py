"""`nacre evaluate` from end to end on small drawn pictures, and its parts."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("scipy")

from nacre.bitstream.errors import InputError
from nacre.tools import measure, peers
from nacre.tools.curves import Published
from nacre.tools.evaluate import evaluate, main
from nacre.tools.measure import Journal, Measurement, Task
from nacre.tools.peers import NAMES, open_codec
from nacre.tools.pictures import Picture, find_pictures, read_picture
from nacre.tools.summary import compare_curves, mean_points, summarize

TINY = str(Path(__file__).parent / "data" / "tiny")


def scene(height: int, width: int, seed: int = 0) -> Picture:
    """A smooth coloured scene with some noise."""
    y, x = np.mgrid[:height, :width] / 24.0
    waves = np.stack([np.sin(x + y + seed), np.cos(x - 0.7 * y), np.sin(0.3 * x * y / 8.0)], axis=-1)
    noise = np.random.default_rng(seed).normal(0.0, 0.05, waves.shape)
    pixels: Picture = np.clip(127.5 + 100.0 * (waves + noise), 0.0, 255.0).astype(np.uint8)
    return pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one of them too small for MS-SSIM."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(scene(176, 192)).save(pictures / "a.png")
    Image.fromarray(scene(96, 120, 1)).save(pictures / "b.png")
    return pictures


def measurement(codec: str, quality: float, size: int, psnr: float | None, picture: str = "p") -> Measurement:
    metrics = {} if psnr == -1.0 else {"psnr": psnr}
    key = f"{picture}/{codec}/{quality}"
    return Measurement(key, picture, 100, 80, codec, quality, size, metrics, {}, 0.1, 0.2, None)


@pytest.mark.parametrize("name", [*(name for name in NAMES if ":" not in name), "nacre:tiny", "nacre:tiny:3"])
def test_every_codec_gives_back_the_picture(name: str) -> None:
    try:
        codec = open_codec(name, weights=TINY)
    except InputError as error:
        pytest.skip(str(error))
    picture = scene(65, 83)
    small, large = (codec.encode(picture, quality) for quality in (codec.qualities[1], codec.qualities[-2]))
    assert len(small) < len(large)
    assert list(codec.qualities) == sorted(codec.qualities)
    decoded = [codec.decode(data) for data in (small, large)]
    errors = [float(np.mean((picture.astype(float) - pixels) ** 2)) for pixels in decoded]
    assert all(pixels.shape == picture.shape and pixels.dtype == np.uint8 for pixels in decoded)
    assert errors[1] < errors[0]


def test_jpeg_xl_distances() -> None:
    distances = [peers.JpegXlCodec.distance(quality) for quality in (100.0, 90.0, 30.0, 29.9999, 0.0)]
    assert distances == pytest.approx([0.1, 1.0, 6.4, 6.4, 25.0], abs=1e-2)


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    anchor = tmp_path / "published.json"
    points = {"bpp": [0.2, 0.6, 2.0, 6.0], "psnr_rgb": [20.0, 26.0, 32.0, 40.0]}
    anchor.write_text(json.dumps({"codecs": {"old": points}}))
    out = tmp_path / "out"
    arguments = [str(folder), "--codecs", "jpeg,nacre:tiny", "--qualities", "jpeg=20,60,90", "--qualities"]
    arguments += ["nacre:tiny=0,100", "--weights", TINY, "--anchor", f"{anchor}:old", "--out", str(out), "--jobs", "2"]
    assert main(arguments) == 3  # the small picture has no MS-SSIM
    printed = capsys.readouterr()
    assert "against old (published)" in printed.out
    assert "b.png: ms-ssim-db: 120x96, must be at least 161 pixels on each side" in printed.err
    assert "\r" not in printed.err
    results = json.loads((out / "results.json").read_text())
    assert len(results["measurements"]) == 10
    first = results["measurements"][0]
    assert first["bpp"] == 8.0 * first["bytes"] / (first["width"] * first["height"])
    assert {m["picture"] for m in results["measurements"]} == {str(folder / "a.png"), str(folder / "b.png")}
    assert [point["quality"] for point in results["means"]["psnr"]["jpeg"]] == [20.0, 60.0, 90.0]
    assert results["settings"]["jpeg"]["library"].startswith("libjpeg_turbo ")
    assert results["machine"]["cpu"]
    (difference,) = [d for d in results["differences"] if d["codec"] == "jpeg" and d["metric"] == "psnr"]
    assert set(difference["rate"]) == {"value", "low", "high"}
    assert results["command"].startswith("nacre evaluate ")
    missing = (
        "differences in ms-ssim-db: nothing is known of the anchor old (published), so they are taken against jpeg"
    )
    assert f"skipped: {missing}" in printed.err
    assert "a.png: ms-ssim-db" not in printed.err
    page = (out / "summary.md").read_text()
    assert f"- {missing}" in page
    assert "b.png: ms-ssim-db: 120x96" in page
    assert "| bits per pixel at psnr |" in page
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["psnr"]) for row in rows] == [m["metrics"]["psnr"] for m in results["measurements"]]


def test_a_run_is_taken_up_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "measurements.jsonl"
    arguments = ([str(folder / "a.png")], ["jpeg"], ["psnr"])
    first = evaluate(*arguments, qualities={"jpeg": (20.0, 60.0)}, journal=journal)
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    journal.write_bytes(lines[0] + lines[1][:50])  # interrupted while it wrote
    asked: list[Task] = []
    real = measure.measure_all

    def spy(tasks: Sequence[Task], jobs: int) -> object:
        asked.extend(tasks)
        return real(tasks, jobs)

    monkeypatch.setattr("nacre.tools.runs.measure_all", spy)
    again = evaluate(*arguments, qualities={"jpeg": (20.0, 60.0, 90.0)}, journal=journal)
    assert len(asked) == 2
    assert [m.bytes for m in again.measurements][:2] == [m.bytes for m in first.measurements]
    asked.clear()
    evaluate(arguments[0], arguments[1], ["ssim"], qualities={"jpeg": (20.0,)}, journal=journal)
    assert [task.metrics for task in asked] == [("ssim",)]
    kept = Journal(journal)
    kept.close()
    metrics = {m.quality: set(m.metrics) for m in kept.kept.values()}  # lines stand in the order in which work ended
    assert metrics == {20.0: {"psnr", "ssim"}, 60.0: {"psnr"}, 90.0: {"psnr"}}
    asked.clear()
    evaluate(arguments[0], arguments[1], ["psnr", "ssim"], qualities={"jpeg": (20.0,)}, journal=journal)
    assert asked == []


class DyingCodec(peers.PillowCodec):
    """Fails on one quality and takes its process down with it on another."""

    def encode(self, picture: Picture, quality: float) -> bytes:
        if quality == 30.0:
            os._exit(1)
        if quality == 40.0:
            msg = "not today"
            raise OSError(msg)
        return super().encode(picture, quality)


def dying_attempt(task: Task) -> Measurement | str:
    codec = DyingCodec("jpeg", "JPEG", "", (10.0,), {})
    measure.warm_codec = lambda *_: codec  # type: ignore[assignment, attr-defined]
    return _real_attempt(task)


_real_attempt = measure._attempt


def test_a_codec_that_fails_costs_its_own_measurement_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_attempt", dying_attempt)
    pictures = [str(folder / "b.png")]
    result = evaluate(pictures, ["jpeg"], ["psnr"], qualities={"jpeg": (10.0, 20.0, 30.0, 40.0, 50.0, 60.0)}, jobs=2)
    assert [m.quality for m in result.measurements] == [10.0, 20.0, 50.0, 60.0]
    assert [failure.partition(": ")[2] for failure in result.failures] == [
        "jpeg at quality 30: its process died",
        "jpeg at quality 40: OSError: not today",
    ]


def test_bad_input(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = [str(folder), str(empty), str(tmp_path / "none.png"), "--codecs", "jpeg", "--qualities", "jpeg=50"]
    assert main([*arguments, "--metrics", "psnr"]) == 3
    errors = capsys.readouterr().err
    assert "broken.png: cannot be read" in errors
    assert "empty: no pictures found" in errors
    assert "none.png: does not exist" in errors
    out = tmp_path / "out"
    assert main([str(empty), "--codecs", "jpeg", "--out", str(out)]) == 3
    for name in ("report.html", "summary.md", "results.json"):
        assert "empty: no pictures found" in (out / name).read_text()
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        main([str(folder), "--codecs", "jpeg", "--anchor", f"{tmp_path}/none.json:vtm"])
    with pytest.raises(InputError, match=r"out: cannot be made"):
        main([str(folder), "--codecs", "jpeg", "--out", str(folder / "a.png" / "out")])
    for wrong in (
        ["--codecs", "gif"],
        ["--codecs", "jpeg", "--metrics", "beauty"],
        ["--codecs", "jpeg", "--jobs", "0"],
    ):
        with pytest.raises(SystemExit) as usage:
            main([str(folder), *wrong])
        assert usage.value.code == 2


@pytest.mark.parametrize(
    ("codec", "quality", "message"),
    [
        ("jpeg", 200, "jpeg: quality 200 is out of range, must be 1..100"),
        ("jpeg", 0, "jpeg: quality 0 is out of range, must be 1..100"),
        ("webp", -1, "webp: quality -1 is out of range, must be 0..100"),
        ("webp", 50.5, "webp: quality 50.5 must be a whole number"),
        ("jpeg2000", 0, "jpeg2000: quality 0 is out of range, must be 0.001..24"),
        ("nacre:tiny", 101, "nacre:tiny: quality 101 is out of range, must be 0..100"),
        ("jpeg", float("nan"), "jpeg: quality nan is out of range, must be 1..100"),
    ],
)
def test_qualities_that_a_codec_does_not_have(folder: Path, codec: str, quality: float, message: str) -> None:
    """They are refused before anything is measured: the library would clamp or round them, under a wrong name."""
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        main([str(folder), "--codecs", codec, "--qualities", f"{codec}=20,{quality}", "--weights", TINY])


def test_own_qualities_are_within_bounds() -> None:
    for name in (*(name for name in NAMES if ":" not in name), "nacre:tiny"):
        try:
            codec = open_codec(name, weights=TINY)
        except InputError:
            continue
        peers.check_qualities(name, (*codec.qualities, *codec.bounds), codec.bounds, codec.step)
        for quality in codec.bounds:
            assert codec.decode(codec.encode(scene(40, 48), quality)).shape == (40, 48, 3), (name, quality)


def test_what_is_not_installed_is_named_and_skipped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder / "b.png"), "--codecs", "jpeg,nacre:absent", "--qualities", "jpeg=50", "--metrics", "psnr"]
    assert main([*arguments, "--weights", TINY]) == 0
    assert "skipped: nacre:absent: " in capsys.readouterr().err
    assert main([str(folder / "b.png"), "--codecs", "nacre:absent", "--weights", TINY]) == 3  # nothing is left


def test_means_are_taken_over_pictures_that_are_complete() -> None:
    rows = [measurement("a", 1.0, 100, 30.0), measurement("a", 2.0, 200, 35.0), measurement("b", 1.0, 150, 31.0)]
    rows += [measurement("a", 1.0, 300, 20.0, "q"), measurement("a", 2.0, 400, 25.0, "q")]
    means = mean_points([*rows, measurement("b", 1.0, 350, 21.0, "q")], "psnr")
    assert [(p.quality, p.bpp, p.value) for p in means["a"]] == [(1.0, 0.2, 25.0), (2.0, pytest.approx(0.3), 30.0)]
    lacking = mean_points([*rows, measurement("b", 1.0, 350, -1.0, "q")], "psnr")
    assert [p.value for p in lacking["a"]] == [30.0, 35.0]
    identical = mean_points([measurement("a", 1.0, 100, 30.0), measurement("a", 2.0, 200, None)], "psnr")
    assert [p.quality for p in identical["a"]] == [1.0]
    assert summarize([*rows], ["psnr"], [], "a").left_out == [
        "q: left out of the means of psnr, which it lacks in part"
    ]


def test_differences_where_curves_do_not_overlap_or_rise() -> None:
    rows = [measurement("a", q, int(100 * q), 30.0 + q) for q in (1.0, 2.0)]
    rows += [measurement("far", q, int(900 * q), 50.0 + q) for q in (1.0, 2.0)]
    rows += [measurement("falling", q, int(100 * q), 30.0 - q) for q in (1.0, 2.0)]
    published = Published("a", {"bpp": [0.1, 0.2], "psnr_rgb": [31.0, 32.0]})
    far, falling, same = compare_curves(mean_points(rows, "psnr"), "psnr", [published], "a")
    assert isinstance(far.rate, str)
    assert "do not overlap" in far.rate
    assert isinstance(falling.rate, str)
    assert "rise together" in falling.rate
    assert same.codec == "a (published)"
    assert not isinstance(same.rate, str)
    assert same.rate.value == pytest.approx(0.0)


def test_pictures_are_found_once_and_in_order(folder: Path) -> None:
    (folder / "notes.txt").write_text("no picture")
    paths, missing = find_pictures([str(folder / "b.png"), str(folder)])
    assert [path.name for path in paths] == ["b.png", "a.png"]
    assert missing == []
    Image.fromarray(scene(9, 7)).convert("RGBA").save(folder / "alpha.png")
    with pytest.raises(InputError, match=r"alpha\.png: mode RGBA"):
        read_picture(folder / "alpha.png")
