"""The commands that print what they find: info, verify, models, demo. Each returns the exit code."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from nacre.bitstream.errors import NacreError
from nacre.bitstream.header import GREY, NO_ALPHA
from nacre.bitstream.sequence import SNIFF_BYTES, is_sequence
from nacre.console import Console
from nacre.endpoints import peeked, source
from nacre.exits import Exit
from nacre.inspection import PictureInfo, inspect_stream
from nacre.pixellimit import choose_limits
from nacre.sequenceinfo import SequenceInfo
from nacre.sequencereport import describe_sequence
from nacre.sources import Source
from nacre.weights.sequence import INTRA, PREDICTED, SequenceWeights, find_sequence_profiles
from nacre.weights.store import Weights, find_profiles, search_folders

_INSTEAD = {
    "heavy_analysis": " instead of analysis",
    "linear_analysis": " instead of analysis (effort 1)",
    "light_synthesis": " instead of synthesis (decode --light)",
}


def info(options: Namespace, console: Console) -> int:
    """nacre info FILE."""
    found = inspect_stream(source(options.source), choose_limits())
    if options.json:
        _print_json(found.to_dict())
        return Exit.DONE
    if isinstance(found, SequenceInfo):
        console.answer(describe_sequence(options.source, found, verbose=options.verbose))
    else:
        console.answer(_describe_picture(options.source, found))
    return Exit.DONE


def _describe_picture(name: str, found: PictureInfo) -> str:
    header = found.header
    kind = ("grey" if header.chroma == GREY else "RGB") + ("" if header.alpha == NO_ALPHA else " with alpha")
    tiles = f"{header.tile_count}"
    if header.tile_count > 1:
        tiles += f" of {header.tile_size} x {header.tile_size}, margin {header.tile_margin}"
    lines = [
        f"{name}: {header.width} x {header.height} {kind}, {header.bit_depth} bits",
        f"  format   nacre {found.version[0]}.{found.version[1]}",
        f"  quality  {found.quality:g}",
        f"  weights  {header.profile}, digest {header.digest.hex()}",
        f"  latent   {header.live_channels} live channels, skip threshold {header.skip_threshold}",
        f"  colour   {header.colour.describe()}",
        f"  tiles    {tiles}",
        f"  alpha    {'none' if header.alpha == NO_ALPHA else f'straight, {found.alpha_size} bytes'}",
        f"  metadata {', '.join(f'{name} {size} bytes' for name, size in found.metadata.items()) or 'none'}",
        f"  size     {found.size} bytes, {found.bits_per_pixel:.4f} bpp, {found.payload_size} of them payload",
    ]
    lines += [f"    {part.size:9d}  {part.name}" for part in found.parts]
    return "\n".join(lines)


def verify(options: Namespace, console: Console) -> int:
    """nacre verify FILE."""
    try:
        with peeked(options.source, SNIFF_BYTES) as (start, stream):
            found, words = (_verify_sequence if is_sequence(start) else _verify_picture)(stream, options)
    except NacreError as error:
        if options.json:
            _print_json({"ok": False, "error": type(error).__name__, "message": str(error)})
        raise
    if options.json:
        _print_json(found)
    else:
        console.say(f"{options.source}: good, {words}")
    return Exit.DONE


def _verify_picture(stream: Source, options: Namespace) -> tuple[dict[str, Any], str]:
    from nacre.image import ImageCodec

    result = ImageCodec(None, options.threads, options.weights, options.max_pixels).verify(stream)
    units = len(result.info.parts) - 1
    return result.to_dict(), f"{units} units, {result.symbols} symbols, {result.info.size} bytes"


def _verify_sequence(stream: Source, options: Namespace) -> tuple[dict[str, Any], str]:
    from nacre.video import VideoDecoder

    with VideoDecoder(
        stream, threads=options.threads, weights=options.weights, max_pixels=options.max_pixels
    ) as decoder:
        result, header = decoder.verify(), decoder.header
    found = {
        "ok": True,
        "bytes": result.bytes,
        "frames": result.frames,
        "symbols": result.symbols,
        "profile": header.profile,
        "digest": header.digest.hex(),
    }
    return found, f"{result.frames} frames, {result.symbols} symbols, {result.bytes} bytes"


def models(options: Namespace, console: Console) -> int:
    """nacre models."""
    pictures, clips = find_profiles(options.weights), find_sequence_profiles(options.weights)
    if options.json:
        entries = [_describe("pictures", weights, dict(weights.mac_per_pixel)) for weights in pictures]
        for sequence in clips:
            counts = {kind: dict(part.mac_per_pixel) for kind, part in _frame_kinds(sequence)}
            entries.append(_describe("clips", sequence, counts))
        _print_json(entries)
        return Exit.DONE
    lines = []
    if not pictures and not clips:
        places = " or ".join(str(place) for place in search_folders(options.weights))
        lines.append(f"no weights are installed in {places}")
    for weights in pictures:
        lines += _heading("pictures", weights, verbose=options.verbose)
        lines += _complexity(weights, "")
    for sequence in clips:
        lines += _heading("clips", sequence, verbose=options.verbose)
        for kind, part in _frame_kinds(sequence):
            lines += _complexity(part, f" in {kind} frames")
    console.answer("\n".join(lines))
    return Exit.DONE


def _frame_kinds(weights: SequenceWeights) -> list[tuple[str, Weights]]:
    return [(INTRA, weights.intra), (PREDICTED, weights.predicted)]


def _heading(kind: str, weights: Weights | SequenceWeights, *, verbose: bool) -> list[str]:
    return [
        f"{weights.profile} {weights.version}, for {kind}",
        f"  digest     {weights.digest.hex() if verbose else weights.stream_digest.hex()}",
        f"  folder     {weights.folder}",
        f"  size       {weights.size} bytes in {_file_count(weights)} files",
    ]


def _file_count(weights: Weights | SequenceWeights) -> int:
    if isinstance(weights, Weights):
        return len(weights.files)
    return sum(len(part.files) for _, part in _frame_kinds(weights))


def _complexity(weights: Weights, where: str) -> list[str]:
    counts = weights.mac_per_pixel
    total = sum(count for part, count in counts.items() if part not in _INSTEAD)
    lines = [f"  MAC/pixel  {total:.0f}{where}"]
    return lines + [f"    {part:<15}  {count:8.1f}{_INSTEAD.get(part, '')}" for part, count in counts.items()]


def demo(options: Namespace, console: Console) -> int:
    """nacre demo [PICTURE]."""
    from nacre.demo import run_demo
    from nacre.image import ImageCodec

    codec = ImageCodec(options.profile, options.threads, options.weights, options.max_pixels)
    console.say(run_demo(codec, options.picture, Path(options.out), options.quality))
    return Exit.DONE


def _describe(kind: str, weights: Weights | SequenceWeights, mac_per_pixel: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": kind,
        "profile": weights.profile,
        "version": weights.version,
        "digest": weights.digest.hex(),
        "folder": str(weights.folder),
        "bytes": weights.size,
        "mac_per_pixel": mac_per_pixel,
    }


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))
