"""What `nacre evaluate` is asked: its arguments, and whether they fit each other."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from nacre.bitstream.errors import InputError
from nacre.tools.arguments import names, positive, tool_parser
from nacre.tools.clips import are_clips
from nacre.tools.curves import Published, load_published
from nacre.tools.metrics import DEFAULT_CLIP_METRICS, DEFAULT_METRICS, METRICS, described_metrics
from nacre.tools.peers import NAMES, is_name
from nacre.tools.video_peers import DEFAULT_GOP, variants
from nacre.tools.video_peers import NAMES as VIDEO_NAMES


def _quality_list(text: str) -> tuple[str, tuple[float, ...]]:
    codec, separator, values = text.partition("=")
    try:
        numbers = tuple(float(value) for value in values.split(","))
    except ValueError:
        numbers = ()
    if not separator or not numbers:
        msg = f"{text!r} must be CODEC=Q,Q,..."
        raise argparse.ArgumentTypeError(msg)
    return codec, numbers


def _parser() -> argparse.ArgumentParser:
    parser = tool_parser(
        "evaluate",
        "Measure codecs side by side on pictures or on clips: real files, metrics, Bjontegaard differences, a report.",
        "Exit codes: 0 done, what is not installed here is named and skipped; 1 error; 2 usage; 3 done, but something"
        " could not be read or failed, as named on stderr and in the report.",
    )
    parser.add_argument("sources", nargs="+", metavar="PICTURE|CLIP", help="files and folders, of one kind")
    own = f"of pictures: {', '.join(NAMES)}; of clips: {', '.join(VIDEO_NAMES)}"
    parser.add_argument("--codecs", type=names, required=True, metavar="NAME,...", help=own)
    parser.add_argument("--metrics", type=names, metavar="NAME,...", help=f"{described_metrics()}; {_defaults()}")
    parser.add_argument("--gop", type=positive, metavar="N", help=f"clips: distance of I frames ({DEFAULT_GOP})")
    parser.add_argument("--frames", type=positive, metavar="N", help="clips: of each the first N frames (all)")
    parser.add_argument(
        "--qualities",
        type=_quality_list,
        action="append",
        default=[],
        metavar="CODEC=Q,...",
        help="other qualities than a codec's own; may be repeated",
    )
    parser.add_argument(
        "--anchor",
        metavar="NAME",
        help="what differences are taken against: a codec, the first by default, or FILE.json:NAME (pictures), in whose"
        " stead the first codec stands for metrics that it lacks",
    )
    parser.add_argument(
        "--published",
        action="append",
        default=[],
        metavar="FILE.json:NAME",
        help="pictures: a published curve to draw and compare; may be repeated",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="results, plots and report; a run there is taken up again"
    )
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="processes, of one thread each (1)")
    parser.add_argument(
        "--timing",
        type=int,
        default=3,
        metavar="RUNS",
        help="with --out, time the codecs in a pass of its own, medians of RUNS runs; 0 leaves it out (3)",
    )
    parser.add_argument("--weights", metavar="FOLDER", help="where to look for nacre's weights")
    return parser


def _defaults() -> str:
    return f"by default {','.join(DEFAULT_METRICS)}, for clips {','.join(DEFAULT_CLIP_METRICS)}"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, with `clips` (whether the sources are such), `asked` (what each name of --codecs stands for) and
    `command` (the line that they came on).

    Ends the process with a usage error where they do not fit each other.
    """
    parser = _parser()
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(argv)
    arguments.command = shlex.join(["nacre", "evaluate", *argv])
    try:
        arguments.clips = are_clips(arguments.sources)
        find = variants if arguments.clips else _picture_codec
        arguments.asked = {name: find(name) for name in arguments.codecs}
    except InputError as error:
        parser.error(str(error))
    _check(parser, arguments)
    arguments.metrics = arguments.metrics or (DEFAULT_CLIP_METRICS if arguments.clips else DEFAULT_METRICS)
    arguments.gop = arguments.gop or DEFAULT_GOP
    arguments.anchor = arguments.anchor or arguments.codecs[0]
    return arguments


def _picture_codec(name: str) -> tuple[str, ...]:
    if not is_name(name):
        msg = f"codec {name!r} is unknown, must be one of {', '.join(NAMES)}"
        raise InputError(msg)
    return (name,)


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    for name in arguments.metrics or ():
        if name not in METRICS:
            parser.error(f"metric {name!r} is unknown, must be one of {described_metrics()}")
    for name, _ in arguments.qualities:
        if name not in arguments.codecs:
            parser.error(f"--qualities: {name!r} is not among the codecs")
    anchors = {*arguments.codecs, *(codec for codecs in arguments.asked.values() for codec in codecs)}
    published = [curve for curve in (*arguments.published, arguments.anchor or "") if ".json:" in curve]
    if arguments.clips and published:
        parser.error(f"{published[0]}: published curves are of sets of pictures, not of clips")
    if not arguments.clips and (arguments.gop or arguments.frames):
        parser.error("--gop and --frames are for clips, the sources are pictures")
    if arguments.anchor and ".json:" not in arguments.anchor and arguments.anchor not in anchors:
        parser.error(f"--anchor: {arguments.anchor!r} is neither among the codecs nor FILE.json:NAME")
    if arguments.timing < 0:
        parser.error(f"--timing is {arguments.timing}, must be at least 0")


def load_curves(arguments: argparse.Namespace) -> tuple[list[Published], str]:
    """The published curves to show, and the anchor's name in the tables; InputError where one cannot be read."""
    references = list(arguments.published)
    if ".json:" in arguments.anchor:
        references = list(dict.fromkeys([arguments.anchor, *references]))
        return [load_published(reference) for reference in references], load_published(arguments.anchor).label
    return [load_published(reference) for reference in references], arguments.anchor
