"""Clips to streams and back, for the command line."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from nacre.arguments import STANDARD
from nacre.atomic import check_target
from nacre.bitstream.tracks import AUDIO, PacketUnit, TrackUnit
from nacre.clip import DEFAULT_RATE, ClipInfo, Frame
from nacre.clipread import ClipSource, open_clip
from nacre.clipspan import Span
from nacre.clipwrite import create_clip
from nacre.endpoints import open_output
from nacre.sequenceinfo import describe_rate
from nacre.sources import Source
from nacre.stopwatch import Stopwatch
from nacre.video import DEFAULT_GOP, VideoDecoder, VideoEncoder
from nacre.work import Outcome, Steps


def encode_clip(
    source: ClipSource, target: str, options: Namespace, threads: int | None, stopwatch: Stopwatch, steps: Steps
) -> Outcome:
    """Write the stream of a clip to a path or standard output; nothing is left of it where that fails."""
    if target != STANDARD:
        check_target(Path(target), clobber=not options.no_clobber)
    with (
        open_clip(source, options.start, options.duration, options.fps, options.max_pixels) as clip,
        open_output(STANDARD, clobber=True) if target == STANDARD else nullcontext() as standard,
    ):
        info, tracks = clip.info, _Tracks(clip.tracks, audio=not options.no_audio)
        meter = _Meter(info, steps)
        with VideoEncoder(
            target if standard is None else standard,
            info.width,
            info.height,
            info.frame_rate or DEFAULT_RATE,
            quality=options.quality,
            bitrate=options.bitrate,
            maxrate=options.maxrate,
            bufsize=options.bufsize,
            gop=DEFAULT_GOP if options.gop is None else options.gop,
            low_delay=options.low_delay,
            clip=info,
            tracks=tracks.units,
            profile=options.profile,
            threads=threads,
            weights=options.weights,
            max_pixels=options.max_pixels,
            clobber=not options.no_clobber,
            stopwatch=stopwatch,
        ) as encoder:
            for item in tracks.kept(clip):
                if isinstance(item, Frame):
                    encoder.write(item)
                    meter.passed(item)
                else:
                    encoder.packet(item)
                if standard is not None:
                    standard.flush()
    line = f"{target}: {meter.describe(options.verbose)}, {encoder.size} bytes"
    return Outcome(f"{line}, {describe_rate(encoder.size * 8 / meter.seconds)}")


def decode_clip(
    source: Source, target: str, options: Namespace, threads: int | None, stopwatch: Stopwatch, steps: Steps
) -> Outcome:
    """Write the clip of a stream to a target of `create_clip`; nothing is left of it where that fails."""
    with VideoDecoder(
        source,
        keep_going=options.keep_going,
        threads=threads,
        weights=options.weights,
        max_pixels=options.max_pixels,
        stopwatch=stopwatch,
    ) as decoder:
        info = Span(options.start, options.duration).of(decoder.info)
        tracks = _Tracks(decoder.tracks, audio=not options.no_audio)
        meter = _Meter(info, steps)
        with create_clip(target, info, tracks.units, clobber=not options.no_clobber) as writer:
            for item in tracks.kept(decoder.items(options.start, options.duration)):
                if isinstance(item, Frame):
                    writer.write(item)
                    meter.passed(item)
                else:
                    writer.packet(item)
        return Outcome(f"{target}: {meter.describe(options.verbose)}", decoder.losses)


class _Tracks:
    """Tracks that are carried on, numbered anew where audio is left out."""

    def __init__(self, tracks: Sequence[TrackUnit], *, audio: bool) -> None:
        kept = [track for track in tracks if audio or track.kind != AUDIO]
        self._numbers = {track.number: number for number, track in enumerate(kept)}
        self.units = [replace(track, number=number) for number, track in enumerate(kept)]

    def kept(self, items: Iterable[Frame | PacketUnit]) -> Iterator[Frame | PacketUnit]:
        """All frames, and the packets of these tracks."""
        for item in items:
            if isinstance(item, Frame):
                yield item
            elif item.track in self._numbers:
                yield replace(item, track=self._numbers[item.track])


class _Meter:
    """Counts the frames of a clip as they pass."""

    def __init__(self, info: ClipInfo, steps: Steps) -> None:
        self._info, self._steps = info, steps
        self._began = time.perf_counter()
        self._frames = self._start = self._end = 0

    def passed(self, frame: Frame) -> None:
        """One more."""
        if not self._frames:
            self._start = frame.pts
        self._end = frame.pts + frame.duration
        self._frames += 1
        self._steps.frames(self._frames, self._info.frames)

    @property
    def seconds(self) -> float:
        """From the first frame to the end of the last."""
        return float((self._end - self._start) * self._info.time_base)

    def describe(self, verbose: bool) -> str:
        """Size, number and time of the frames; verbose: and how fast they passed."""
        info = self._info
        text = f"{info.width} x {info.height}, {self._frames} frames, {self.seconds:.2f} s"
        if verbose:
            text += f", {self._frames / (time.perf_counter() - self._began):.1f} frames/s"
        return text
