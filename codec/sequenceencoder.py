"""Frames to the units of a sequence: where GOPs begin, and which of them are coded side by side."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np

from nacre.bitstream.frames import FrameUnit
from nacre.bitstream.header import MAX_QUALITY
from nacre.bitstream.sequence import SequenceWriter, pack_frame
from nacre.bitstream.sequenceheader import SequenceHeader
from nacre.bitstream.tracks import PacketUnit, TrackUnit
from nacre.bitstream.units import BinaryWriter
from nacre.clip import DEFAULT_RATE, ClipInfo, Frame
from nacre.compensation import Planes
from nacre.framecoder import FrameCoder
from nacre.framepatches import pad
from nacre.gopencoder import INTRA_BONUS, GopEncoder, PlannedFrame, SequencePlan
from nacre.gopworkers import GopWorkers
from nacre.rate_control import MAX_QUALITY as BEST
from nacre.rate_control import RateControl
from nacre.scenecut import SceneCuts
from nacre.stopwatch import Stopwatch


class SequenceEncoder:
    """Codes a clip's frames into a file object that is only written to.

    coder: of frames, with all threads. side_by_side: how many GOPs are coded at a time, and a coder with the share of
    threads that each has; None where each frame is to be in the file when `write` returns, as rate control needs it.
    Raises InputError for frames and packets that are not due.
    """

    def __init__(
        self,
        coder: FrameCoder,
        file: BinaryWriter,
        info: ClipInfo,
        tracks: Sequence[TrackUnit],
        plan: SequencePlan,
        stopwatch: Stopwatch,
        side_by_side: tuple[int, FrameCoder] | None = None,
    ) -> None:
        self._coder, self._plan, self._stopwatch = coder, plan, stopwatch
        weights = coder.weights
        self._header = SequenceHeader(
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
        self._writer = SequenceWriter(file, self._header, hdr=info.hdr)
        for track in tracks:
            self._writer.track(track)
        size = info.width, info.height
        self._control = None
        if plan.goal is not None:
            rate = float(info.frame_rate or DEFAULT_RATE)
            self._control = RateControl(plan.goal, rate, plan.gop, info.width * info.height, INTRA_BONUS)
        self._gop = GopEncoder(plan, size, self._control)
        self._workers = side_by_side and GopWorkers(*side_by_side, coder, plan, size, stopwatch)
        if self._workers is not None:
            # threads of an encoder that is never closed end with it, and before the interpreter does
            weakref.finalize(self, self._workers.finish)
        self._due: deque[Future[FrameUnit] | PacketUnit] = deque()
        self.frames = 0
        """Frames given so far."""
        self._since = 0  # frames of the GOP so far
        self._before: FrameUnit | None = None  # the last frame given, but for its code
        self._cuts = SceneCuts() if plan.scene_cut else None

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._writer.size

    def write(self, frame: Frame) -> None:
        """Code the next frame, now or when its turn comes; raises also what the coding of a frame before has raised."""
        with self._stopwatch.part("rest"):
            key = frame.key or self._since in (0, self._plan.gop)
            draft = self._checked(frame, key=key)
            planes = pad(frame.planes)
            with self._stopwatch.part("motion"):
                cut = self._cuts is not None and self._cuts.is_cut(planes.luma)
            key = key or cut
            item = PlannedFrame(planes, self.frames, frame.pts, frame.duration, key)
            if self._workers is None:
                self._put(self._gop.code(item, self._coder, self._stopwatch))
                self._go_on(replace(draft, key=key))
            else:
                # the caller may use its arrays for the next frame
                own = Planes(*(np.array(plane) for plane in planes))
                self._due.append(self._workers.add(item._replace(planes=own)))
                self._go_on(replace(draft, key=key))
                self._write_done()

    def packet(self, unit: PacketUnit) -> None:
        """Write a packet of a track, behind the frames given before it."""
        self._writer.check_packet(unit)
        self._due.append(unit)
        self._write_done()

    def close(self) -> None:
        """Write what is not written yet, the seek index and the end; InputError where there was no frame."""
        with self._stopwatch.part("rest"):
            if self._workers is not None:
                self._workers.end()
                while self._due:
                    due = self._due[0]
                    unit = due if isinstance(due, PacketUnit) else self._workers.wait(due)
                    self._due.popleft()
                    self._put(unit)
                self._workers.finish()
            self._writer.close()

    def abandon(self) -> None:
        """Give up what is not coded yet."""
        if self._workers is not None:
            self._workers.finish()

    def _checked(self, frame: Frame, *, key: bool) -> FrameUnit:
        """The frame's unit but for its code; InputError for a frame that is not due."""
        unit = FrameUnit(
            key=key,
            number=self.frames,
            timestamp=frame.pts,
            duration=frame.duration,
            quality=0,
            live_channels=1,
            check=0,
            payload=b"",
        )
        pack_frame(unit, self._before, self._header)
        return unit

    def _go_on(self, draft: FrameUnit) -> None:
        """The frame was taken: the next one comes behind it."""
        self._before = draft
        self._since = 1 if draft.key else self._since + 1
        self.frames += 1

    def _write_done(self) -> None:
        """Write what is ready and has nothing before it that is not."""
        while self._due:
            due = self._due[0]
            if isinstance(due, Future) and not due.done():
                return
            unit = due.result() if isinstance(due, Future) else due
            self._due.popleft()
            self._put(unit)

    def _put(self, unit: FrameUnit | PacketUnit) -> None:
        if isinstance(unit, PacketUnit):
            self._writer.packet(unit)
            return
        before = self._writer.size
        self._writer.frame(unit)
        if self._control is not None:
            bits = 8 * (self._writer.size - before)
            self._control.coded(BEST * unit.quality / MAX_QUALITY, bits, intra=unit.key)
