"""Video codecs behind one interface, under conditions that are equal for all: what a live encoder may do.

Encoders are those of PyAV's FFmpeg, with one thread each, a constant rate factor (CRF), a fixed group of pictures (GOP)
without scene cuts, no B-frames and no look-ahead. Rates are those of the elementary stream, without the message in
which x264 and x265 write down their options.

| name | encoder and settings | preset | quality |
| --- | --- | --- | --- |
| x264-stock, x265-stock | libx264, libx265, tune zerolatency | medium | CRF 0..51 |
| x264-psnr, x265-psnr | the same, aq-mode 0 and psychovisual options off, as in tune psnr | medium | CRF 0..51 |
| svtav1 | libsvtav1, low delay (pred-struct 1), tune PSNR | 6 | CRF 1..63 |
| aom | libaom-av1, usage good, no lag, one quantizer for all frames | cpu-used 6 | quantizer 0..63 |
| vp9 | libvpx-vp9, deadline good, no lag, no alternate references | cpu-used 1 | CRF 0..63 |
| nacre:PROFILE | nacre's video codec, without scene cuts; the whole stream counts | | 0..100 |
| PICTURES-intra | any codec of nacre.tools.peers, every frame a picture of its own | | that codec's |

`x264` and `x265` stand for their two variants, of which the stronger one is the bar (nacre.tools.clip_summary). The
other encoders aim at PSNR by default; in low delay, SVT-AV1 and VP9 give the same bytes with aq-mode 0. `NAME:PRESET`
asks for another preset. The name of a picture codec other than nacre stands for its PICTURES-intra. libaom's own
distribution of bits without lag raises the quality of key frame after key frame whatever the CRF; one quantizer is far
better.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib.metadata import version
from typing import Any, Protocol

import av
import numpy as np

from nacre.bitstream.errors import InputError
from nacre.tools.clips import Clip
from nacre.tools.ffmpeg import AV1_DECODERS, has_codec, open_encoder, versions, without_option_message
from nacre.tools.peers import NAMES as PICTURE_NAMES
from nacre.tools.peers import PictureCodec, Settings, is_name, open_codec
from nacre.tools.yuv import Frames, Matrix, from_rgb
from nacre.version import __version__
from nacre.video import VideoDecoder, VideoEncoder
from nacre.weights.sequence import load_sequence

DEFAULT_GOP = 32

_INTRA = "-intra"


@dataclass(frozen=True, slots=True)
class CodedClip:
    """The elementary stream of a clip, a packet for each frame in order, and what a container says of its colour.

    `len` is the number of bytes.
    """

    packets: tuple[bytes, ...]
    matrix: Matrix
    full_range: bool

    def __len__(self) -> int:
        return sum(map(len, self.packets))


class VideoCodec(Protocol):
    """One codec with fixed settings. `qualities` are tried by default, in rising order of their rates.

    step: the finest step between qualities, towards higher rates. bounds, threads, settings: as of a PictureCodec.
    """

    name: str
    qualities: tuple[float, ...]
    bounds: tuple[float, float]
    step: float
    threads: int
    settings: Settings

    def encode(self, clip: Clip, quality: float) -> CodedClip:
        """The stream of a clip."""

    def decode(self, coded: CodedClip) -> Frames:
        """The frames (F, 3 H / 2, W) of a stream; InputError where they are not coded as the settings ask."""


class NacreCodec:
    """Nacre's video codec at a constant quality, one thread unless told otherwise."""

    qualities: tuple[float, ...] = (0.0, 20.0, 40.0, 55.0, 70.0, 85.0)
    bounds = (0.0, 100.0)
    step = 1.0

    def __init__(self, name: str, gop: int, threads: int, weights: str | None) -> None:
        self.name, self.threads = name, threads
        self._profile, self._gop, self._weights = name.partition(":")[2], gop, weights
        installed = load_sequence(self._profile, weights)
        self.settings: Settings = {
            "nacre": __version__,
            "onnxruntime": version("onnxruntime"),
            "weights": installed.version,
            "digest": installed.digest.hex(),
            "gop": gop,
            "scene cuts": "off",
            "threads": threads,
        }

    def encode(self, clip: Clip, quality: float) -> CodedClip:
        """The stream of a clip, cut in front of every frame; its header is with the first, its index with the last."""
        file = io.BytesIO()
        encoder = VideoEncoder(
            file, clip.width, clip.height, clip.rate, quality=quality, gop=self._gop, scene_cut=False, low_delay=True,
            profile=self._profile, threads=self.threads, weights=self._weights,
        )  # fmt: skip
        ends = []
        with encoder:
            for frame in clip.frames:
                encoder.write(frame)
                ends.append(encoder.size)
        data = file.getvalue()
        starts = [0, *ends[:-1]]
        packets = (data[start:end] for start, end in zip(starts, [*ends[:-1], len(data)], strict=True))
        return CodedClip(tuple(packets), clip.matrix, clip.full_range)

    def decode(self, coded: CodedClip) -> Frames:
        """The frames (F, 3 H / 2, W) of a stream; InputError where they are not I and P as a fixed GOP has them."""
        data = b"".join(coded.packets)
        with VideoDecoder(data, threads=self.threads, weights=self._weights) as decoder:
            frames = list(decoder)
        if [frame.key for frame in frames] != [number % self._gop == 0 for number in range(len(coded.packets))]:
            msg = f"decoded to {len(frames)} frames of other kinds than a GOP of {self._gop} has"
            raise InputError(msg)
        width = frames[0].planes.luma.shape[1]
        return np.stack([np.concatenate([plane.reshape(-1, width) for plane in frame.planes]) for frame in frames])


class IntraCodec:
    """Every frame a picture of its own, by way of RGB."""

    def __init__(self, codec: PictureCodec) -> None:
        self.name = codec.name + _INTRA
        self.qualities = codec.qualities[:: max(1, len(codec.qualities) // 5)]
        self.bounds, self.step, self.threads = codec.bounds, codec.step, codec.threads
        self.settings: Settings = {**codec.settings, "frames": "each a picture of its own (intra only)"}
        self._codec = codec

    def encode(self, clip: Clip, quality: float) -> CodedClip:
        """The files of the frames."""
        files = (self._codec.encode(clip.picture(number), quality) for number in range(len(clip.frames)))
        return CodedClip(tuple(files), clip.matrix, clip.full_range)

    def decode(self, coded: CodedClip) -> Frames:
        """The frames (F, 3 H / 2, W) of the files."""
        pictures = map(self._codec.decode, coded.packets)
        return np.stack([from_rgb(picture, coded.matrix, coded.full_range) for picture in pictures])


Options = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Encoder:
    """An encoder of FFmpeg: its decoders in order of preference, and FFmpeg's options for a preset and a GOP.

    bounds: lowest and highest quality. rate: the options that take it.
    """

    ffmpeg_name: str
    decoders: tuple[str, ...]
    preset: str
    qualities: tuple[float, ...]
    bounds: tuple[float, float]
    options: Callable[[str, int], Options]
    rate: tuple[str, ...] = ("crf",)


def _x264(preset: str, gop: int, *, stock: bool) -> Options:
    own = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes=0:open-gop=0:threads=1"
    own += "" if stock else ":aq-mode=0:psy=0"
    return {"preset": preset, "tune": "zerolatency", "x264-params": own}


def _x265(preset: str, gop: int, *, stock: bool) -> Options:
    own = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes=0:open-gop=0:pools=none:frame-threads=1:info=0"
    own += ":log-level=error" + ("" if stock else ":aq-mode=0:psy-rd=0:psy-rdoq=0")
    return {"preset": preset, "tune": "zerolatency", "x265-params": own}


def _svtav1(preset: str, gop: int) -> Options:
    return {"preset": preset, "g": str(gop), "svtav1-params": "pred-struct=1:lp=1:scd=0:lookahead=0:tune=1"}


def _aom(preset: str, gop: int) -> Options:
    fixed = {"usage": "good", "lag-in-frames": "0", "row-mt": "0", "aq-mode": "0"}
    return {"cpu-used": preset, "g": str(gop), "keyint_min": str(gop), **fixed}


def _vp9(preset: str, gop: int) -> Options:
    fixed = {"deadline": "good", "lag-in-frames": "0", "auto-alt-ref": "0", "row-mt": "0", "aq-mode": "0"}
    return {"cpu-used": preset, "g": str(gop), "keyint_min": str(gop), **fixed}


_CRF_51 = (46.0, 38.0, 30.0, 22.0, 14.0, 6.0)
_CRF_63 = (61.0, 51.0, 41.0, 31.0, 21.0, 11.0)
_ENCODERS = {
    "x264-stock": _Encoder("libx264", ("h264",), "medium", _CRF_51, (0.0, 51.0), partial(_x264, stock=True)),
    "x264-psnr": _Encoder("libx264", ("h264",), "medium", _CRF_51, (0.0, 51.0), partial(_x264, stock=False)),
    "x265-stock": _Encoder("libx265", ("hevc",), "medium", _CRF_51, (0.0, 51.0), partial(_x265, stock=True)),
    "x265-psnr": _Encoder("libx265", ("hevc",), "medium", _CRF_51, (0.0, 51.0), partial(_x265, stock=False)),
    "svtav1": _Encoder("libsvtav1", AV1_DECODERS, "6", _CRF_63, (1.0, 63.0), _svtav1),
    "aom": _Encoder("libaom-av1", AV1_DECODERS, "6", _CRF_63, (0.0, 63.0), _aom, ("crf", "qmin", "qmax")),
    "vp9": _Encoder("libvpx-vp9", ("vp9", "libvpx-vp9"), "1", _CRF_63, (0.0, 63.0), _vp9),
}
_VARIANTS = ("stock", "psnr")
_FAMILIES = ("x264", "x265")
_NACRE = "nacre"
NAMES = (*_FAMILIES, *_ENCODERS, *PICTURE_NAMES)


def variants(name: str) -> tuple[str, ...]:
    """The codecs that a name stands for: both variants of x264 and x265, PICTURES-intra of a picture codec.

    Raises InputError where the name is unknown.
    """
    family, separator, preset = name.partition(":")
    if family in _FAMILIES:
        return tuple(f"{family}-{variant}{separator}{preset}" for variant in _VARIANTS)
    if family in _ENCODERS or (family == _NACRE and preset and not name.endswith(_INTRA)):
        return (name,)
    picture = name.removesuffix(_INTRA)
    if not is_name(picture):
        msg = f"codec {name!r} is unknown, must be one of {', '.join(NAMES)}"
        raise InputError(msg)
    return (picture + _INTRA,)


class FFmpegCodec:
    """An encoder of PyAV's FFmpeg and the decoder for its streams, one thread each."""

    step = -1.0
    threads = 1

    def __init__(self, name: str, gop: int) -> None:
        family, _, preset = name.partition(":")
        encoder = _ENCODERS[family]
        if not has_codec(encoder.ffmpeg_name, "w"):
            msg = f"the FFmpeg of PyAV {av.__version__} has no encoder {encoder.ffmpeg_name}; another build may have it"
            raise InputError(msg)
        decoders = [decoder for decoder in encoder.decoders if has_codec(decoder, "r")]
        if not decoders:
            msg = f"the FFmpeg of PyAV {av.__version__} has none of the decoders {', '.join(encoder.decoders)}"
            raise InputError(msg)
        self.name, self.qualities, self.bounds = name, encoder.qualities, encoder.bounds
        self._library, self._decoder, self._gop = encoder.ffmpeg_name, decoders[0], gop
        self._options, self._rate = encoder.options(preset or encoder.preset, gop), encoder.rate
        self.settings: Settings = {
            **versions(),
            "encoder": self._library,
            "decoder": self._decoder,
            "gop": gop,
            "threads": 1,
            "rate": ", ".join(self._rate),
            **self._options,
        }

    def encode(self, clip: Clip, quality: float) -> CodedClip:
        """The stream of a clip at a CRF; InputError where it does not hold a packet for each frame."""
        context: Any = av.CodecContext.create(self._library, "w")
        context.width, context.height, context.pix_fmt = clip.width, clip.height, "yuv420p"
        context.framerate, context.time_base = clip.rate, 1 / clip.rate
        context.bit_rate, context.thread_count = 0, 1
        context.options = {**self._options, **dict.fromkeys(self._rate, f"{quality:g}")}
        open_encoder(context)
        packets = []
        for number, samples in enumerate(clip.frames):
            frame: Any = av.VideoFrame.from_ndarray(samples, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1) / clip.rate
            packets += context.encode(frame)
        packets += context.encode(None)
        if [packet.pts for packet in packets] != list(range(len(clip.frames))):
            msg = f"{len(packets)} packets for {len(clip.frames)} frames, or not in their order"
            raise InputError(msg)
        return CodedClip(
            tuple(without_option_message(bytes(packet), self._library) for packet in packets),
            clip.matrix,
            clip.full_range,
        )

    def decode(self, coded: CodedClip) -> Frames:
        """The frames (F, 3 H / 2, W) of a stream; InputError where they are not I and P as a fixed GOP has them."""
        context: Any = av.CodecContext.create(self._decoder, "r")
        context.thread_count = 1
        context.options = {"err_detect": "explode"}
        frames = [frame for packet in coded.packets for frame in context.decode(av.Packet(packet))]
        frames += context.decode(None)
        kinds = "".join(str(av.video.frame.PictureType(frame.pict_type).name) for frame in frames)
        expected = "".join("P" if number % self._gop else "I" for number in range(len(coded.packets)))
        if kinds != expected:
            msg = f"decoded to frames of the kinds {kinds}, must be {expected}"
            raise InputError(msg)
        return np.stack([frame.to_ndarray() for frame in frames])


def open_video_codec(name: str, gop: int, threads: int = 1, weights: str | None = None) -> VideoCodec:
    """A codec by one of the names that `variants` gives; `gop` is the distance of its I frames.

    threads, weights: of picture codecs, as open_codec has them. Raises InputError for an unknown name and where the
    library lacks it, WeightsError for nacre's weights.
    """
    if name.partition(":")[0] in _ENCODERS:
        return FFmpegCodec(name, gop)
    if not name.endswith(_INTRA):
        return NacreCodec(name, gop, threads, weights)
    return IntraCodec(open_codec(name.removesuffix(_INTRA), threads, weights))
