"""Crops, plots, speeds and the HTML page."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from nacre.tools.crops import Crop, busiest, encode_to_size
from nacre.tools.curves import Published
from nacre.tools.evaluate import main
from nacre.tools.measure import Measurement
from nacre.tools.peers import open_codec
from nacre.tools.pictures import Picture
from nacre.tools.plot import write_plots
from nacre.tools.report import build_report
from nacre.tools.results import Evaluation, speed_table
from nacre.tools.summary import Summary, summarize
from nacre.tools.timing import Speed, Timing, mean_speeds

OLD = Published("old <1>", {"bpp": [0.2, 1.0], "psnr_rgb": [28.0, 38.0]})


def measurements() -> list[Measurement]:
    rows = []
    for codec, gain in (("jpeg", 0.0), ("nacre:fast", 3.0)):
        for quality in (10.0, 50.0, 90.0):
            values: Mapping[str, float] = {"psnr": 27.0 + quality / 10.0 + gain}
            size = int(quality * 20)
            rows.append(
                Measurement(f"{codec}{quality}", "a.png", 100, 100, codec, quality, size, values, {}, 0.1, 0.1, 1)
            )
    return rows


def summary() -> Summary:
    return summarize(measurements(), ["psnr"], [OLD], "jpeg")


def test_plots_are_written_as_png_and_svg(tmp_path: Path) -> None:
    speeds = mean_speeds([Timing("a.png", codec, 50.0, 2, 2, 1, 3.0, 30.0) for codec in ("jpeg", "nacre:fast")])
    plots = write_plots(tmp_path, summary(), speeds)
    assert set(plots) == {"psnr", "encode", "decode"}
    assert all(data.lstrip().startswith(b"<?xml") for data in plots.values())
    for name in plots:
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 500


def test_mean_speeds_are_geometric() -> None:
    timings = [Timing("a", "jpeg", 50.0, 1, 1, 1, 2.0, 5.0), Timing("b", "jpeg", 50.0, 1, 1, 1, 8.0, 20.0)]
    (speed,) = mean_speeds(timings)
    assert speed[:4] == ("jpeg", 1, 1, 1)
    assert [speed.encode, speed.decode] == pytest.approx([4.0, 10.0])
    assert speed_table([speed, Speed("webp", 2, 2, 1, 5.0, 6.0)])[1:] == [
        ["jpeg", "1", "1 x 1", "4.00", "10.00"],
        ["webp", "2", "2 x 1", "5.00", "6.00"],
    ]


def test_the_page_holds_everything_itself() -> None:
    evaluation = Evaluation(
        measurements(), {"jpeg": {"library": "x"}}, ["psnr"], ["jxl: missing"], ["b.png: broken <&>"]
    )
    pixels = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(pixels, "WEBP", lossless=True)
    crops = [Crop("a.png", name, pixels.getvalue(), 1234, 0.4, 30.5) for name in ("original", "jpeg", "nacre:fast")]
    page = build_report(evaluation, summary(), {"psnr": b"<svg/>"}, [Speed("jpeg", 2, 1, 2, 3.0, 4.0)], crops)
    assert "broken &lt;&amp;&gt;" in page
    assert "jxl: missing" in page
    assert "old &lt;1&gt; (published)" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    choices = json.loads(data)
    assert choices["jpeg"]["note"] == "1,234 bytes, 0.400 bpp, 30.50 dB"
    image = base64.b64decode(choices["original"]["image"].partition(",")[2])
    with Image.open(io.BytesIO(image)) as shown:
        assert shown.size == (4, 4)


def test_the_busiest_part() -> None:
    picture: Picture = np.full((60, 80, 3), 90, np.uint8)
    picture[30:50, 50:70] = np.random.default_rng(1).integers(0, 255, (20, 20, 3), np.uint8)
    rows, columns = busiest(picture, 24, 22)
    assert rows.start <= 30 < 50 <= rows.stop
    assert columns.start <= 50 < 70 <= columns.stop
    assert busiest(picture, 480, 320) == (slice(0, 60), slice(0, 80))


def test_encoding_to_a_size() -> None:
    codec = open_codec("jpeg")
    picture = np.random.default_rng(2).integers(0, 255, (64, 96, 3), np.uint8)
    picture = np.asarray(Image.fromarray(picture).resize((192, 128), Image.Resampling.BICUBIC))
    known = {quality: len(codec.encode(picture, quality)) for quality in (5.0, 50.0, 95.0)}
    target = (known[50.0] + known[95.0]) // 2
    assert len(encode_to_size(codec, picture, target, dict(known))) == pytest.approx(target, rel=0.04)
    assert len(encode_to_size(codec, picture, 10, dict(known))) == known[5.0]
    assert len(encode_to_size(codec, picture, 10**6, dict(known))) == known[95.0]


def test_a_whole_report(tmp_path: Path) -> None:
    y, x = np.mgrid[:176, :192] / 20.0
    waves = np.stack([np.sin(x + y), np.cos(x - y), np.sin(x * y / 8.0)], axis=-1)
    Image.fromarray((127.5 + 120.0 * waves).astype(np.uint8)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    arguments = [str(tmp_path / "a.png"), "--codecs", "jpeg,jpeg-444", "--qualities", "jpeg=10,50,90"]
    assert main([*arguments, "--qualities", "jpeg-444=20,60", "--out", str(out), "--timing", "1", "--quiet"]) == 0
    assert {path.name for path in out.iterdir()} >= {"report.html", "results.json", "psnr.png", "psnr.svg"}
    timings = json.loads((out / "results.json").read_text())["timings"]
    assert {timing["codec"] for timing in timings} == {"jpeg", "jpeg-444"}
    assert all(timing["encode_mpx_s"] > 0.0 for timing in timings)
    assert "Look for yourself" in (out / "report.html").read_text()
