"""Clips out: Matroska, MP4 and QuickTime files, YUV4MPEG2, and PNG pictures, there whole or not at all.

| target | frames | times | colour, chroma location | aspect ratio, rotation | HDR side data | tracks |
| --- | --- | --- | --- | --- | --- | --- |
| .mkv | lossless: H.264 with quantizer 0 | to 1 ms | kept | kept | kept | nearly all |
| .mkv, a side is odd | lossless: FFV1 | to 1 ms | kept | rotation | no | nearly all |
| .mp4, .mov | H.264 of CRF 12; odd sides gain a row or column | kept | kept | kept | kept | some |
| .y4m, `-` | as they are | even | range, location | aspect ratio | no | no |
| folder, pattern | PNG, RGB, turned upright | even | by conversion to RGB | rotation | no | no |

A Matroska file is for what comes next: it gives back every sample. MP4 is for players, of which few decode lossless
H.264; CRF 12 is far below what an eye sees, and it has no B frames, so that each frame's duration is exact.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self
from warnings import warn

import numpy as np

from nacre.arguments import STANDARD
from nacre.atomic import TEMPORARY_SUFFIX, open_target
from nacre.bitstream.errors import InputError
from nacre.bitstream.tracks import PacketUnit, TrackUnit
from nacre.clip import DEFAULT_RATE, ClipInfo, Frame
from nacre.endpoints import open_output
from nacre.formats import FORMATS
from nacre.imagewrite import CICP_KEY, to_image, write_image
from nacre.pictureclip import is_pattern, numbered
from nacre.sources import naming, reason
from nacre.y4m import Y4mWriter

_PNG = "png"
_FAST_PNG = replace(FORMATS[_PNG], options={"compress_level": 1})  # of many pictures, each is written quickly
_SAME_COLOURS = frozenset((1, 2, 5, 6))  # primaries that look like sRGB's
_HDR_TRANSFERS = frozenset((16, 18))


class _Sink(Protocol):
    """Where the frames and packets of a clip go."""

    def write(self, frame: Frame) -> None:
        """Write the next frame."""

    def packet(self, unit: PacketUnit) -> None:
        """Write a packet of a track."""

    def finish(self) -> None:
        """Write what is left."""

    def abandon(self) -> None:
        """Let go of everything, writing nothing more."""


def create_clip(
    target: str | os.PathLike[str], info: ClipInfo, tracks: Sequence[TrackUnit] = (), *, clobber: bool = True
) -> ClipWriter:
    """Begin a clip: `.mkv`, `.mp4`, `.m4v`, `.mov` or `.y4m` by the name's ending, `-` for YUV4MPEG2 on standard
    output, numbered PNG pictures such as `frames/%04d.png`, or a folder for them, any name without an ending.

    tracks: numbered 0, 1, ... What the target cannot hold is a UserWarning. A folder must be new or empty. clobber:
    whether existing files may be replaced. Raises InputError where the target cannot be written.
    """
    name = os.fsdecode(target)
    path, suffix = Path(name), os.path.splitext(name)[1].lower()
    with ExitStack() as stack:
        sink: _Sink
        if name == STANDARD or suffix == ".y4m":
            file = stack.enter_context(open_output(name, clobber=clobber))
            _warn_of_losses("YUV4MPEG2", info, tracks, ("rotation", "colour", "hdr"))
            sink = _Y4mSink(file, info)
        elif is_pattern(name) or path.is_dir() or not suffix:
            if is_pattern(name) and suffix != f".{_PNG}":
                msg = f"{name}: numbered pictures are PNG: the name's ending is '{suffix}', must be .{_PNG}"
                raise InputError(msg)
            folder = stack.enter_context(_picture_folder(name, clobber))
            _warn_of_losses("pictures", info, tracks, ("aspect", "hdr"))
            sink = _PictureSink(folder, name, info)
        else:
            from nacre.containerwrite import FORMATS as CONTAINERS
            from nacre.containerwrite import ContainerSink

            if suffix not in CONTAINERS:
                known = ", ".join((*CONTAINERS, ".y4m"))
                msg = f"{name}: the name's ending is '{suffix}', must be one of {known}, or none for a folder"
                raise InputError(msg)
            file = stack.enter_context(open_target(path, clobber=clobber))
            with naming(name):
                sink = ContainerSink(file, CONTAINERS[suffix], info, tracks)
        return ClipWriter(sink, info, len(tracks), name, stack.pop_all())


class ClipWriter:
    """A clip that is being written: frames in display order with rising times, packets of its tracks between them.

    A context manager, which is the way to use it: left without an error the target is there, otherwise nothing of it.
    """

    def __init__(self, sink: _Sink, info: ClipInfo, tracks: int, name: str, stack: ExitStack) -> None:
        self._sink, self._stack, self._name, self._tracks = sink, stack, name, tracks
        chroma = (-(-info.height // 2), -(-info.width // 2))
        self._shapes = [(info.height, info.width), chroma, chroma]
        self._frames = 0
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif self._open:
            self._abort(error)

    def write(self, frame: Frame) -> None:
        """Write the next frame. InputError or OSError where that fails; then nothing of the target is left."""
        self._run(lambda: self._write(frame))

    def packet(self, unit: PacketUnit) -> None:
        """Write a packet; raises as `write`."""
        self._run(lambda: self._pass(unit))

    def close(self) -> None:
        """Finish the target; raises as `write`, and InputError where no frame was written."""
        if self._open:
            self._run(self._finish)
            self._open = False
            self._stack.close()

    def _write(self, frame: Frame) -> None:
        shapes = [plane.shape for plane in frame.planes]
        if shapes != self._shapes:
            msg = f"the planes of frame {self._frames} are {shapes}, must be {self._shapes}"
            raise InputError(msg)
        self._sink.write(frame)
        self._frames += 1

    def _pass(self, unit: PacketUnit) -> None:
        if unit.track >= self._tracks:
            msg = f"a packet is of track {unit.track}, the clip has {self._tracks} tracks"
            raise InputError(msg)
        self._sink.packet(unit)

    def _finish(self) -> None:
        if not self._frames:
            msg = "no frame was written"
            raise InputError(msg)
        self._sink.finish()

    def _run(self, step: Callable[[], None]) -> None:
        if not self._open:
            msg = f"{self._name}: the clip is closed, nothing can be written to it"
            raise InputError(msg)
        try:
            with naming(self._name):
                step()
        except BaseException as error:
            self._abort(error)
            raise

    def _abort(self, error: BaseException) -> None:
        """Remove what there is; an OSError becomes what the target's file makes of it."""
        self._open = False
        self._sink.abandon()
        self._stack.__exit__(type(error), error, error.__traceback__)


class _Timing:
    """Looks whether frames come as evenly as a target without timestamps shows them."""

    def __init__(self, info: ClipInfo, what: str) -> None:
        self.rate = info.frame_rate or DEFAULT_RATE
        self._step = self.rate * info.time_base
        self._what = what
        self._number, self._first = 0, 0
        self._told = False

    def look(self, pts: int) -> None:
        """Take note of the next frame's time; warn once where it is half a frame or more off."""
        if self._number == 0:
            self._first = pts
        if abs((pts - self._first) * self._step - self._number) >= 0.5 and not self._told:
            self._told = True
            msg = f"{self._what} have no timestamps: frames that were not evenly spaced become so"
            warn(msg, UserWarning, stacklevel=2)
        self._number += 1


class _Y4mSink:
    """Frames to YUV4MPEG2."""

    def __init__(self, file: BinaryIO, info: ClipInfo) -> None:
        self._timing = _Timing(info, "YUV4MPEG2 streams")
        self._writer = Y4mWriter(file, info, self._timing.rate)

    def write(self, frame: Frame) -> None:
        self._timing.look(frame.pts)
        self._writer.write(frame.planes)

    def packet(self, unit: PacketUnit) -> None:
        """There is no place for packets."""

    def finish(self) -> None:
        """Everything is written."""

    def abandon(self) -> None:
        """Nothing is held."""


class _PictureSink:
    """Frames to PNG pictures, numbered from 1, in a folder."""

    def __init__(self, folder: Path, name: str, info: ClipInfo) -> None:
        from nacre.videoframes import RgbConverter

        self._timing = _Timing(info, "pictures")
        self._folder = folder
        self._pattern = Path(name).name if is_pattern(name) else f"%06d.{_PNG}"
        self._turns = -info.rotation
        self._converter = RgbConverter(info)
        colour = info.colour
        plain = colour.primaries in _SAME_COLOURS and colour.transfer not in _HDR_TRANSFERS
        self._cicp = None if plain else (colour.primaries, colour.transfer, 0, 1)
        self._number = 0

    def write(self, frame: Frame) -> None:
        self._timing.look(frame.pts)
        self._number += 1
        image = to_image(np.rot90(self._converter.rgb(frame.planes), self._turns))
        if self._cicp is not None:
            image.info[CICP_KEY] = self._cicp
        with open(self._folder / numbered(self._pattern, self._number), "xb") as file:
            write_image(file, image, _FAST_PNG)

    def packet(self, unit: PacketUnit) -> None:
        """There is no place for packets."""

    def finish(self) -> None:
        """Everything is written."""

    def abandon(self) -> None:
        """Nothing is held."""


@contextmanager
def _picture_folder(name: str, clobber: bool) -> Iterator[Path]:
    """A folder whose files are in the folder of the target when the body ends well, and gone when it does not.

    name: of the target, a folder or a pattern in one. Raises InputError where it cannot be written.
    """
    pattern = is_pattern(name)
    target = Path(name).parent if pattern else Path(name)
    temporary = None
    try:
        there = target.exists()
        if there and not target.is_dir():
            raise _unwritable(name, "it is a file" if not pattern else f"{target} is a file")
        if there and not pattern and any(target.iterdir()):
            raise _unwritable(name, "the folder is not empty")
        if there and pattern and not clobber and Path(numbered(name, 1)).exists():
            raise _unwritable(name, f"{numbered(name, 1)} exists already, and --no-clobber keeps it")
        parent = target if there else target.absolute().parent
        if not parent.is_dir():
            raise _unwritable(name, f"the folder {parent} does not exist")
        temporary = parent / f".{secrets.token_hex(6)}{TEMPORARY_SUFFIX}"
        temporary.mkdir()
        yield temporary
        if not there:
            temporary.rename(target)
            return
        files = sorted(temporary.iterdir())
        taken = next((file.name for file in files if not clobber and (target / file.name).exists()), None)
        if taken is not None:
            raise _unwritable(name, f"{taken} exists already, and --no-clobber keeps it")
        for file in files:
            file.replace(target / file.name)
    except OSError as error:
        raise _unwritable(name, reason(error)) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _unwritable(name: str, why: str) -> InputError:
    return InputError(f"{name}: cannot be written: {why}")


def _warn_of_losses(what: str, info: ClipInfo, tracks: Sequence[TrackUnit], cannot: Iterable[str]) -> None:
    """One warning of everything that a target has no place for."""
    colour, aspect = info.colour, info.sample_aspect_ratio
    described = (colour.primaries, colour.transfer, colour.matrix) != (2, 2, 2)
    there = {
        "rotation": ("rotation", info.rotation != 0),
        "colour": ("colour primaries, transfer and matrix", described),
        "aspect": ("sample aspect ratio", aspect not in (0, 1)),
        "hdr": ("HDR side data", info.hdr is not None),
    }
    lost = [text for key, (text, found) in there.items() if found and key in cannot]
    if tracks:
        lost.append(f"{len(tracks)} audio or subtitle track{'s' if len(tracks) > 1 else ''}")
    if lost:
        warn(f"{what} cannot hold what the clip has: {', '.join(lost)}", UserWarning, stacklevel=2)
