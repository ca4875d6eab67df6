"""`nacre compare A B`: two pictures, every metric."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from nacre.bitstream.errors import InputError, NacreError
from nacre.tools.arguments import names, tool_parser
from nacre.tools.metrics import METRICS
from nacre.tools.pictures import Picture, read_picture

_STREAM_SUFFIX = ".ncr"


def compare(reference: Picture, picture: Picture, metrics: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Values of metrics between two (H, W, 3) uint8 pictures, and why others could not be taken.

    Raises InputError where the pictures differ in size.
    """
    if reference.shape != picture.shape:
        sizes = [f"{pixels.shape[1]}x{pixels.shape[0]}" for pixels in (reference, picture)]
        msg = f"the pictures are {sizes[0]} and {sizes[1]}, must be of one size"
        raise InputError(msg)
    values, missing = {}, {}
    for name in metrics:
        try:
            METRICS[name].check()
            values[name] = METRICS[name](reference, picture)
        except NacreError as error:
            missing[name] = str(error)
    return values, missing


def _read(path: Path) -> Picture:
    if path.suffix.lower() != _STREAM_SUFFIX:
        return read_picture(path)
    from nacre.image import ImageCodec

    pixels = ImageCodec().decode_array(path)
    return pixels if pixels.ndim == 3 else pixels[..., None].repeat(3, axis=2)


def main(argv: Sequence[str] | None = None) -> int:
    """The sub-command; returns the exit code. Raises NacreError where a picture cannot be read."""
    parser = tool_parser("compare", "Compare two pictures of one size, which may be nacre streams, by every metric.")
    parser.add_argument("reference", type=Path, metavar="A", help="the original")
    parser.add_argument("picture", type=Path, metavar="B", help="what was made of it")
    parser.add_argument("--metrics", type=names, metavar="NAME,...", help=f"some of {', '.join(METRICS)} (all)")
    parser.add_argument("--json", action="store_true", help="print JSON; null where a value is not finite")
    options = parser.parse_args(argv)
    unknown = [name for name in options.metrics or () if name not in METRICS]
    if unknown:
        parser.error(f"metric {unknown[0]!r} is unknown, must be one of {', '.join(METRICS)}")
    values, missing = compare(_read(options.reference), _read(options.picture), options.metrics or tuple(METRICS))
    for reason in missing.values():
        print(f"nacre compare: skipped: {reason}", file=sys.stderr)
    if options.json:
        print(json.dumps({name: value if math.isfinite(value) else None for name, value in values.items()}, indent=2))
    else:
        for name, value in values.items():
            print(f"{METRICS[name].label:24} {value:10.4f}")
    return 3 if options.metrics and missing else 0
