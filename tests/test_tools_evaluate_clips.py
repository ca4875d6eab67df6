"""`nacre evaluate` on clips from end to end, and its parts."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make_clip, write_clip

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from nacre.bitstream.errors import InputError
from nacre.tools import measure
from nacre.tools.bd_rate import Difference
from nacre.tools.clip_summary import ClipSummary, summarize_clips
from nacre.tools.evaluate import main
from nacre.tools.evaluate_clips import evaluate_clips
from nacre.tools.measure import Measurement, Task
from nacre.tools.peers import open_codec
from nacre.tools.rates import next_qualities
from nacre.tools.video_peers import FFmpegCodec, IntraCodec, open_video_codec, variants

TINY = str(Path(__file__).parent / "data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two clips of five frames, of 96x80 and 128x64."""
    clips = tmp_path / "clips"
    clips.mkdir()
    write_clip(clips / "a.mkv", make_clip().frames)
    write_clip(clips / "b.mkv", make_clip(128, 64, seed=1).frames)
    return clips


def measurement(clip: str, codec: str, quality: float, size: int, psnr: float) -> Measurement:
    """Of a clip of three frames of 100x80, a third of its bytes in the I frame."""
    values = {"psnr-y": psnr, "psnr-u": psnr, "psnr-v": psnr, "psnr-yuv": psnr}
    kinds = {"I": {"frames": 1, "bytes": size // 3, **values}, "P": {"frames": 2, "bytes": size - size // 3, **values}}
    key = f"{clip}/{codec}/{quality}"
    metrics = {"psnr-yuv": psnr}
    return Measurement(key, clip, 100, 80, codec, quality, size, metrics, {}, 0.1, 0.1, None, 3, kinds)


def curve(
    clip: str, codec: str, factor: float, dbs: Sequence[float] = (29.0, 33.0, 37.0, 41.0, 45.0)
) -> list[Measurement]:
    """Points whose rate doubles every 4 dB, times `factor`."""
    return [measurement(clip, codec, 50 - db, round(factor * 3000 * 2 ** (db / 4 - 7)), db) for db in dbs]


def test_qualities_are_added_until_six_rates_lie_in_the_interval() -> None:
    def psnr(quality: float) -> float:
        return 60.0 - 0.8 * quality

    known = {quality: psnr(quality) for quality in (6.0, 14.0, 22.0, 30.0, 38.0, 46.0)}  # 55.2 .. 23.2 dB
    rounds = 0
    while more := next_qualities(known, -1.0):
        assert not set(more) & set(known)
        assert all(quality == round(quality) for quality in more)
        known.update({quality: psnr(quality) for quality in more})
        rounds += 1
    assert rounds <= 3
    assert sum(30.0 <= value <= 42.0 for value in known.values()) >= 6
    assert next_qualities({0.0: 20.0, 1.0: 50.0}, 1.0) == []  # no step between
    assert next_qualities({0.0: 20.0, 2.0: 50.0}, 1.0) == [1.0]
    assert next_qualities({0.0: 45.0, 50.0: 60.0}, 1.0) == []  # all above the interval
    assert next_qualities({}, 1.0) == []


def test_the_mean_of_bd_rates_and_the_stronger_variant() -> None:
    rows = [m for clip, factor in (("p/a.mkv", 0.8), ("p/b.mkv", 1.1)) for m in curve(clip, "x265-psnr", factor)]
    for clip in ("p/a.mkv", "p/b.mkv"):
        rows += [*curve(clip, "x264-stock", 1.0), *curve(clip, "x264-psnr", 0.9)]
    names = {"x264": ("x264-stock", "x264-psnr"), "x265": ("x265-stock", "x265-psnr")}
    summary = summarize_clips(rows, ["psnr-yuv"], names, "x264")
    assert summary.bars == {"psnr-yuv": {"x264": "x264-psnr"}}
    whole = {c.codec: c for c in summary.comparisons if c.frames == "all"}
    assert set(whole) == {"x265-psnr", "x264-stock"}
    assert {c.anchor for c in summary.comparisons} == {"x264-psnr"}
    rates = whole["x265-psnr"].rates
    assert isinstance(rates["p/a.mkv"], Difference)
    assert rates["p/a.mkv"].value == pytest.approx(100 * (0.8 / 0.9 - 1), abs=0.1)
    assert (rates["p/a.mkv"].low, rates["p/a.mkv"].high) == (30.0, 42.0)
    assert whole["x265-psnr"].mean_rate == pytest.approx(100 * ((0.8 + 1.1) / 2 / 0.9 - 1), abs=0.1)
    assert {c.frames for c in summary.comparisons} == {"all", "I", "P"}
    means, each = summary.tables("psnr-yuv")
    assert means[0] == [
        "mean against x264-psnr *",
        "BD-rate",
        "BD-rate, I frames",
        "BD-rate, P frames",
        "BD-quality",
        "clips",
    ]
    assert [row[0] for row in means[1:]] == ["x265-psnr", "x264-stock"]
    assert [row[5] for row in means[1:]] == ["2 of 2"] * 2
    assert [row[0] for row in each[1:]] == ["a.mkv", "b.mkv"]
    metric, anchor, against = summary.speeds_against
    assert (metric, anchor, against["x264-psnr"]) == ("psnr-yuv", "x264-psnr", 0.0)


def test_clips_without_overlap_are_no_part_of_the_mean() -> None:
    rows = [*curve("a.mkv", "x", 1.0), *curve("a.mkv", "y", 0.5)]
    rows += [*curve("b.mkv", "x", 1.0), *curve("b.mkv", "y", 0.5, (18.0, 22.0, 26.0))]
    summary: ClipSummary = summarize_clips(rows, ["psnr-yuv"], {"x": ("x",), "y": ("y",)}, "x")
    assert summarize_clips(rows, ["psnr-yuv"], {"z": ("z",)}, "z").tables("psnr-yuv") == []
    (found,) = [c for c in summary.comparisons if c.frames == "all"]
    assert isinstance(found.rates["b.mkv"], str)
    assert "do not overlap" in found.rates["b.mkv"]
    assert found.mean_rate == pytest.approx(-50.0, abs=0.2)
    means, each = summary.tables("psnr-yuv")
    assert means[1][-1] == "1 of 2"
    assert each[2] == ["b.mkv", "no overlap"]


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = [str(folder), "--codecs", "nacre:tiny-intra,x264,aom", "--gop", "4", "--frames", "5", "--weights", TINY]
    arguments += ["--qualities", "nacre:tiny-intra=0,50,100", "--qualities", "x264=20,30,40", "--anchor", "x264"]
    code = main([*arguments, "--metrics", "psnr-yuv,ms-ssim", "--out", str(out), "--timing", "1", "--jobs", "2"])
    printed = capsys.readouterr()
    if "has no encoder libx264" in printed.err:
        pytest.skip("PyAV has no libx264 here")
    assert code == 3
    assert "a.mkv: ms-ssim: 96x80, must be at least 161 pixels on each side" in printed.err
    assert "mean against x264-" in printed.out
    assert "nacre:tiny-intra" in printed.out
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    assert set(results["settings"]) >= {"nacre:tiny-intra", "x264-stock", "x264-psnr"}
    assert "intra only" in results["settings"]["nacre:tiny-intra"]["frames"]
    rows = results["measurements"]
    assert len([row for row in rows if row["codec"] == "x264-psnr"]) == 6
    first = next(row for row in rows if row["codec"] == "x264-stock")
    assert first["bpp"] == pytest.approx(8 * first["bytes"] / (first["width"] * first["height"] * 5))
    assert {kind: values["frames"] for kind, values in first["kinds"].items()} == {"I": 2, "P": 3}
    assert sum(values["bytes"] for values in first["kinds"].values()) == first["bytes"]
    assert results["stronger_variants"]["psnr-yuv"]["x264"] in ("x264-stock", "x264-psnr")
    assert {timing["codec"] for timing in results["timings"]} >= {"nacre:tiny-intra", "x264-stock", "x264-psnr"}
    with (out / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert float(table[0]["I psnr-yuv"]) > 0
    assert {path.name for path in out.iterdir()} >= {"report.html", "psnr-yuv.png", "psnr-yuv.svg", "encode.png"}
    page = (out / "report.html").read_text()
    assert "2 clips" in page
    assert "Look for yourself" in page
    assert "intra only" in page


def test_a_run_is_taken_up_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "measurements.jsonl"
    clips = [str(folder / "a.mkv")]
    first = evaluate_clips(clips, ["jpeg"], frames=2, journal=journal)
    assert first.failures == []
    assert sum(30.0 <= (m.metrics["psnr-yuv"] or 0.0) <= 42.0 for m in first.measurements) >= 6
    asked: list[Task] = []
    real = measure.measure_all

    def spy(tasks: Sequence[Task], jobs: int) -> object:
        asked.extend(tasks)
        return real(tasks, jobs)

    monkeypatch.setattr("nacre.tools.runs.measure_all", spy)
    again = evaluate_clips(clips, ["jpeg"], frames=2, journal=journal)
    assert asked == []
    assert again.measurements == first.measurements
    evaluate_clips(clips, ["jpeg"], frames=2, gop=7, qualities={"jpeg": (50.0,)}, journal=journal)
    assert len(asked) == 1  # I frames elsewhere
    asked.clear()
    evaluate_clips(clips, ["jpeg"], frames=3, qualities={"jpeg": (50.0,)}, journal=journal)
    assert len(asked) == 1  # other frames are another clip


class FailingCodec(IntraCodec):
    """Fails on clips of one width."""

    def encode(self, clip: Any, quality: float) -> Any:
        if clip.width == 128:
            msg = "not this one"
            raise OSError(msg)
        return super().encode(clip, quality)


_real_attempt = measure._attempt


def failing_attempt(task: Task) -> Measurement | str:
    measure.warm_codec = lambda *_: FailingCodec(open_codec("jpeg"))  # type: ignore[assignment, attr-defined]
    return _real_attempt(task)


def test_what_fails_is_named_and_the_rest_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "broken.mkv").write_bytes(b"no clip")
    monkeypatch.setattr(measure, "_attempt", failing_attempt)
    result = evaluate_clips(
        [str(folder), str(folder / "none.mkv")], ["jpeg"], frames=2, qualities={"jpeg": (30.0, 60.0)}
    )
    assert [Path(m.picture).name for m in result.measurements] == ["a.mkv", "a.mkv"]
    text = "\n".join(result.failures)
    assert "none.mkv: does not exist" in text
    assert "broken.mkv: cannot be read as a clip" in text
    assert "b.mkv: jpeg-intra at quality 30: OSError: not this one" in text


@pytest.mark.parametrize(
    ("codec", "quality", "message"),
    [
        ("x264", 52.0, "x264-stock: quality 52 is out of range, must be 0..51"),
        ("svtav1", 0.0, "svtav1: quality 0 is out of range, must be 1..63"),
        ("vp9", 30.5, "vp9: quality 30.5 must be a whole number"),
        ("jpeg", 0.0, "jpeg-intra: quality 0 is out of range, must be 1..100"),
    ],
)
def test_qualities_that_a_codec_does_not_have(folder: Path, codec: str, quality: float, message: str) -> None:
    try:
        open_video_codec(variants(codec)[0], 7)
    except InputError as error:
        pytest.skip(str(error))
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        evaluate_clips([str(folder)], [codec], qualities={codec: (40.0, quality)})


def test_too_few_rates_are_named(folder: Path) -> None:
    flat = write_clip(folder / "flat.mkv", np.full((2, 96, 64), 128, np.uint8))  # far above 42 dB at every quality
    result = evaluate_clips([str(flat)], ["jpeg"])
    assert result.failures == [f"{flat}: jpeg-intra: 0 rates between 30 and 42 dB, 6 are wanted"]


def test_usage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, message in (
        (["--codecs", "gif"], "codec 'gif' is unknown, must be one of x264"),
        (["--codecs", "jpeg", "--published", "a.json:b"], "published curves are of sets of pictures"),
        (["--codecs", "jpeg", "--anchor", "x264"], "neither among the codecs"),
        (["--codecs", "jpeg", "--gop", "0"], "at least 1"),
    ):
        with pytest.raises(SystemExit) as usage:
            main([str(folder), *wrong])
        assert usage.value.code == 2
        assert message in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit):
        main([str(folder / "a.png"), "--codecs", "jpeg", "--gop", "8"])
    assert "--gop and --frames are for clips" in capsys.readouterr().err


def test_settings_name_what_was_coded_with() -> None:
    try:
        codec = FFmpegCodec("x264-psnr:fast", 16)
    except Exception as error:
        pytest.skip(str(error))
    assert codec.settings["preset"] == "fast"
    assert codec.settings["gop"] == 16
    assert "aq-mode=0:psy=0" in str(codec.settings["x264-params"])
