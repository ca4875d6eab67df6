"""Intra frames of video encoders as pictures: what an encoder built for real time makes of a still.

Encoders and decoders are those of PyAV's FFmpeg, with one thread each, at a constant rate factor (CRF) that is the top
one less the quality. Options are those that serve PSNR, without psychovisual ones, as of x264-psnr, x265-psnr and
svtav1 in nacre.tools.video_peers.

| name | encoder and settings | preset | quality |
| --- | --- | --- | --- |
| x264-still | libx264, tune psnr (aq-mode 0, no psychovisual options) | medium | 51 - CRF, 0..51 |
| x265-still | libx265, likewise | medium | 51 - CRF, 0..51 |
| svtav1-still | libsvtav1, its mode for stills (avif 1), tune PSNR, aq-mode 0 | 6 | 63 - CRF, 0..62 |

`NAME:PRESET` asks for another preset. Samples are 8-bit YUV 4:2:0 of BT.601 in full range, as those of JPEG,
converted by FFmpeg's swscale, bicubic, with its accurate arithmetic. A call takes RGB and gives RGB as those of the
other codecs do, so that times hold the conversions. The file is the elementary stream, without the message in which
x264 and x265 write down their options, behind 4 bytes for the sides of the picture, which a container would hold. Odd
sides are made even by repeating the last column and row.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import Interpolation

from nacre.bitstream.errors import InputError
from nacre.tools.ffmpeg import AV1_DECODERS, has_codec, open_encoder, versions, without_option_message
from nacre.tools.peers import Settings
from nacre.tools.pictures import Picture

_SIDES = struct.Struct("<HH")  # width, height
_MAX_SIDE = 0xFFFF
_BT601 = 5  # colour matrix of ITU-R BT.470 BG, as FFmpeg numbers them
_FULL_RANGE = 2
_CONVERSION = int(
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)

Options = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Encoder:
    """An encoder of FFmpeg: decoders in order of preference, legal presets, FFmpeg's options but for preset and CRF."""

    ffmpeg_name: str
    decoders: tuple[str, ...]
    preset: str
    presets: tuple[str, ...]
    qualities: tuple[float, ...]
    highest_crf: int
    lowest_crf: int
    options: Options


_NAMED_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
_QUALITIES_51 = (7.0, 13.0, 19.0, 24.0, 29.0, 34.0, 39.0, 44.0)
_X265_OPTIONS = "pools=none:frame-threads=1:info=0:log-level=error"
_ENCODERS = {
    "x264-still": _Encoder(
        "libx264", ("h264",), "medium", _NAMED_PRESETS, _QUALITIES_51, 51, 0,
        {"tune": "psnr", "x264-params": "keyint=1:threads=1"},
    ),
    "x265-still": _Encoder(
        "libx265", ("hevc",), "medium", _NAMED_PRESETS, _QUALITIES_51, 51, 0,
        {"tune": "psnr", "x265-params": f"keyint=1:{_X265_OPTIONS}"},
    ),
    "svtav1-still": _Encoder(
        "libsvtav1", AV1_DECODERS, "6", tuple(map(str, range(14))), (3.0, 13.0, 23.0, 31.0, 39.0, 47.0, 54.0, 60.0),
        63, 1, {"g": "1", "svtav1-params": "lp=1:avif=1:tune=1:aq-mode=0"},
    ),
}  # fmt: skip


class StillCodec:
    """A video encoder of PyAV's FFmpeg and a decoder of its streams, for single pictures. Not for several threads."""

    step = 1.0
    threads = 1

    def __init__(self, name: str) -> None:
        """Raises InputError for an unknown name or preset and where FFmpeg lacks the encoder or every decoder."""
        family, separator, preset = name.partition(":")
        if family not in _ENCODERS:
            msg = f"codec {name!r} is unknown, must be one of {', '.join(_ENCODERS)}, with :PRESET or without"
            raise InputError(msg)
        encoder = _ENCODERS[family]
        if separator and preset not in encoder.presets:
            msg = f"{family}: preset is {preset!r}, must be one of {', '.join(encoder.presets)}"
            raise InputError(msg)
        decoders = [decoder for decoder in encoder.decoders if has_codec(decoder, "r")]
        if not has_codec(encoder.ffmpeg_name, "w") or not decoders:
            missing = " or ".join(encoder.decoders) if has_codec(encoder.ffmpeg_name, "w") else encoder.ffmpeg_name
            msg = f"the FFmpeg of PyAV {av.__version__} has no {missing}; another build may have it"
            raise InputError(msg)
        self.name, self.qualities = name, encoder.qualities
        self.bounds = (0.0, float(encoder.highest_crf - encoder.lowest_crf))
        self._encoder, self._decoder = encoder, decoders[0]
        self._options = {"preset": preset or encoder.preset, **encoder.options}
        self.settings: Settings = {
            **versions(),
            "encoder": encoder.ffmpeg_name,
            "decoder": self._decoder,
            "samples": "8-bit 4:2:0, BT.601, full range, by swscale",
            "threads": 1,
            **self._options,
        }

    def encode(self, picture: Picture, quality: float) -> bytes:
        """The sides and the stream of a picture (H, W, 3).

        Raises InputError where a side is above 65535, or FFmpeg fails or gives more than one packet.
        """
        height, width = picture.shape[:2]
        if max(height, width) > _MAX_SIDE:
            msg = f"{self.name}: the picture is {width} x {height}, sides must be at most {_MAX_SIDE}"
            raise InputError(msg)
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        context: Any = av.CodecContext.create(self._encoder.ffmpeg_name, "w")
        context.height, context.width, context.pix_fmt = even.shape[0], even.shape[1], "yuv420p"
        context.colorspace, context.color_range = _BT601, _FULL_RANGE
        context.framerate = context.time_base = Fraction(1)
        context.bit_rate, context.thread_count = 0, 1
        context.options = {**self._options, "crf": f"{self._encoder.highest_crf - quality:g}"}
        with self._failures_named("encode"):
            packets = self._packets(context, even)
        if len(packets) != 1:
            msg = f"{self.name}: {len(packets)} packets for one picture"
            raise InputError(msg)
        return _SIDES.pack(width, height) + without_option_message(packets[0], self._encoder.ffmpeg_name)

    def decode(self, data: bytes) -> Picture:
        """The picture (H, W, 3) of what `encode` gave; InputError where that is not one whole intra frame."""
        width, height = _SIDES.unpack_from(data)
        context: Any = av.CodecContext.create(self._decoder, "r")
        context.thread_count = 1
        context.options = {"err_detect": "explode"}
        packet = av.Packet(data[_SIDES.size :])
        with self._failures_named("decode"):
            frames = [*context.decode(packet), *context.decode(None)]
        found = [(PictureType(frame.pict_type), frame.width, frame.height) for frame in frames]
        if found != [(PictureType.I, width + width % 2, height + height % 2)]:
            msg = f"{self.name}: decoded to {found}, must be one intra frame for {width} x {height}"
            raise InputError(msg)
        frame = frames[0].reformat(
            format="rgb24", src_colorspace=_BT601, src_color_range=_FULL_RANGE, interpolation=_CONVERSION
        )
        picture: Picture = frame.to_ndarray()[:height, :width]
        return picture

    def _packets(self, context: Any, even: Picture) -> list[bytes]:
        open_encoder(context)
        frame: Any = av.VideoFrame.from_ndarray(even, "rgb24").reformat(
            format="yuv420p", dst_colorspace=_BT601, dst_color_range=_FULL_RANGE, interpolation=_CONVERSION
        )
        frame.pts, frame.time_base = 0, Fraction(1)
        return [bytes(packet) for packet in (*context.encode(frame), *context.encode(None))]

    @contextmanager
    def _failures_named(self, act: str) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            msg = f"{self.name}: FFmpeg failed to {act} the picture: {error}"
            raise InputError(msg) from error
