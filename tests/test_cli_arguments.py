"""Which command lines are accepted, what they mean, and what a refused one is told."""

from __future__ import annotations

import pytest

from nacre.cli import build_parser, main

Capture = pytest.CaptureFixture[str]


def test_paths_stand_between_options() -> None:
    for text in ("a.png b.ncr -q 50", "-q 50 a.png b.ncr", "a.png -q 50 b.ncr", "--quiet a.png --strip -q 50 -- b.ncr"):
        options = build_parser().parse_args(["encode", *text.split()])
        assert options.paths == ["a.png", "b.ncr"]
        assert options.quality == 50.0
    options = build_parser().parse_args(
        ["decode", "a", "b", "--keep-going", "c", "--out-dir", "out", "d", "--jobs", "3"]
    )
    assert (options.paths, options.out_dir, options.jobs) == (["a", "b", "c", "d"], "out", 3)
    assert build_parser().parse_args(["encode", "a", "-q", "5", "--", "-b"]).paths == ["a", "-b"]
    assert build_parser().parse_args(["encode", "-", "--strip", "-"]).paths == ["-", "-"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("120000", 120_000), ("120k", 120_000), ("120K", 120_000), ("1.5M", 1_500_000), ("0.0019k", 1)],
)
def test_sizes(text: str, size: int) -> None:
    assert build_parser().parse_args(["encode", "a", "b", "--size", text]).size == size


def test_values() -> None:
    options = build_parser().parse_args(
        ["encode", "a", "b", "--bpp", "0.5", "--max-pixels", "7", "--threads", "2", "--weights", "w", "--profile", "p"]
    )
    assert (options.bpp, options.max_pixels, options.threads, options.weights) == (0.5, 7, 2, "w")
    assert options.quality is options.size is options.psnr is None
    assert build_parser().parse_args(["encode", "a", "b", "--psnr", "38"]).psnr == 38.0
    options = build_parser().parse_args(
        ["decode", "a", "b", "--region", "1,2,30,4", "--format", "webp", "--no-clobber"]
    )
    assert (options.region, options.format, options.no_clobber) == ((1, 2, 30, 4), "webp", True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "a command is needed"),
        ("sing", "invalid choice"),
        ("encode", "required: IN... OUT"),
        ("encode a", "OUT is missing"),
        ("encode a b c", "several IN need --out-dir"),
        ("decode a", "OUT is missing"),
        ("decode a b c", "several IN need --out-dir"),
        ("encode - --out-dir out", "standard input has no name"),
        ("decode a - --out-dir out", "standard input has no name"),
        ("encode --out-dir out", "required: IN... OUT"),
        ("encode a b --jobs 2", "--jobs needs --out-dir"),
        ("encode a --out-dir out --jobs 0", "must be an integer of at least 1"),
        ("encode a --out-dir out --jobs two", "must be an integer of at least 1"),
        ("encode a b -q 101", "must be a number in 0..100"),
        ("encode a b -q -1", "must be a number in 0..100"),
        ("encode a b -q nan", "must be a number in 0..100"),
        ("encode a b --bpp 0", "must be a number above 0"),
        ("encode a b --bpp inf", "must be a number above 0"),
        ("encode a b --bpp much", "must be a number above 0"),
        ("encode a b --psnr -3", "must be a number above 0"),
        ("encode a b --psnr nan", "must be a number above 0"),
        ("encode a b --size 0", "must be a number of bytes"),
        ("encode a b --size 0.0001k", "must be a number of bytes"),
        ("encode a b --size 1.5", "must be a number of bytes"),
        ("encode a b --size -5k", "expected one argument"),
        ("encode a b --size 5G", "must be a number of bytes"),
        ("encode a b --size k", "must be a number of bytes"),
        ("encode a b --size 1k --bpp 1", "not allowed with"),
        ("encode a b --size 1k -q 60", "not allowed with"),
        ("encode a b --psnr 30 --bpp 1", "not allowed with"),
        ("encode a b --threads 0", "must be an integer of at least 1"),
        ("encode a b --threads 1e3", "must be an integer of at least 1"),
        ("encode a b --max-pixels -5", "must be an integer of at least 1"),
        ("encode a b --max-pixels 1.5", "must be an integer of at least 1"),
        ("encode a b --region 1,2,3,4", "unrecognized arguments: --region"),
        ("encode a b --sing c", "unrecognized arguments: --sing"),
        ("decode a b --region 1,2,3", "must be four integers X,Y,W,H"),
        ("decode a b --region 1,2,3,4,5", "must be four integers X,Y,W,H"),
        ("decode a b --region 1,2,3,x", "must be four integers X,Y,W,H"),
        ("decode a b --region 1,2,3,-4", "must be four integers X,Y,W,H"),
        ("decode a b --region 1,2,0,4", "width and height must be at least 1"),
        ("decode a b --region 1,2,4,0", "width and height must be at least 1"),
        ("decode a b --bpp 1", "unrecognized arguments: --bpp"),
        ("info", "required: FILE"),
        ("info a b", "unrecognized arguments: b"),
        ("verify a --keep-going", "unrecognized arguments: --keep-going"),
    ],
)
def test_usage_errors(text: str, complaint: str, capfd: Capture) -> None:
    assert main(text.split()) == 2
    output, error = capfd.readouterr()
    assert output == ""
    assert error.startswith("usage: nacre")
    assert complaint in error


def test_help_says_both_forms(capfd: Capture) -> None:
    for command, words in (
        ("encode", ("--out-dir", "--jobs", "--bpp", "--size", "--psnr", "--strip", "--no-clobber", "--max-pixels")),
        ("decode", ("--out-dir", "--jobs", "--region", "--keep-going", "--format", "--threads", "--weights")),
    ):
        assert main([command, "--help"]) == 0
        output = capfd.readouterr().out
        assert f"usage: nacre {command} [options] IN OUT" in output
        assert f"nacre {command} [options] IN... --out-dir FOLDER" in output
        assert all(word in output for word in words)
