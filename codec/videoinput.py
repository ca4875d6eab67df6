"""What a VideoEncoder is given, whatever it is, as frames of 8-bit 4:2:0 with their times."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any
from warnings import warn

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import InputError
from nacre.clip import ClipInfo, Frame
from nacre.compensation import Planes
from nacre.videoframes import LEFT, Converter, frame_colour, sampling


class FrameReader:
    """Frames of one size, (width, height) luma samples, to `Frame`s; rate: frames a second of what tells no time.

    info: what the clip is; without it the first frame tells its colour, and time counts frames.
    """

    def __init__(self, width: int, height: int, rate: Fraction, info: ClipInfo | None) -> None:
        self.info = info or ClipInfo(width=width, height=height, time_base=1 / rate, frame_rate=rate)
        """What the clip is; complete once a frame was read."""
        if (self.info.width, self.info.height) != (width, height):
            msg = f"the clip has {self.info.width} x {self.info.height} samples, its frames {width} x {height}"
            raise InputError(msg)
        self._told = info is not None
        self._converter: Converter | None = None
        self._next = 0
        self._step = max(1, round(1 / (rate * self.info.time_base)))

    def read(self, frame: Any, *, key: bool) -> Frame:
        """The frame. Raises InputError where it is of another size or kind, warns of what its conversion loses."""
        if isinstance(frame, Frame):
            self._check(frame.planes)
            read = replace(frame, key=frame.key or key)
        else:
            read = Frame(self._planes(frame), self._next, self._step, key)
        self._next = read.pts + read.duration
        self._told = True
        return read

    def _planes(self, frame: Any) -> Planes:
        if isinstance(frame, np.ndarray):
            return self._array(frame)
        if isinstance(frame, Planes):
            self._check(frame)
            return frame
        if type(frame).__module__.partition(".")[0] == "av" and hasattr(frame, "format"):
            return self._video_frame(frame)
        msg = f"a frame is {type(frame).__name__}, must be an av.VideoFrame, an array, Planes or a Frame"
        raise InputError(msg)

    def _array(self, array: NDArray[Any]) -> Planes:
        width, height = self.info.width, self.info.height
        if array.dtype != np.uint8:
            msg = f"a frame's samples are {array.dtype}, must be uint8"
            raise InputError(msg)
        if array.shape == (height, width, 3):
            import av

            return self._video_frame(av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24"))
        if width % 2 == height % 2 == 0 and array.shape == (height * 3 // 2, width):
            luma, chroma = np.split(array, [height])
            cb, cr = chroma.reshape(2, height // 2, width // 2)
            return Planes(*map(np.ascontiguousarray, (luma, cb, cr)))
        legal = f"({height}, {width}, 3)" + (
            f" or ({height * 3 // 2}, {width})" if width % 2 == height % 2 == 0 else ""
        )
        msg = f"a frame's shape is {array.shape}, must be {legal}"
        raise InputError(msg)

    def _video_frame(self, frame: Any) -> Planes:
        kind = sampling(frame.format)
        if not self._told:
            location = LEFT if any(kind.more_chroma) else 0
            self.info = replace(self.info, colour=frame_colour(frame, kind), chroma_location=location)
            for loss in kind.losses:
                warn(loss, UserWarning, stacklevel=5)
        if self._converter is None:
            self._converter = Converter()
        planes = self._converter.planes(frame)
        self._check(planes)
        return planes

    def _check(self, planes: Planes) -> None:
        width, height = self.info.width, self.info.height
        chroma = (-(-height // 2), -(-width // 2))
        shapes = [plane.shape for plane in planes]
        if shapes != [(height, width), chroma, chroma] or any(plane.dtype != np.uint8 for plane in planes):
            msg = f"a frame's planes are {shapes}, must be uint8 of {(height, width)}, {chroma} and {chroma}"
            raise InputError(msg)
