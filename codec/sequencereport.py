"""What info prints of a sequence."""

from __future__ import annotations

from collections.abc import Iterator

from nacre.bitstream.tracks import AUDIO
from nacre.sequenceinfo import FrameSizes, SequenceInfo, TrackInfo, describe_rate

_LOCATIONS = ("not known", "left", "centre", "top left", "top", "bottom left", "bottom")


def describe_sequence(name: str, found: SequenceInfo, *, verbose: bool) -> str:
    """Lines about a sequence; verbose: with one for each frame."""
    header = found.header
    kinds = {kind: found.of_kind(key=kind == "intra") for kind in ("intra", "predicted")}
    aspect = header.sample_aspect_ratio
    size = f"{header.width} x {header.height} YUV 4:2:0, {header.bit_depth} bits"
    shape = f"{aspect.numerator}:{aspect.denominator}" if aspect else "not known"
    rates = [describe_rate(found.bits_per_second(part)) for part in (found.size, found.frame_size)]
    lines = [
        f"{name}: {size}, {len(found.frames)} frames, {float(found.duration):.3f} s",
        f"  format   nacre {found.version[0]}.{found.version[1]}, {_end(found)}",
        f"  weights  {header.profile}, digest {header.digest.hex()}, skip threshold {header.skip_threshold}",
        f"  frames   {_rate(found)} frames/s, {kinds['intra'].frames} GOPs of at most {found.longest_gop} frames",
        *(f"    {kind:<9}  {_sizes(sizes, found.size)}" for kind, sizes in kinds.items() if sizes.frames),
        f"  times    {_times(found)}",
        f"  colour   {header.colour.describe()}, chroma {_LOCATIONS[header.chroma_location]}",
        f"  shown    turned by {90 * header.rotation} degrees, sample aspect ratio {shape}",
        f"  hdr      {_hdr(found)}",
        f"  tracks   {len(found.tracks) or 'none'}",
        *(f"    {_track(track)}" for track in found.tracks),
        f"  metadata {', '.join(f'{name} {size} bytes' for name, size in found.metadata.items()) or 'none'}",
        f"  index    {'none' if found.index_entries is None else f'{found.index_entries} intra frames'}",
        f"  size     {found.size} bytes, {rates[0]}, of these frames {found.frame_size} bytes, {rates[1]}",
    ]
    if verbose:
        lines += _frames(found)
    return "\n".join(lines)


def _end(found: SequenceInfo) -> str:
    return "complete" if found.complete else "without an end: cut short, or still being written"


def _rate(found: SequenceInfo) -> str:
    rate = found.header.frame_rate
    return f"{float(rate):.4g}" if rate else "not known how many"


def _sizes(sizes: FrameSizes, whole: int) -> str:
    low, high = sizes.low_quality, sizes.high_quality
    quality = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    return (
        f"{sizes.frames:6d}, {sizes.size:9d} bytes, {sizes.size * 100 / whole:4.1f} % of all,"
        f" {sizes.size * 8 / sizes.frames:.0f} bits each, quality {quality}"
    )


def _times(found: SequenceInfo) -> str:
    shortest, longest = (float(spacing) for spacing in found.spacings)
    spacing = f"{shortest:.6g} s apart" if shortest == longest else f"{shortest:.6g} to {longest:.6g} s apart"
    return f"{float(found.start):.3f} to {float(found.end):.3f} s, {spacing}, in units of {found.header.time_base} s"


def _hdr(found: SequenceInfo) -> str:
    hdr = found.hdr
    if hdr is None:
        return "none"
    parts = []
    if hdr.mastering is not None:
        low, high = hdr.mastering.min_luminance / 10_000, hdr.mastering.max_luminance / 10_000
        parts.append(f"mastering display of {low:g} to {high:g} cd/m2")
    if hdr.light is not None:
        parts.append(f"content up to {hdr.light.max_content} cd/m2, frames {hdr.light.max_frame_average}")
    return ", ".join(parts)


def _track(track: TrackInfo) -> str:
    unit = track.unit
    words = [f"{unit.number} {'audio' if unit.kind == AUDIO else 'subtitle'}", unit.codec]
    if unit.kind == AUDIO:
        words += [f"{unit.sample_rate} Hz", unit.layout or f"{unit.channels} channels"]
    words += [text for text in (unit.language, unit.title and f"'{unit.title}'") if text]
    return ", ".join((*words, f"{track.packets} packets", f"{track.size} bytes"))


def _frames(found: SequenceInfo) -> Iterator[str]:
    base = float(found.header.time_base)
    for number, frame in enumerate(found.frames, found.header.first_frame):
        kind = "intra" if frame.key else "predicted"
        yield (
            f"    {number:6d}  {kind:<9}  {frame.size:8d} bytes  quality {frame.quality:7.3f}"
            f"  {frame.timestamp * base:10.4f} s"
        )
