"""Audio and subtitle tracks pass from a container to what a stream holds of them, and back into one, untouched."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from clipfiles import make_frames, read_clip, write_file

from nacre.bitstream.errors import InputError
from nacre.bitstream.tracks import AUDIO, SUBTITLE, PacketUnit, TrackUnit
from nacre.clip import ClipInfo, Frame
from nacre.clipwrite import create_clip
from nacre.tracks import add_track, codec_delay, read_track

INFO = ClipInfo(width=48, height=32, time_base=Fraction(1, 25), frame_rate=Fraction(25))
SUFFIXES = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov"}

Clip = tuple[ClipInfo, tuple[TrackUnit, ...], list[Frame], list[PacketUnit]]


def remux(target: Path, clip: Clip) -> list[str]:
    """Write a clip as it was read, packets and frames by time; the warnings."""
    info, tracks, frames, packets = clip
    bases = [track.time_base for track in tracks]
    items: list[Any] = sorted(
        [*packets, *frames],
        key=lambda item: item.pts * (info.time_base if isinstance(item, Frame) else bases[item.track]),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with create_clip(target, info, tracks) as writer:
            for item in items:
                writer.write(item) if isinstance(item, Frame) else writer.packet(item)
    return [str(warning.message) for warning in caught]


def data_of(clip: Clip, track: int = 0) -> bytes:
    return b"".join(packet.data for packet in clip[3] if packet.track == track)


def start_of(clip: Clip) -> Fraction:
    """Seconds at which the first packet of the first track begins."""
    (packet, *_) = (packet for packet in clip[3] if packet.track == 0)
    assert packet.pts is not None
    return packet.pts * clip[1][0].time_base


@pytest.mark.parametrize(
    ("codec", "source", "names", "targets"),
    [
        ("aac", ".mp4", "aac", ".mkv .mp4 .mov"),
        ("aac", ".mkv", "aac", ".mkv .mp4 .mov"),
        ("libopus", ".mkv", "opus", ".mkv .mp4"),
        ("libmp3lame", ".mkv", "mp3", ".mkv .mp4 .mov"),
        ("libmp3lame", ".mp4", "mp3", ".mkv .mp4 .mov"),
        ("pcm_s16le", ".mov", "pcm_s16le", ".mkv .mp4 .mov"),
        ("pcm_s24le", ".mkv", "pcm_s24le", ".mkv .mp4 .mov"),
        ("flac", ".mkv", "flac", ".mkv .mp4"),
        ("alac", ".mov", "alac", ".mkv .mp4 .mov"),
        ("ac3", ".mkv", "ac3", ".mkv .mp4 .mov"),
        ("vorbis", ".mkv", "vorbis", ".mkv .mp4"),
    ],
)
def test_sound_is_bit_exact(tmp_path: Path, codec: str, source: str, names: str, targets: str) -> None:
    video = "ffv1" if source == ".mkv" else "libx264"
    clip = read_clip(write_file(tmp_path / f"source{source}", make_frames(8), video, audio=codec))
    (track,) = clip[1]
    assert (track.codec, track.kind, track.sample_rate, track.channels) == (names, AUDIO, 48000, 2)
    for suffix in SUFFIXES:
        told = remux(tmp_path / f"clip{suffix}", clip)
        if suffix not in targets.split():
            assert told == [f"track 0 ({names}) is left out: {SUFFIXES[suffix]} cannot hold {names}"]
            assert read_clip(tmp_path / f"clip{suffix}")[1] == ()
            continue
        assert told == []
        found = read_clip(tmp_path / f"clip{suffix}")
        assert data_of(found) == data_of(clip)
        (other,) = found[1]
        assert (other.codec, other.extradata, other.sample_rate) == (track.codec, track.extradata, 48000)
        assert float(start_of(found)) == pytest.approx(float(start_of(clip)), abs=0.0006)
        assert [frame.pts * found[0].time_base for frame in found[2]] == [k / Fraction(25) for k in range(8)]
        if not codec.startswith("pcm"):  # of which containers make packets of other sizes
            assert [packet.data for packet in found[3]] == [packet.data for packet in clip[3]]


def test_sound_that_is_not_to_be_heard_stays_so(tmp_path: Path) -> None:
    """Samples to leave out at both ends, which Matroska has as codec delay and discard padding."""
    clip = read_clip(write_file(tmp_path / "source.mkv", make_frames(8), audio="libopus"))
    assert clip[3][0].trim == (312, 0)
    assert clip[3][-1].trim[1] > 0
    remux(tmp_path / "clip.mkv", clip)
    found = read_clip(tmp_path / "clip.mkv")
    assert [packet.trim for packet in found[3]] == [packet.trim for packet in clip[3]]
    assert [packet.pts for packet in found[3]] == [packet.pts for packet in clip[3]]
    assert [packet.duration for packet in found[3]] == [packet.duration for packet in clip[3]]


def test_codec_delay() -> None:
    track = TrackUnit(number=0, kind=AUDIO, codec="aac", time_base=Fraction(1, 1000), sample_rate=48000, channels=2)
    packet = PacketUnit(track=0, pts=-21, dts=-21, duration=21, data=b"x", trim=(1024, 0))
    assert codec_delay(track, packet) == 1024 / 48000
    assert codec_delay(track, replace(packet, trim=(0, 0))) == 0.021
    assert codec_delay(track, replace(packet, trim=(0, 0), pts=5)) == 0
    assert codec_delay(track, None) == 0
    assert codec_delay(replace(track, kind=SUBTITLE), packet) == 0


ASS = b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[Events]\r\nFormat: Layer, Start, End, Text\r\n"
TX3G = bytes.fromhex("000000000100ffff00ff0000000000000000000000010012ffffffff000000126674616200010001055365726966")


@pytest.mark.parametrize(
    ("codec", "extradata", "data", "targets"),
    [
        ("subrip", b"", b"words %d", ".mkv"),
        ("ass", ASS, b"%d,0,Default,,0,0,0,,words", ".mkv"),
        ("mov_text", TX3G, b"\0\7words %d", ".mp4 .mov"),
        ("hdmv_pgs_subtitle", b"", b"\x16\0\x0bpicture %02d\x80\0\0", ".mkv"),  # a segment of 11 bytes, and the end
    ],
)
def test_subtitles(tmp_path: Path, codec: str, extradata: bytes, data: bytes, targets: str) -> None:
    track = TrackUnit(
        number=0,
        kind=SUBTITLE,
        codec=codec,
        time_base=Fraction(1, 1000),
        extradata=extradata,
        language="fra",
        title="forced ones",
        disposition=0x40,
    )
    packets = [PacketUnit(track=0, pts=time, dts=time, duration=50, data=data % k) for k, time in enumerate((40, 160))]
    clip: Clip = (INFO, (track,), make_frames(8), packets)
    for suffix in SUFFIXES:
        told = remux(tmp_path / f"clip{suffix}", clip)
        if suffix not in targets.split():
            assert told == [f"track 0 ({codec}, fra) is left out: {SUFFIXES[suffix]} cannot hold {codec}"]
            continue
        assert told == []
        found = read_clip(tmp_path / f"clip{suffix}")
        (other,) = found[1]
        assert (other.codec, other.kind, other.language) == (codec, SUBTITLE, "fra")
        shown = [packet for packet in found[3] if packet.data != b"\0\0"]  # with which MP4 fills gaps
        assert [packet.data for packet in shown] == [packet.data for packet in packets]
        assert [(packet.pts or 0) * other.time_base for packet in shown] == [Fraction(4, 100), Fraction(16, 100)]
        assert [packet.duration * other.time_base for packet in shown] == [Fraction(1, 20)] * 2
        if suffix == ".mkv":
            assert (other.title, other.extradata, other.disposition & 0x40) == ("forced ones", extradata, 0x40)


def test_several_tracks_keep_their_names(tmp_path: Path) -> None:
    clip = read_clip(write_file(tmp_path / "source.mp4", make_frames(8), "libx264", audio="aac"))
    (first,) = clip[1]
    first = replace(first, language="deu", title="Original", disposition=1)
    second = replace(first, number=1, language="eng", title="Dubbed", disposition=2)
    doubled = [replace(packet, track=number) for packet in clip[3] for number in (0, 1)]
    remux(tmp_path / "clip.mkv", (clip[0], (first, second), clip[2], doubled))
    found = read_clip(tmp_path / "clip.mkv")
    assert [(track.language, track.title, track.disposition) for track in found[1]] == [
        ("deu", "Original", 1),
        ("eng", "Dubbed", 2),
    ]
    assert data_of(found, 0) == data_of(found, 1) == data_of(clip)


def test_packets_that_a_container_refuses_are_counted(tmp_path: Path) -> None:
    clip = read_clip(write_file(tmp_path / "source.mp4", make_frames(8), "libx264", audio="aac"))
    packets = clip[3]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with create_clip(tmp_path / "clip.mp4", clip[0], clip[1]) as writer:
            writer.write(clip[2][0])
            for packet in (*packets[:4], packets[1], *packets[4:]):  # one comes too late
                writer.packet(packet)
    assert [str(warning.message) for warning in caught] == [
        "mp4 refuses packets of other tracks, which are left out: 1"
    ]
    assert data_of(read_clip(tmp_path / "clip.mp4")) == data_of(clip)


def test_packets_of_no_track_are_refused(tmp_path: Path) -> None:
    packet = PacketUnit(track=0, pts=0, dts=0, duration=1, data=b"x")
    with pytest.raises(InputError, match="a packet is of track 0, the clip has 0 tracks"):
        create_clip(tmp_path / "clip.mkv", INFO).packet(packet)
    assert list(tmp_path.iterdir()) == []


def test_what_no_muxer_can_be_told_is_left_out(tmp_path: Path) -> None:
    track = TrackUnit(
        number=0, kind=AUDIO, codec="no_such_codec", time_base=Fraction(1, 1000), sample_rate=8000, channels=1
    )
    told = remux(tmp_path / "clip.mkv", (INFO, (track,), make_frames(2), []))
    assert told == ["track 0 (no_such_codec) is left out: matroska cannot hold no_such_codec"]
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        for changes in ({}, {"codec": "h264"}, {"codec": "mov_text"}, {"codec": "aac", "sample_rate": (1 << 32) - 1}):
            with pytest.raises(InputError, match="mp4 cannot hold"):
                add_track(container, replace(track, **changes), 0.0)  # type: ignore[arg-type]
        assert len(container.streams) == 0
        add_track(container, replace(track, codec="aac", disposition=(1 << 32) - 1), 0.0)


def test_other_streams_are_left_out_by_name(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        container.add_attachment("font.ttf", "font/ttf", b"letters")
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(UserWarning, match=r"streams that cannot be kept are left out: 1 \(attachment\)"):
        read_clip(tmp_path / "clip.mkv")


def test_names_are_cut_to_what_a_track_holds(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000)
        stream.metadata["title"] = "tab\there" + "ü" * 200
        container.start_encoding()
        found = read_track(stream, 3)
    assert (found.number, found.codec, found.language) == (3, "pcm_s16le", "")
    assert found.title == "tabhere" + "ü" * 124
