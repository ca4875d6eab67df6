"""Rates at equal quality, and the tables of an evaluation as Markdown."""

from __future__ import annotations

import pytest

pytest.importorskip("scipy")

from nacre.bitstream.errors import InputError
from nacre.tools.bd_rate import rate_at
from nacre.tools.curves import Curve, Published
from nacre.tools.equal_quality import levels, rate_table
from nacre.tools.markdown import build_markdown
from nacre.tools.measure import Measurement
from nacre.tools.results import Evaluation
from nacre.tools.summary import summarize
from nacre.tools.timing import Speed

# a rate that doubles every 3 dB, which is a straight line in the logarithm, and a quarter more of it
PLAIN = Curve("plain", (0.25, 0.5, 1.0, 2.0), (30.0, 33.0, 36.0, 39.0))
DEARER = Curve("dearer", (0.3125, 0.625, 1.25), (30.0, 33.0, 36.0))


def test_the_rate_at_a_quality() -> None:
    assert [rate_at(PLAIN, quality) for quality in (30.0, 34.5, 39.0)] == pytest.approx([0.25, 2.0**-0.5, 2.0])
    with pytest.raises(InputError, match=r"plain: quality is 29\.9, must be in 30\.\.39"):
        rate_at(PLAIN, 29.9)


def test_levels_are_round_and_reached_by_half_of_the_curves() -> None:
    assert levels([PLAIN]) == [float(level) for level in range(30, 40)]
    assert levels([Curve("psnr", (0.1, 1.0), (25.9, 42.2))]) == [26.0, 28.0, 30.0, 32.0, 34.0, 36.0, 38.0, 40.0, 42.0]
    assert levels([Curve("ms-ssim", (0.1, 1.0), (0.871, 0.989))]) == pytest.approx([0.88, 0.9, 0.92, 0.94, 0.96, 0.98])
    assert levels([Curve("wide", (0.1, 1.0), (-31.0, 92.0))]) == [-20.0, 0.0, 20.0, 40.0, 60.0, 80.0]
    assert levels([PLAIN, PLAIN, Curve("far", (0.1, 1.0), (70.0, 90.0))]) == levels([PLAIN])


def test_rates_at_equal_quality() -> None:
    heading, plain, dearer = rate_table({"dearer": DEARER, "plain": PLAIN}, "plain", "bits per pixel at psnr")
    assert heading == ["bits per pixel at psnr", "30", "31", "32", "33", "34", "35", "36", "37"]
    assert [plain[0], plain[1], plain[4], plain[7]] == ["plain", "0.250", "0.500", "1.000"]
    assert [dearer[0], dearer[1], dearer[4]] == ["dearer", "0.312 (+25 %)", "0.625 (+25 %)"]
    assert dearer[-1] == ""  # 37 dB is beyond its end
    assert rate_table({"plain": PLAIN}, "absent", "") == []


def test_rates_where_less_is_better() -> None:
    curve = Curve("butteraugli", (0.2, 0.8), (-4.0, -0.5))
    heading, row = rate_table({"butteraugli": curve}, "butteraugli", "at", -1.0)
    assert heading == ["at", "4", "3.5", "3", "2.5", "2", "1.5", "1", "0.5"]
    assert (row[1], row[-1]) == ("0.200", "0.800")


def evaluation() -> Evaluation:
    rows = []
    for codec, gain in (("jpeg", 0.0), ("nacre:fast", 3.0)):
        for quality in (10.0, 50.0, 90.0):
            values = {"psnr": 27.0 + quality / 10.0 + gain, "ssim": 0.9 + quality / 1000.0}
            size = int(quality * 20)
            rows.append(
                Measurement(f"{codec}{quality}", "a.png", 100, 100, codec, quality, size, values, {}, 0.1, 0.1, 1)
            )
    settings = {"jpeg": {"library": "x|y"}, "nacre:fast": {"threads": 1}}
    return Evaluation(rows, settings, ["psnr", "ssim"], ["jxl: missing"], ["b.png: broken"], [], "nacre evaluate a.png")


def test_the_markdown_holds_every_table() -> None:
    found = evaluation()
    old = Published("old", {"bpp": [0.2, 1.0], "psnr_rgb": [28.0, 38.0]})
    summary = summarize(found.measurements, found.metrics, [old], old.label)
    page = build_markdown(found, summary, {"psnr"}, [Speed("jpeg", 2, 2, 1, 3.0, 4.0)])
    lines = page.splitlines()
    assert "    nacre evaluate a.png" in lines
    assert "- b.png: broken" in lines
    assert "![psnr](psnr.svg)" in lines
    assert "ssim.svg" not in page
    (differences,) = [number for number, line in enumerate(lines) if line.startswith("| against old (published) |")]
    assert lines[differences + 1].replace(" ", "") == "|---" * 5 + "|"
    assert lines[differences + 2].startswith("| jpeg | ")
    assert any(line.startswith("| bits per pixel at psnr | 28 |") for line in lines)
    assert "| nacre:fast | 50 | 0.8000 | 35.0000 |" in lines
    assert "| jpeg | 2 | 2 x 1 | 3.00 | 4.00 |" in lines
    assert "| jpeg | library x\\|y |" in lines
    blocks = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    assert all(len({line.replace("\\|", "").count("|") for line in block}) == 1 for block in blocks)


def test_where_the_anchor_is_unknown_the_first_codec_stands_in() -> None:
    found = evaluation()
    old = Published("old", {"bpp": [0.2, 1.0], "psnr_rgb": [28.0, 38.0]})
    summary = summarize(found.measurements, found.metrics, [old], old.label)
    assert summary.anchors == {"psnr": "old (published)", "ssim": "jpeg"}
    assert summary.speeds_against[:2] == ("psnr", "old (published)")
    metric, anchor, rates = summarize(found.measurements, ["ssim"], [old], old.label).speeds_against
    assert (metric, anchor, set(rates)) == ("ssim", "jpeg", {"jpeg", "nacre:fast"})
    assert summarize([], ["psnr"], [old], "jpeg").tables("psnr") == []
