"""`nacre compare A B`: two pictures or two clips, every metric."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from nacre.bitstream.errors import InputError, NacreError
from nacre.tools.arguments import names, positive, tool_parser
from nacre.tools.clips import Clip, are_clips, read_clip
from nacre.tools.metrics import METRICS, described_metrics
from nacre.tools.pictures import Picture, read_picture

_STREAM_SUFFIX = ".ncr"


def compare(
    reference: Picture | Clip, other: Picture | Clip, metrics: Sequence[str]
) -> tuple[dict[str, float], dict[str, str]]:
    """Values of metrics between two (H, W, 3) uint8 pictures or two clips, and why others could not be taken.

    Raises InputError where they differ in size, in number of frames, or in what their samples mean.
    """
    _check_alike(reference, other)
    values, missing = {}, {}
    for name in metrics:
        metric = METRICS[name]
        try:
            metric.check(clips=isinstance(reference, Clip))
            if isinstance(reference, Clip) and isinstance(other, Clip):
                values[name] = metric.of_clip(reference, other.frames)
            elif not isinstance(reference, Clip) and not isinstance(other, Clip):
                values[name] = metric(reference, other)
        except NacreError as error:
            missing[name] = str(error)
    return values, missing


def _check_alike(reference: Picture | Clip, other: Picture | Clip) -> None:
    forms = [_form(reference), _form(other)]
    if forms[0] != forms[1]:
        msg = f"A is {forms[0]}, B is {forms[1]}, must be alike"
        raise InputError(msg)


def _form(source: Picture | Clip) -> str:
    if not isinstance(source, Clip):
        return f"a picture of {source.shape[1]}x{source.shape[0]}"
    samples = f"{source.matrix}, {'full' if source.full_range else 'limited'} range"
    return f"a clip of {len(source.frames)} frames of {source.width}x{source.height}, {samples}"


def _read(path: Path) -> Picture:
    if path.suffix.lower() != _STREAM_SUFFIX:
        return read_picture(path)
    from nacre.image import ImageCodec

    pixels = ImageCodec().decode_array(path)
    return pixels if pixels.ndim == 3 else pixels[..., None].repeat(3, axis=2)


def main(argv: Sequence[str] | None = None) -> int:
    """The sub-command; returns the exit code. Raises NacreError where a picture or clip cannot be read."""
    parser = tool_parser(
        "compare", "Compare two pictures of one size, which may be nacre streams, or two clips, by every metric."
    )
    parser.add_argument("reference", type=Path, metavar="A", help="the original")
    parser.add_argument("picture", type=Path, metavar="B", help="what was made of it")
    parser.add_argument("--metrics", type=names, metavar="NAME,...", help=f"some of {described_metrics()}; all")
    parser.add_argument("--frames", type=positive, metavar="N", help="clips: of each the first N frames (all)")
    parser.add_argument("--json", action="store_true", help="print JSON; null where a value is not finite")
    options = parser.parse_args(argv)
    unknown = [name for name in options.metrics or () if name not in METRICS]
    if unknown:
        parser.error(f"metric {unknown[0]!r} is unknown, must be one of {described_metrics()}")
    paths = (options.reference, options.picture)
    if are_clips(map(str, paths)):
        sources: list[Picture | Clip] = [read_clip(path, options.frames) for path in paths]
    else:
        sources = [_read(path) for path in paths]
    reference, other = sources
    values, missing = compare(reference, other, options.metrics or tuple(METRICS))
    for reason in missing.values():
        print(f"nacre compare: skipped: {reason}", file=sys.stderr)
    if options.json:
        print(json.dumps({name: value if math.isfinite(value) else None for name, value in values.items()}, indent=2))
    else:
        for name, value in values.items():
            print(f"{METRICS[name].label:36} {value:10.4f}")
    return 3 if options.metrics and missing else 0
