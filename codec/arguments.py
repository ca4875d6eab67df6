"""The parser of the command line: sub-commands, options and what their values may be."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from nacre.effort import MAX_EFFORT, MIN_EFFORT
from nacre.version import __version__

STANDARD = "-"  # standard input or output

_SIZE = re.compile(r"(\d+)(?:\.(\d+))?([km]?)", re.ASCII | re.IGNORECASE)
_SIZE_DIGITS = {"": 0, "k": 3, "m": 6}
_TIME = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d+)?)", re.ASCII)  # hours, minutes, seconds


class _CommandParser(argparse.ArgumentParser):
    """The parser of a sub-command. Where it takes several paths, they may stand between its options."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        options, rest = super().parse_known_args(args, namespace)
        if not hasattr(options, "paths"):
            return options, rest
        end = rest.index("--") if "--" in rest else len(rest)
        unknown = [text for text in rest[:end] if text.startswith("-") and text != STANDARD]
        options.paths += [text for text in rest[:end] if text not in unknown] + rest[end + 1 :]
        if not unknown:
            self._check_paths(options)
            self._check_rates(options)
        return options, unknown

    def _check_paths(self, options: argparse.Namespace) -> None:
        if options.out_dir is not None:
            if STANDARD in options.paths:
                self.error("standard input has no name to make one of in --out-dir")
        elif len(options.paths) < 2:
            self.error("OUT is missing (or --out-dir)")
        elif len(options.paths) > 2:
            self.error("several IN need --out-dir FOLDER")
        elif options.jobs is not None:
            self.error("--jobs needs --out-dir FOLDER")

    def _check_rates(self, options: argparse.Namespace) -> None:
        if getattr(options, "maxrate", None) is None and getattr(options, "bufsize", None) is None:
            return
        if options.maxrate is None or options.bufsize is None:
            self.error("--maxrate and --bufsize belong together: one of them is missing")
        if options.bitrate is None:
            self.error("--maxrate and --bufsize need --bitrate")
        if options.maxrate < options.bitrate:
            self.error(f"--maxrate is {options.maxrate}, must be at least --bitrate, {options.bitrate}")


def build_parser(tools: Mapping[str, str]) -> argparse.ArgumentParser:
    """The parser of all sub-commands; tools: names and summaries of those that have parsers of their own."""
    parser = argparse.ArgumentParser(
        prog="nacre",
        allow_abbrev=False,
        description="A learned codec of pictures and clips. IN and OUT may be - for standard input and output.",
        epilog="Exit codes: 0 done, 1 error, 2 usage, 3 done with losses, 130 interrupted, 143 terminated. Environment:"
        " NACRE_WEIGHTS names a folder to look for weights in before the package's own, NACRE_MAX_PIXELS the largest"
        " number of pixels of a picture or a frame where --max-pixels does not.",
    )
    _add_common(parser, defaults=True)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", parser_class=_CommandParser)
    _add_encode(commands)
    _add_decode(commands)

    info = _command(commands, "info", "print what a stream says of itself, and the bytes of each part")
    info.add_argument("source", metavar="FILE", help="stream to read")
    _add_json(info)

    verify = _command(commands, "verify", "check every checksum and decode all symbols, write nothing")
    verify.add_argument("source", metavar="FILE", help="stream to read")
    _add_json(verify)
    _add_codec(verify)

    models = _command(commands, "models", "list the installed weights")
    _add_json(models)
    _add_weights(models)

    demo = _command(commands, "demo", "code a picture, or a scene that is drawn for it, beside JPEG and WebP")
    demo.add_argument("picture", metavar="PICTURE", nargs="?", help="picture to code instead of the drawn scene")
    demo.add_argument("--out", metavar="FOLDER", default="nacre-demo", help="where to write, default nacre-demo")
    demo.add_argument(
        "-q", "--quality", type=_quality, default=60.0, metavar="Q", help="0 (smallest) to 100 (best), default 60"
    )
    demo.add_argument("--profile", help="weights to encode with, default fast")
    _add_codec(demo)

    for name, summary in tools.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser


def _add_encode(commands: Any) -> None:
    encode = _command(
        commands, "encode", "code pictures and clips as nacre streams", "IN OUT", "IN... --out-dir FOLDER"
    )
    encode.add_argument(
        "paths",
        metavar="IN... OUT",
        nargs="+",
        help="picture in any format that Pillow reads, or clip: a file that FFmpeg reads, a folder of pictures,"
        " numbered pictures (frames/%%04d.png); stream to write, .ncr",
    )
    aim = encode.add_mutually_exclusive_group()
    aim.add_argument(
        "-q",
        "--quality",
        type=_quality,
        metavar="Q",
        help="0 (smallest) to 100 (best), default 60 for pictures, 50 for clips",
    )
    aim.add_argument(
        "--bitrate", type=_rate, metavar="BITS", help="clips: average bits per second of frames: 800k, 1.5M"
    )
    aim.add_argument(
        "--bpp", type=_above_zero, metavar="X", help="pictures: search the quality that takes X bits per pixel"
    )
    aim.add_argument(
        "--size", type=_size, metavar="BYTES", help="pictures: search the best quality that fits: 120000, 120k, 1.5M"
    )
    aim.add_argument(
        "--psnr", type=_above_zero, metavar="DB", help="pictures: search the lowest quality that reaches DB"
    )
    encode.add_argument(
        "-e", "--effort", type=_effort, metavar="N", help="pictures: 1 (fastest) to 9 (smallest stream), default 2"
    )
    encode.add_argument("--strip", action="store_true", help="pictures: leave out ICC profile, EXIF and XMP")
    encode.add_argument(
        "--maxrate", type=_rate, metavar="BITS", help="clips: most bits per second, with --bitrate and --bufsize"
    )
    encode.add_argument("--bufsize", type=_rate, metavar="BITS", help="clips: what a decoder's buffer holds")
    encode.add_argument(
        "--gop", type=_positive, metavar="N", help="clips: frames from one intra frame to the next, default 32"
    )
    encode.add_argument(
        "--low-delay",
        action="store_true",
        help="clips: write every frame before the next one comes, as with --bitrate; GOPs side by side are faster",
    )
    encode.add_argument(
        "--fps",
        type=_frame_rate,
        metavar="F",
        help="clips of pictures and without timestamps: frames a second (30, 29.97, 30000/1001), default 25",
    )
    _add_part(encode)
    encode.add_argument("--profile", help="weights to encode with, default fast")
    _add_codec(encode)
    _add_targets(encode, "IN's name with .ncr")


def _add_decode(commands: Any) -> None:
    decode = _command(
        commands, "decode", "decode nacre streams to pictures and clips", "IN OUT", "IN... --out-dir FOLDER"
    )
    decode.add_argument(
        "paths",
        metavar="IN... OUT",
        nargs="+",
        help="stream; picture to write, in the format that its ending names, or clip: .mkv, .mp4, .mov, .y4m (also for"
        " -), a folder of PNG pictures, or their pattern",
    )
    decode.add_argument(
        "--format",
        metavar="F",
        help="format to write whatever the ending, default png for - and --out-dir; of clips with --out-dir alone,"
        " default mkv",
    )
    decode.add_argument("--region", type=_region, metavar="X,Y,W,H", help="pictures: decode these pixels alone")
    decode.add_argument(
        "--keep-going", action="store_true", help="decode what is left of a damaged stream, name what is lost, exit 3"
    )
    decode.add_argument(
        "--light", action="store_true", help="pictures: decode by the light synthesis: faster, less exact"
    )
    _add_part(decode)
    _add_codec(decode)
    _add_targets(decode, "IN's name with the format's ending")


def _add_part(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", type=_start, metavar="T", help="clips: begin at T, in seconds or HH:MM:SS[.fff]")
    parser.add_argument("--duration", type=_duration, metavar="T", help="clips: end T later")
    parser.add_argument("--no-audio", action="store_true", help="clips: leave out audio tracks; subtitles stay")


def _command(commands: Any, name: str, summary: str, *usages: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        allow_abbrev=False,
        description=f"{summary[0].upper()}{summary[1:]}.",
        usage="\n       ".join(f"nacre {name} [options] {usage}" for usage in usages) or None,
    )
    _add_common(parser, defaults=False)
    return parser


def _add_common(parser: argparse.ArgumentParser, *, defaults: bool) -> None:
    """What every parser takes; sub-commands have no defaults, which would undo what stands before them."""
    default = False if defaults else argparse.SUPPRESS
    parser.add_argument("-v", "--verbose", action="store_true", default=default, help="say more")
    parser.add_argument("--quiet", action="store_true", default=default, help="say nothing but errors")
    parser.add_argument("--version", action="version", version=f"nacre {__version__}")


def _add_codec(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=_positive, metavar="N", help="threads of a picture or clip, default as many as processors"
    )
    parser.add_argument(
        "--max-pixels",
        type=_positive,
        metavar="N",
        help="refuse larger pictures and frames, default NACRE_MAX_PIXELS or 400 million, of clips 16.8 million",
    )
    _add_weights(parser)


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", metavar="FOLDER", help="look for weights there and nowhere else")


def _add_targets(parser: argparse.ArgumentParser, naming: str) -> None:
    parser.add_argument("--out-dir", metavar="FOLDER", help=f"write there, each result under {naming}")
    parser.add_argument(
        "--jobs", type=_positive, metavar="N", help="inputs at a time with --out-dir, then --threads is 1 by default"
    )
    parser.add_argument("--no-clobber", action="store_true", help="never replace an existing file")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _quality(text: str) -> float:
    return _number(text, "quality", "a number in 0..100", lambda value: 0.0 <= value <= 100.0)


def _effort(text: str) -> int:
    if not (text.isascii() and text.isdigit() and MIN_EFFORT <= int(text) <= MAX_EFFORT):
        msg = f"the effort is {text!r}, must be a whole number in {MIN_EFFORT}..{MAX_EFFORT}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _above_zero(text: str) -> float:
    return _number(text, "value", "a number above 0", lambda value: 0.0 < value < math.inf)


def _number(text: str, what: str, legal: str, is_legal: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not is_legal(value):
        msg = f"the {what} is {text!r}, must be {legal}"
        raise argparse.ArgumentTypeError(msg)
    return value


def _size(text: str) -> int:
    return _amount(text, "size", "bytes")


def _rate(text: str) -> int:
    return _amount(text, "rate", "bits")


def _amount(text: str, what: str, unit: str) -> int:
    """A whole number, or one with decimals and k (1000) or M (1000000)."""
    match = _SIZE.fullmatch(text)
    digits = _SIZE_DIGITS[match[3].lower()] if match else 0
    amount = int(match[1] + (match[2] or "").ljust(digits, "0")[:digits]) if match else 0
    if not match or amount < 1 or (match[2] and not digits):
        msg = f"the {what} is {text!r}, must be a number of {unit} of at least 1, such as 120000, 120k or 1.5M"
        raise argparse.ArgumentTypeError(msg)
    return amount


def _frame_rate(text: str) -> Fraction:
    """Frames a second: a number or a ratio of two."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        msg = f"the rate is {text!r}, must be frames a second above 0, such as 30, 29.97 or 30000/1001"
        raise argparse.ArgumentTypeError(msg)
    return rate


def _start(text: str) -> Fraction:
    """Seconds."""
    match = _TIME.fullmatch(text)
    if not match or (match[2] and float(match[3]) >= 60):
        msg = f"the time is {text!r}, must be seconds, or hours, minutes and seconds: 90.5 or 00:01:30.5"
        raise argparse.ArgumentTypeError(msg)
    return (int(match[1] or 0) * 60 + int(match[2] or 0)) * 60 + Fraction(match[3])


def _duration(text: str) -> Fraction:
    """Seconds above 0."""
    duration = _start(text)
    if not duration:
        msg = f"the duration is {text!r}, must be above 0"
        raise argparse.ArgumentTypeError(msg)
    return duration


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        msg = f"the number is {text!r}, must be an integer of at least 1"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _region(text: str) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels."""
    parts = text.split(",")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
        msg = f"the region is {text!r}, must be four integers X,Y,W,H"
        raise argparse.ArgumentTypeError(msg)
    left, top, width, height = map(int, parts)
    if not (width and height):
        msg = f"the region is {text!r}, its width and height must be at least 1"
        raise argparse.ArgumentTypeError(msg)
    return left, top, width, height
