"""The frames of a group of pictures to their units: with what quality each is coded, what it refers to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from warnings import warn

from nacre.bitstream.frames import MAX_START, FrameUnit
from nacre.bitstream.header import MAX_QUALITY
from nacre.compensation import Field, Planes
from nacre.framecoder import CodedFrame, FrameCoder, Motion, Previous
from nacre.rate_control import MAX_QUALITY as BEST
from nacre.rate_control import RateControl, RateGoal
from nacre.stopwatch import Stopwatch

# What qualities are above the plan's: all frames of a GOP refer to its intra frame, one after the other, and those
# behind one of every few predicted frames to that. Chosen on validation shots (weights/STUDY.md).
INTRA_BONUS = 24.0
PREDICTED_BONUS = (18.0, 0.0, 6.0, 0.0, 12.0, 0.0, 6.0, 0.0)  # by the frames since the intra frame, over and over
_FRAMING = 1 + 5 + 4 + MAX_START  # bytes of a frame's unit around its code, at most


@dataclass(frozen=True, slots=True)
class SequencePlan:
    """How a clip is coded: at a quality, 0..100, or to a rate; gop: frames from one intra frame to the next, at most.

    scene_cut: whether a frame that shows another scene begins a GOP. low_delay: whether each frame is coded before the
    next one comes.
    """

    quality: float
    goal: RateGoal | None
    gop: int
    scene_cut: bool
    low_delay: bool


class PlannedFrame(NamedTuple):
    """A frame as it is to be coded: its planes, padded, its place and time in the clip, whether it begins a GOP."""

    planes: Planes
    number: int
    timestamp: int
    duration: int
    key: bool


class GopEncoder:
    """Codes the frames of GOPs, one after the other, to a quality or as a rate control says.

    size: (width, height) in luma samples.
    """

    def __init__(self, plan: SequencePlan, size: tuple[int, int], control: RateControl | None = None) -> None:
        self._plan, self._size, self._control = plan, size, control
        self._since = 0  # frames of the GOP so far
        self._reference: Planes | None = None
        self._field: Field | None = None
        self._previous: Previous | None = None
        self._overflowed = False

    def code(self, item: PlannedFrame, coder: FrameCoder, stopwatch: Stopwatch) -> FrameUnit:
        """The unit of the next frame; time goes to the parts and else to `rest`."""
        with stopwatch.part("rest"):
            motion = None
            if not item.key:
                assert self._reference is not None
                steps = _steps(self._quality(intra=False))
                motion = coder.move(item.planes, self._reference, self._field, steps, stopwatch)
            steps, coded = self._code(item, motion, coder, stopwatch)
        self._reference = coded.planes
        self._field = motion and motion.field
        self._previous = coded.previous
        self._since = 1 if item.key else self._since + 1
        return FrameUnit(
            key=item.key,
            number=item.number,
            timestamp=item.timestamp,
            duration=item.duration,
            quality=steps,
            live_channels=coded.live,
            check=coded.check,
            payload=coded.payload,
        )

    def _quality(self, *, intra: bool) -> float:
        if self._control is not None:
            return self._control.quality(intra=intra)
        if intra:
            return min(BEST, self._plan.quality + INTRA_BONUS)
        return min(BEST, self._plan.quality + PREDICTED_BONUS[self._since % len(PREDICTED_BONUS)])

    def _code(
        self, item: PlannedFrame, motion: Motion | None, coder: FrameCoder, stopwatch: Stopwatch
    ) -> tuple[int, CodedFrame]:
        """Quality in steps and the frame coded with it, which is no larger than the decoder's buffer allows."""
        quality: float | None = self._quality(intra=motion is None)
        while True:
            assert quality is not None
            steps = _steps(quality)
            coded = coder.encode(item.planes, motion, self._previous, self._size, steps, stopwatch)
            limit = None if self._control is None else self._control.limit
            bits = 8 * (len(coded.payload) + _FRAMING)
            if self._control is None or limit is None or bits <= limit:
                return steps, coded
            quality = self._control.lower(quality, bits)
            if quality is None:
                if not self._overflowed:
                    self._overflowed = True
                    msg = f"frame {item.number} has {bits} bits at the lowest quality, the buffer holds {limit}"
                    warn(msg, UserWarning, stacklevel=5)
                return steps, coded


def _steps(quality: float) -> int:
    return round(MAX_QUALITY * quality / BEST)
