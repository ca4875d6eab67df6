"""What codecs of PyAV's FFmpeg need beyond PyAV: which ones there are, fair scheduling, streams without a comment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import av
import av.codec

AV1_DECODERS = ("libdav1d", "libaom-av1")

_START_CODE = re.compile(rb"\x00*\x00\x00\x01")
_THREADS = Path("/proc/self/task")
_USER_DATA_UNREGISTERED = 5  # SEI payload type, annex D of H.264 and H.265


def has_codec(codec: str, mode: Literal["r", "w"]) -> bool:
    """Whether there is a decoder (r) or an encoder (w) of that name."""
    try:
        av.codec.Codec(codec, mode)
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def versions() -> dict[str, str]:
    """Those of PyAV and its FFmpeg."""
    return {
        "pyav": av.__version__,
        "ffmpeg": str(getattr(av, "ffmpeg_version_info", av.library_versions["libavcodec"])),
    }


def open_encoder(context: Any) -> None:
    """Open the context of an encoder, which keeps the threads' scheduling and says nothing but errors.

    Raises av.FFmpegError where the encoder refuses its options.
    """
    os.environ.setdefault("SVT_LOG", "1")
    with _scheduling_kept():
        context.open()


@contextmanager
def _scheduling_kept() -> Iterator[None]:
    """Give all threads the scheduling back that the calling one has now.

    SVT-AV1, where root runs it, makes its own threads and its caller real-time ones of the highest priority, which
    would be unfair to the other codecs and to everything else on the machine.
    """
    if not hasattr(os, "sched_getscheduler") or not _THREADS.exists():
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in _THREADS.iterdir():
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setscheduler(int(thread.name), policy, parameters)


def _h264_message(unit: bytes) -> bool:
    return len(unit) > 1 and unit[0] & 0x1F == 6 and unit[1] == _USER_DATA_UNREGISTERED


def _h265_message(unit: bytes) -> bool:
    return len(unit) > 2 and unit[0] >> 1 & 0x3F in (39, 40) and unit[2] == _USER_DATA_UNREGISTERED


_NAL_MESSAGES: dict[str, Callable[[bytes], bool]] = {"libx264": _h264_message, "libx265": _h265_message}


def without_option_message(packet: bytes, library: str) -> bytes:
    """A packet without the NAL units (annex B) that hold nothing but the options of libx264 or libx265.

    As it is where another library has made it.
    """
    if library not in _NAL_MESSAGES:
        return packet
    marks = [*_START_CODE.finditer(packet)]
    ends = [*(mark.start() for mark in marks[1:]), len(packet)]
    kept = [
        packet[mark.start() : end]
        for mark, end in zip(marks, ends, strict=True)
        if not _NAL_MESSAGES[library](packet[mark.end() : end])
    ]
    return b"".join(kept)
