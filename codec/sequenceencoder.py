"""Frames to the units of a sequence: where GOPs begin, with what quality each frame is coded, what it refers to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from warnings import warn

from nacre.bitstream.frames import MAX_START, FrameUnit
from nacre.bitstream.header import MAX_QUALITY
from nacre.bitstream.sequence import SequenceWriter
from nacre.bitstream.sequenceheader import SequenceHeader
from nacre.bitstream.tracks import PacketUnit, TrackUnit
from nacre.bitstream.units import BinaryWriter
from nacre.clip import DEFAULT_RATE, ClipInfo, Frame
from nacre.compensation import Field, Planes
from nacre.framecoder import CodedFrame, FrameCoder, Motion, Previous
from nacre.framepatches import pad
from nacre.rate_control import MAX_QUALITY as BEST
from nacre.rate_control import RateControl, RateGoal
from nacre.scenecut import SceneCuts
from nacre.stopwatch import Stopwatch

# What qualities are above the plan's: all frames of a GOP refer to its intra frame, one after the other, and those
# behind one of every few predicted frames to that. Chosen on validation shots (weights/STUDY.md).
INTRA_BONUS = 22.0
PREDICTED_BONUS = (12.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0)  # by the frames since the intra frame, over and over
_FRAMING = 1 + 5 + 4 + MAX_START  # bytes of a frame's unit around its code, at most


@dataclass(frozen=True, slots=True)
class SequencePlan:
    """How a clip is coded: at a quality, 0..100, or to a rate; gop: frames from one intra frame to the next, at most.

    scene_cut: whether a frame that motion does not predict begins a GOP.
    """

    quality: float
    goal: RateGoal | None
    gop: int
    scene_cut: bool


class SequenceEncoder:
    """Codes a clip's frames, one after the other, into a file object that is only written to.

    Every frame is in the file when `write` returns. Raises InputError for frames and packets that are not due.
    """

    def __init__(
        self,
        coder: FrameCoder,
        file: BinaryWriter,
        info: ClipInfo,
        tracks: Sequence[TrackUnit],
        plan: SequencePlan,
        stopwatch: Stopwatch,
    ) -> None:
        self._coder, self._plan, self._stopwatch = coder, plan, stopwatch
        weights = coder.weights
        header = SequenceHeader(
            width=info.width,
            height=info.height,
            time_base=info.time_base,
            frame_duration=info.frame_duration,
            profile=weights.profile,
            digest=weights.stream_digest,
            skip_threshold=weights.intra.skip_threshold,
            frame_rate=info.frame_rate,
            colour=info.colour,
            chroma_location=info.chroma_location,
            sample_aspect_ratio=info.sample_aspect_ratio,
            rotation=info.rotation,
        )
        self._size = info.width, info.height
        self._writer = SequenceWriter(file, header, hdr=info.hdr)
        for track in tracks:
            self._writer.track(track)
        self._control = None
        if plan.goal is not None:
            rate = float(info.frame_rate or DEFAULT_RATE)
            self._control = RateControl(plan.goal, rate, plan.gop, info.width * info.height, INTRA_BONUS)
        self.frames = 0
        """Frames written so far."""
        self._since = 0  # frames of the GOP that is being written
        self._reference: Planes | None = None
        self._field: Field | None = None
        self._previous: Previous | None = None
        self._cuts = SceneCuts() if plan.scene_cut else None
        self._overflowed = False

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._writer.size

    def write(self, frame: Frame) -> None:
        """Code the next frame."""
        with self._stopwatch.part("rest"):
            planes = pad(frame.planes)
            motion = None
            if self._reference is not None and not frame.key and self._since < self._plan.gop:
                steps = _steps(self._quality(intra=False))
                motion = self._coder.move(planes, self._reference, self._field, steps, self._stopwatch)
                if self._cuts is not None and self._cuts.is_cut(planes.luma, motion.prediction.luma):
                    motion = None
            steps, coded = self._code(planes, motion)
            before = self._writer.size
            self._writer.frame(
                FrameUnit(
                    key=motion is None,
                    number=self.frames,
                    timestamp=frame.pts,
                    duration=frame.duration,
                    quality=steps,
                    live_channels=coded.live,
                    check=coded.check,
                    payload=coded.payload,
                )
            )
        if self._control is not None:
            bits = 8 * (self._writer.size - before)
            self._control.coded(BEST * steps / MAX_QUALITY, bits, intra=motion is None)
        self._reference = coded.planes
        self._field = motion and motion.field
        self._previous = coded.previous
        self._since = 1 if motion is None else self._since + 1
        self.frames += 1

    def packet(self, unit: PacketUnit) -> None:
        """Write a packet of a track."""
        self._writer.packet(unit)

    def close(self) -> None:
        """Write the seek index and the end; InputError where there was no frame."""
        self._writer.close()

    def _quality(self, *, intra: bool) -> float:
        if self._control is not None:
            return self._control.quality(intra=intra)
        if intra:
            return min(BEST, self._plan.quality + INTRA_BONUS)
        return min(BEST, self._plan.quality + PREDICTED_BONUS[self._since % len(PREDICTED_BONUS)])

    def _code(self, planes: Planes, motion: Motion | None) -> tuple[int, CodedFrame]:
        """Quality in steps and the frame coded with it, which is no larger than the decoder's buffer allows."""
        quality: float | None = self._quality(intra=motion is None)
        while True:
            assert quality is not None
            steps = _steps(quality)
            coded = self._coder.encode(planes, motion, self._previous, self._size, steps, self._stopwatch)
            limit = None if self._control is None else self._control.limit
            bits = 8 * (len(coded.payload) + _FRAMING)
            if self._control is None or limit is None or bits <= limit:
                return steps, coded
            quality = self._control.lower(quality, bits)
            if quality is None:
                if not self._overflowed:
                    self._overflowed = True
                    msg = f"frame {self.frames} has {bits} bits at the lowest quality, the buffer holds {limit}"
                    warn(msg, UserWarning, stacklevel=3)
                return steps, coded


def _steps(quality: float) -> int:
    return round(MAX_QUALITY * quality / BEST)
