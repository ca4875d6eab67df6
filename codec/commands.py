"""What the sub-commands do, given their parsed arguments. Results go to standard output, each returns the exit code."""

from __future__ import annotations

import io
import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from nacre.bitstream.errors import InputError, NacreError
from nacre.bitstream.header import GREY
from nacre.sources import Source
from nacre.weights.store import Weights, find_profiles, search_folders

STANDARD = "-"  # standard input or output


def encode(options: Namespace) -> int:
    """nacre encode IN OUT."""
    from nacre.atomic import check_target
    from nacre.inspection import inspect_stream
    from nacre.media import STREAM_SUFFIX, is_picture_name, is_video_name
    from nacre.stopwatch import Stopwatch

    if is_picture_name(options.target) or is_video_name(options.target):
        kind = "video" if is_video_name(options.target) else "another picture format"
        msg = f"{options.target}: the name is that of {kind}, encode writes nacre streams ({STREAM_SUFFIX}) of pictures"
        raise InputError(msg)
    if options.target != STANDARD:
        check_target(Path(options.target), clobber=not options.no_clobber)
    stopwatch = Stopwatch()
    data = _codec(options).encode(_source(options.source), options.quality, stopwatch)
    with _open_output(options.target, clobber=not options.no_clobber) as file:
        file.write(data)
    info = inspect_stream(data)
    size = f"{info.header.width} x {info.header.height}"
    _report(options, f"{options.target}: {size}, {info.size} bytes, {info.bits_per_pixel:.3f} bpp", stopwatch)
    return 0


def decode(options: Namespace) -> int:
    """nacre decode IN OUT."""
    from nacre.atomic import check_target
    from nacre.media import output_format, write_picture
    from nacre.stopwatch import Stopwatch

    form = output_format(options.target, options.format)
    if options.target != STANDARD:
        check_target(Path(options.target), clobber=not options.no_clobber)
    stopwatch = Stopwatch()
    pixels = _codec(options).decode_array(_source(options.source), stopwatch)
    with _open_output(options.target, clobber=not options.no_clobber) as file:
        if options.target == STANDARD:  # not every format is written without seeking
            buffer = io.BytesIO()
            write_picture(buffer, pixels, form)
            file.write(buffer.getvalue())
        else:
            write_picture(file, pixels, form)
    kind = "grey" if pixels.ndim == 2 else "RGB"
    _report(options, f"{options.target}: {pixels.shape[1]} x {pixels.shape[0]} {kind}, {form.name}", stopwatch)
    return 0


def info(options: Namespace) -> int:
    """nacre info FILE."""
    from nacre.inspection import inspect_stream

    found = inspect_stream(_source(options.source))
    if options.json:
        _print_json(found.to_dict())
        return 0
    header = found.header
    kind = "grey" if header.chroma == GREY else "RGB"
    lines = [
        f"{options.source}: {header.width} x {header.height} {kind}, {header.bit_depth} bits",
        f"  format   nacre {found.version[0]}.{found.version[1]}",
        f"  quality  {found.quality:g}",
        f"  weights  {header.profile}, digest {header.digest.hex()}",
        f"  latent   {header.live_channels} live channels, skip threshold {header.skip_threshold}",
        f"  colour   {header.colour.describe()}",
        f"  tiles    {header.tile_count}",
        f"  size     {found.size} bytes, {found.bits_per_pixel:.4f} bpp, {found.payload_size} of them payload",
    ]
    lines += [f"    {part.size:9d}  {part.name}" for part in found.parts]
    print("\n".join(lines))
    return 0


def verify(options: Namespace) -> int:
    """nacre verify FILE."""
    try:
        result = _codec(options).verify(_source(options.source))
    except NacreError as error:
        if options.json:
            _print_json({"ok": False, "error": type(error).__name__, "message": str(error)})
        raise
    if options.json:
        _print_json(result.to_dict())
    elif not options.quiet:
        units = len(result.info.parts) - 1
        print(f"{options.source}: good, {units} units, {result.symbols} symbols, {result.info.size} bytes")
    return 0


def models(options: Namespace) -> int:
    """nacre models."""
    installed = find_profiles(options.weights)
    if options.json:
        _print_json([_describe(weights) for weights in installed])
        return 0
    if not installed:
        print("no weights are installed in " + " or ".join(str(place) for place in search_folders(options.weights)))
    for weights in installed:
        total = sum(weights.mac_per_pixel.values())
        print(f"{weights.profile} {weights.version}")
        print(f"  digest     {weights.digest.hex() if options.verbose else weights.stream_digest.hex()}")
        print(f"  folder     {weights.folder}")
        print(f"  size       {weights.size} bytes in {len(weights.files)} files")
        print(f"  MAC/pixel  {total:.0f}")
        for part, count in weights.mac_per_pixel.items():
            print(f"    {part:<14}  {count:8.1f}")
    return 0


def demo(options: Namespace) -> int:
    """nacre demo [PICTURE]."""
    from nacre.demo import run_demo

    table = run_demo(_codec(options), options.picture, Path(options.out), options.quality)
    if not options.quiet:
        print(table)
    return 0


def _codec(options: Namespace) -> Any:
    from nacre.image import ImageCodec

    return ImageCodec(getattr(options, "profile", None), options.threads, options.weights, options.max_pixels)


def _source(name: str) -> Source:
    return sys.stdin.buffer if name == STANDARD else name


@contextmanager
def _open_output(target: str, *, clobber: bool) -> Iterator[BinaryIO]:
    """The file to write, or standard output, which must not be a terminal."""
    from nacre.atomic import open_target

    if target != STANDARD:
        with open_target(Path(target), clobber=clobber) as file:
            yield file
        return
    if sys.stdout.isatty():
        msg = "standard output is a terminal, must be a file or a pipe"
        raise InputError(msg)
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def _report(options: Namespace, line: str, stopwatch: Any) -> None:
    """Say what was done, unless standard output carries the result."""
    if options.quiet:
        return
    stream = sys.stderr if options.target == STANDARD else sys.stdout
    if options.verbose:
        line += "".join(f", {part} {seconds * 1000:.1f} ms" for part, seconds in stopwatch.seconds.items())
    elif options.target == STANDARD:
        return
    print(line, file=stream)


def _describe(weights: Weights) -> dict[str, Any]:
    return {
        "profile": weights.profile,
        "version": weights.version,
        "digest": weights.digest.hex(),
        "folder": str(weights.folder),
        "bytes": weights.size,
        "mac_per_pixel": dict(weights.mac_per_pixel),
    }


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))
