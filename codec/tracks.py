"""Audio and subtitle tracks between PyAV's streams and what a nacre stream holds of them (nacre.bitstream.tracks).

Packets pass as they are. What a container repeats of them in its own way (samples to leave out, codec delay) is read
from PyAV's side data and given back as such.
"""

from __future__ import annotations

import io
from contextlib import ExitStack
from fractions import Fraction
from typing import Any, Literal

from nacre.bitstream.errors import InputError
from nacre.bitstream.tracks import AUDIO, SUBTITLE, PacketUnit, TrackUnit
from nacre.matroska import audio_header

KINDS = {"audio": AUDIO, "subtitle": SUBTITLE}

_SKIP: Literal["skip_samples"] = "skip_samples"
_SKIP_BYTES = 10  # samples at the beginning and at the end, u32 each, and two reasons
_UNKNOWN_LANGUAGE = "und"
_U32 = (1 << 32) - 1
_MAX_DISPOSITION = (1 << 31) - 1  # that PyAV takes
_COMMON_LAYOUTS = {1: "mono", 2: "stereo"}


def read_track(stream: Any, number: int) -> TrackUnit:
    """What a muxer needs to know of an audio or subtitle stream of PyAV.

    Raises InputError where FFmpeg has no decoder of the stream, so that nothing is known of it, or a value that a track
    cannot have.
    """
    context = stream.codec_context
    if context is None:
        msg = "its codec is not known"
        raise InputError(msg)
    language = stream.language or ""
    audio = {}
    if stream.type == "audio":
        audio = {
            "sample_rate": context.sample_rate,
            "channels": context.channels,
            "layout": context.layout.name,
            "frame_size": context.frame_size,
            "bit_rate": min(context.bit_rate or 0, _U32),
        }
    return TrackUnit(
        number=number,
        kind=KINDS[stream.type],
        codec=context.codec.canonical_name,
        time_base=stream.time_base,
        extradata=context.extradata or b"",
        language="" if language == _UNKNOWN_LANGUAGE else _shortened(language, 64),
        title=_shortened(stream.metadata.get("title", ""), 255),
        disposition=int(stream.disposition),
        **audio,
    )


def read_packet(packet: Any, track: TrackUnit, offset: Fraction) -> PacketUnit:
    """A packet of PyAV; offset: seconds to take from its times. Raises InputError for times out of any range."""
    shift = round(offset / track.time_base)
    trim = (0, 0)
    if packet.has_sidedata(_SKIP):
        skip = bytes(packet.get_sidedata(_SKIP))
        trim = (int.from_bytes(skip[:4], "little"), int.from_bytes(skip[4:8], "little"))
    return PacketUnit(
        track=track.number,
        pts=None if packet.pts is None else packet.pts - shift,
        dts=None if packet.dts is None else packet.dts - shift,
        duration=max(0, packet.duration or 0),
        data=bytes(packet),
        key=packet.is_keyframe,
        discard=packet.is_discard,
        trim=trim,
    )


def packet_time(packet: PacketUnit, track: TrackUnit) -> float | None:
    """When a packet is due in seconds, None where it does not tell."""
    time = packet.dts if packet.pts is None else packet.pts
    return None if time is None else time * float(track.time_base)


def codec_delay(track: TrackUnit, first: PacketUnit | None) -> float:
    """Seconds of sound at the beginning of a track that are not to be presented, as its first packet tells."""
    if first is None or track.kind != AUDIO:
        return 0.0
    if first.trim[0] and track.sample_rate:
        return first.trim[0] / track.sample_rate
    return max(0.0, -(packet_time(first, track) or 0.0))


def add_track(container: Any, track: TrackUnit, delay: float) -> Any:
    """A new stream of an output container of PyAV for packets of the track.

    delay: seconds, as `codec_delay` gives them. Raises InputError where the container cannot hold the track.
    """
    import av

    try:
        with av.open(io.BytesIO(), "w", format=container.format.name) as trial:
            _add(trial, track, delay)
            trial.start_encoding()
        return _add(container, track, delay)
    except (av.FFmpegError, ValueError, OverflowError) as error:
        msg = f"{container.format.name} cannot hold {track.codec}"
        raise InputError(msg) from error


def make_packet(packet: PacketUnit, track: TrackUnit, stream: Any) -> Any:
    """A packet of PyAV for a stream of `add_track`."""
    import av
    from av.packet import PacketSideData, packet_sidedata_type_from_literal

    made: Any = av.Packet(packet.data)
    made.stream = stream
    made.time_base = track.time_base
    made.pts = packet.dts if packet.pts is None else packet.pts
    made.dts = packet.pts if packet.dts is None else packet.dts
    made.duration = packet.duration
    made.is_keyframe = packet.key
    if packet.trim != (0, 0):
        skip: Any = PacketSideData(packet_sidedata_type_from_literal(_SKIP), _SKIP_BYTES)  # type: ignore[call-arg]
        first, last = (samples.to_bytes(4, "little") for samples in packet.trim)
        skip.update(first + last + bytes(_SKIP_BYTES - 8))
        made.set_sidedata(skip)
    return made


def _add(container: Any, track: TrackUnit, delay: float) -> Any:
    """A stream with the track's parameters, whose codec is never opened.

    PyAV makes such streams from others alone: here from one of a container in memory, which has the codec and, for
    Matroska, which writes it into its header, the delay.
    """
    import av
    from av.codec.codec import UnknownCodecError

    with ExitStack() as stack:
        header = None
        if delay and container.format.name == "matroska":
            header = audio_header(track.codec, track.extradata, track.sample_rate, track.channels, delay)
        if header is not None:
            template = stack.enter_context(av.open(io.BytesIO(header), format="matroska")).streams[0]
        else:
            scratch = stack.enter_context(av.open(io.BytesIO(), "w", format=container.format.name))
            try:
                template = scratch.add_stream(track.codec)
            except UnknownCodecError:  # FFmpeg has no encoder; subtitles without headers need none of it
                if track.kind == AUDIO or track.extradata:
                    raise
                template = None
        stream: Any = (
            container.add_mux_stream(track.codec)
            if template is None
            else container.add_stream_from_template(template, opaque=True)
        )
    if KINDS.get(stream.type) != track.kind:
        msg = f"{track.codec} is a codec of {stream.type}"
        raise ValueError(msg)
    stream.time_base = track.time_base
    stream.disposition = track.disposition & _MAX_DISPOSITION
    for name in ("language", "title"):
        if getattr(track, name):
            stream.metadata[name] = getattr(track, name)
    context = stream.codec_context
    if track.extradata:
        context.extradata = track.extradata
    if track.kind == AUDIO:
        context.sample_rate = track.sample_rate
        context.layout = _layout(track)
        if track.bit_rate:
            context.bit_rate = track.bit_rate
    return stream


def _layout(track: TrackUnit) -> str:
    """FFmpeg's name of the channels; of one or two whose places are not known, those that MP4 wants."""
    if track.layout and " " not in track.layout:
        return track.layout
    return _COMMON_LAYOUTS.get(track.channels) or track.layout or f"{track.channels} channels"


def _shortened(text: str, longest: int) -> str:
    """A text without control characters that fits into so many bytes, without its end if it must be."""
    printable = "".join(letter for letter in text if letter.isprintable())
    return printable.encode(errors="ignore")[:longest].decode(errors="ignore")
