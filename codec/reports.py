"""The commands that print what they find: info, verify, models, demo. Each returns the exit code."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from nacre.bitstream.errors import NacreError
from nacre.bitstream.header import GREY, NO_ALPHA
from nacre.console import Console
from nacre.endpoints import source
from nacre.exits import Exit
from nacre.pixellimit import choose_limits
from nacre.weights.store import Weights, find_profiles, search_folders

_INSTEAD = {"heavy_analysis": " instead of analysis", "light_synthesis": " instead of synthesis (decode --light)"}


def info(options: Namespace, console: Console) -> int:
    """nacre info FILE."""
    from nacre.inspection import inspect_stream

    found = inspect_stream(source(options.source), choose_limits())
    if options.json:
        _print_json(found.to_dict())
        return Exit.DONE
    header = found.header
    kind = ("grey" if header.chroma == GREY else "RGB") + ("" if header.alpha == NO_ALPHA else " with alpha")
    tiles = f"{header.tile_count}"
    if header.tile_count > 1:
        tiles += f" of {header.tile_size} x {header.tile_size}, margin {header.tile_margin}"
    lines = [
        f"{options.source}: {header.width} x {header.height} {kind}, {header.bit_depth} bits",
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
    console.answer("\n".join(lines))
    return Exit.DONE


def verify(options: Namespace, console: Console) -> int:
    """nacre verify FILE."""
    from nacre.image import ImageCodec

    codec = ImageCodec(None, options.threads, options.weights, options.max_pixels)
    try:
        result = codec.verify(source(options.source))
    except NacreError as error:
        if options.json:
            _print_json({"ok": False, "error": type(error).__name__, "message": str(error)})
        raise
    if options.json:
        _print_json(result.to_dict())
    else:
        units = len(result.info.parts) - 1
        console.say(f"{options.source}: good, {units} units, {result.symbols} symbols, {result.info.size} bytes")
    return Exit.DONE


def models(options: Namespace, console: Console) -> int:
    """nacre models."""
    installed = find_profiles(options.weights)
    if options.json:
        _print_json([_describe(weights) for weights in installed])
        return Exit.DONE
    lines = []
    if not installed:
        places = " or ".join(str(place) for place in search_folders(options.weights))
        lines.append(f"no weights are installed in {places}")
    for weights in installed:
        counts = weights.mac_per_pixel
        lines += [
            f"{weights.profile} {weights.version}",
            f"  digest     {weights.digest.hex() if options.verbose else weights.stream_digest.hex()}",
            f"  folder     {weights.folder}",
            f"  size       {weights.size} bytes in {len(weights.files)} files",
            f"  MAC/pixel  {sum(count for part, count in counts.items() if part not in _INSTEAD):.0f}",
        ]
        lines += [f"    {part:<15}  {count:8.1f}{_INSTEAD.get(part, '')}" for part, count in counts.items()]
    console.answer("\n".join(lines))
    return Exit.DONE


def demo(options: Namespace, console: Console) -> int:
    """nacre demo [PICTURE]."""
    from nacre.demo import run_demo
    from nacre.image import ImageCodec

    codec = ImageCodec(options.profile, options.threads, options.weights, options.max_pixels)
    console.say(run_demo(codec, options.picture, Path(options.out), options.quality))
    return Exit.DONE


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
