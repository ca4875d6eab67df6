"""Clips as Matroska, MP4 and QuickTime files, by PyAV: frames encoded, packets of the other tracks as they are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, BinaryIO
from warnings import warn

import numpy as np

from nacre.bitstream.cicp import MATRIX, PRIMARIES, TRANSFER
from nacre.bitstream.errors import InputError
from nacre.bitstream.tracks import HdrUnit, PacketUnit, TrackUnit
from nacre.clip import DEFAULT_RATE, ClipInfo, Frame
from nacre.compensation import Planes
from nacre.pyavfile import PyavWriter
from nacre.sources import reason
from nacre.tracks import add_track, codec_delay, make_packet
from nacre.videoframes import LOCATIONS, make_frame

FORMATS = {".mkv": "matroska", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}
"""FFmpeg's muxers by the ending of the target's name."""

_LOSSLESS = {"qp": "0", "preset": "ultrafast"}
_FOR_PLAYERS = {"crf": "12", "preset": "superfast", "bf": "0"}
_FFV1 = {"level": "3", "slicecrc": "1", "g": "1"}
_UNSPECIFIED = 2
_LIMITED, _FULL = 1, 2  # AVColorRange
_LAST_MATRIX = 14  # of those that H.264 knows
# Display matrices in 1/65536, the last number in 1/2^30, by clockwise quarter turns
_MATRICES = {1: (0, 1, 0, -1, 0, 0), 2: (-1, 0, 0, 0, -1, 0), 3: (0, -1, 0, 1, 0, 0)}
_BUFFER_BYTES = 1 << 18


class ContainerSink:
    """Writes a clip to an opened file, in the format of one of FORMATS.

    The file begins with the first frame: packets before it tell the delay of their codecs. What the format cannot hold
    is a UserWarning. Raises InputError where the clip cannot be written, and whatever writing to the file raises.
    """

    def __init__(self, file: BinaryIO, form: str, info: ClipInfo, tracks: Sequence[TrackUnit]) -> None:
        self._form, self._info, self._tracks = form, info, tracks
        if form != "matroska" and not file.seekable():
            msg = f"{form} cannot be written to a pipe; Matroska can"
            raise InputError(msg)
        self._file = PyavWriter(file)
        self._container: Any = None
        self._early: list[PacketUnit] = []
        self._streams: list[Any] = []
        self._refused = 0
        odd = info.width % 2, info.height % 2
        self._padding = odd if form != "matroska" else (0, 0)
        self._codec = "ffv1" if any(odd) and form == "matroska" else "libx264"
        if any(self._padding):
            size = f"{info.width + odd[0]}x{info.height + odd[1]}"
            msg = f"H.264 has even sides only: frames become {size}, edges repeated; Matroska keeps the size"
            warn(msg, UserWarning, stacklevel=2)
        if self._codec == "ffv1":
            lost = ["HDR side data"] if info.hdr else []
            lost += ["sample aspect ratio"] if info.sample_aspect_ratio not in (0, 1) else []
            if lost:
                warn(f"{' and '.join(lost)} cannot be kept in Matroska where a side is odd", UserWarning, stacklevel=2)

    def write(self, frame: Frame) -> None:
        """Write the next frame."""
        if self._container is None:
            self._begin()
        picture = make_frame(_padded(frame.planes, *self._padding))
        picture.pts, picture.time_base, picture.duration = frame.pts, self._info.time_base, frame.duration
        self._encode(picture)

    def packet(self, unit: PacketUnit) -> None:
        """Write a packet of a track; one that the format refuses is left out and counted."""
        import av

        if self._container is None:
            self._early.append(unit)
            return
        stream = self._streams[unit.track]
        if stream is None:
            return
        try:
            self._container.mux(make_packet(unit, self._tracks[unit.track], stream))
        except (av.FFmpegError, ValueError, OverflowError):
            self._refused += 1
        self._file.check()

    def finish(self) -> None:
        """Write what is left."""
        import av

        self._encode(None)
        try:
            self._container.close()
        except (av.FFmpegError, ValueError) as error:
            self._file.check()
            raise self._unwritable(error) from error
        self._file.check()
        if self._refused:
            msg = f"{self._form} refuses packets of other tracks, which are left out: {self._refused}"
            warn(msg, UserWarning, stacklevel=2)

    def abandon(self) -> None:
        """Let go of everything, writing nothing more."""
        self._file.abandon()
        if self._container is not None:
            with suppress(Exception):
                self._container.close()

    def _begin(self) -> None:
        import av

        try:
            options = {} if self._form == "matroska" else {"movie_timescale": str(self._info.time_base.denominator)}
            self._container = av.open(
                self._file, "w", format=self._form, container_options=options, buffer_size=_BUFFER_BYTES
            )
            self._video = self._add_video()
            self._streams = [self._add_track(track) for track in self._tracks]
            self._container.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            self._file.check()
            raise self._unwritable(error) from error
        self._file.check()
        for unit in self._early:
            self.packet(unit)
        self._early.clear()

    def _add_video(self) -> Any:
        from av.codec.context import Flags

        info = self._info
        options = dict(_FFV1 if self._codec == "ffv1" else _LOSSLESS if self._form == "matroska" else _FOR_PLAYERS)
        if info.chroma_location:
            options["chroma_sample_location"] = LOCATIONS[info.chroma_location]
        if info.hdr is not None and self._codec == "libx264":
            options["x264-params"] = _hdr_parameters(info.hdr)
        rate = (info.frame_rate or DEFAULT_RATE).limit_denominator(1 << 16)
        stream: Any = self._container.add_stream(self._codec, rate=rate, options=options)
        stream.width, stream.height = info.width + self._padding[0], info.height + self._padding[1]
        stream.pix_fmt = "yuv420p"
        stream.time_base = info.time_base
        context = stream.codec_context
        context.time_base = info.time_base
        context.flags |= Flags.frame_duration
        if info.sample_aspect_ratio:
            context.sample_aspect_ratio = info.sample_aspect_ratio
        colour = info.colour
        context.color_range = _FULL if colour.full_range else _LIMITED
        context.color_primaries = colour.primaries if colour.primaries in PRIMARIES else _UNSPECIFIED
        context.color_trc = colour.transfer if colour.transfer in TRANSFER else _UNSPECIFIED
        known = colour.matrix in MATRIX and 0 < colour.matrix <= _LAST_MATRIX
        context.colorspace = colour.matrix if known else _UNSPECIFIED
        if info.rotation:
            turn = [65536 * number for number in _MATRICES[info.rotation]]
            stream.set_display_matrix([*turn, 0, 0, 1 << 30])
        return stream

    def _add_track(self, track: TrackUnit) -> Any:
        first = next((unit for unit in self._early if unit.track == track.number), None)
        try:
            return add_track(self._container, track, codec_delay(track, first))
        except InputError as error:
            language = f", {track.language}" if track.language else ""
            warn(f"track {track.number} ({track.codec}{language}) is left out: {error}", UserWarning, stacklevel=2)
            return None

    def _encode(self, picture: Any) -> None:
        import av

        try:
            self._container.mux(self._video.encode(picture))
        except (av.FFmpegError, ValueError, OverflowError) as error:
            self._file.check()
            raise self._unwritable(error) from error
        self._file.check()

    def _unwritable(self, error: Exception) -> InputError:
        return InputError(f"cannot be written as {self._form}: {getattr(error, 'strerror', None) or reason(error)}")


def _padded(planes: Planes, columns: int, rows: int) -> Planes:
    """The planes with the luma's last column and row repeated; chroma then has its size already."""
    if not columns and not rows:
        return planes
    return Planes(np.pad(planes.luma, ((0, rows), (0, columns)), mode="edge"), planes.cb, planes.cr)


def _hdr_parameters(hdr: HdrUnit) -> str:
    """HDR side data as x264 is told them."""
    parts = []
    if (display := hdr.mastering) is not None:
        parts.append(
            f"mastering-display=G({display.green_x},{display.green_y})B({display.blue_x},{display.blue_y})"
            f"R({display.red_x},{display.red_y})WP({display.white_x},{display.white_y})"
            f"L({display.max_luminance},{display.min_luminance})"
        )
    if hdr.light is not None:
        parts.append(f"cll={hdr.light.max_content},{hdr.light.max_frame_average}")
    return ":".join(parts)
