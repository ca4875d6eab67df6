"""Pictures to streams and back, for the command line."""

from __future__ import annotations

from argparse import Namespace
from contextlib import nullcontext

from nacre.endpoints import open_output, rewindable
from nacre.image import ImageCodec
from nacre.inspection import QUALITY_STEPS
from nacre.media import open_sink, output_format
from nacre.sources import Source
from nacre.stopwatch import Stopwatch
from nacre.work import Outcome, Steps


def encode_picture(
    codec: ImageCodec, source: Source, target: str, options: Namespace, stopwatch: Stopwatch, steps: Steps
) -> Outcome:
    """Write the stream of a picture to a path or standard output; nothing is left of it where that fails."""
    searches = options.bpp is not None or options.size is not None or options.psnr is not None
    with (
        open_output(target, clobber=not options.no_clobber) as file,
        rewindable(source) if searches else nullcontext(source) as picture,
    ):
        made = codec.encode_to(
            picture,
            file,
            options.quality,
            stopwatch,
            bpp=options.bpp,
            size=options.size,
            psnr=options.psnr,
            effort=options.effort,
            strip=options.strip,
            progress=steps.tiles,
        )
    header = made.header
    line = f"{target}: {header.width} x {header.height}, {made.size} bytes"
    line += f", {made.size * 8 / (header.width * header.height):.3f} bpp"
    if searches:
        line += f", quality {header.quality / QUALITY_STEPS:g}"
    return Outcome(line)


def decode_picture(
    codec: ImageCodec, source: Source, target: str, options: Namespace, stopwatch: Stopwatch, steps: Steps
) -> Outcome:
    """Write the picture of a stream to a path or standard output; nothing is left of it where that fails."""
    form = output_format(target, options.format)
    with open_output(target, clobber=not options.no_clobber) as file, open_sink(file, form) as sink:
        decoded = codec.decode_rows(
            source,
            sink,
            stopwatch,
            region=options.region,
            keep_going=options.keep_going,
            light=options.light,
            progress=steps.tiles,
        )
    made = decoded.form
    kind = ("grey" if made.grey else "RGB") + (" with alpha" if made.alpha else "")
    return Outcome(f"{target}: {made.width} x {made.height} {kind}, {form.name}", decoded.losses)
