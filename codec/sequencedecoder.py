"""The units of a sequence to frames: each decoded from the one before it."""

from __future__ import annotations

from typing import NamedTuple

from nacre.bitstream.errors import FormatError, NacreError
from nacre.bitstream.frames import FrameUnit
from nacre.bitstream.sequence import LostFrames, SequenceReader
from nacre.bitstream.tracks import PacketUnit
from nacre.clip import ClipInfo, Frame
from nacre.compensation import Planes
from nacre.framecoder import FrameCoder, FrameCoding, FrameSymbols, Previous
from nacre.framepatches import crop
from nacre.motion_field import to_field
from nacre.sources import naming
from nacre.stopwatch import Stopwatch


class _Parsed(NamedTuple):
    """A frame whose symbols were decoded in advance: they, or what is wrong with them."""

    item: FrameUnit
    result: FrameSymbols | NacreError


class SequenceDecoder:
    """Decodes the frames that a SequenceReader gives.

    keep_going: a frame that cannot be decoded is left out with all that follow it in its GOP, and `losses` says so,
    where otherwise an error is raised.
    """

    def __init__(self, reader: SequenceReader, coder: FrameCoder, stopwatch: Stopwatch, *, keep_going: bool) -> None:
        self._reader, self._coder, self._stopwatch, self._keep_going = reader, coder, stopwatch, keep_going
        self._reference: Planes | None = None
        self._previous: Previous | None = None
        self._parsed: _Parsed | None = None
        self._whole = True
        self._losses: list[str] = []

    @property
    def losses(self) -> list[str]:
        """What could not be decoded, and why, in words."""
        return [*self._reader.losses, *self._losses]

    def restart(self) -> None:
        """Forget the frame before: the next one is an intra frame."""
        self._reference = self._previous = self._parsed = None
        self._whole = True

    def decode(
        self, item: FrameUnit | PacketUnit | LostFrames, following: FrameUnit | None = None
    ) -> Frame | PacketUnit | None:
        """What a reader's item is; None for frames that are lost.

        following: the next frame, where it is known. Its symbols are decoded in advance, beside this one's samples.
        """
        if isinstance(item, PacketUnit):
            return item
        if isinstance(item, LostFrames):
            return None
        with self._stopwatch.part("rest"), naming(f"frame {item.number}"):
            if not self._whole and not item.key:
                return None
            try:
                planes = self._frame(item, following)
            except FormatError as error:
                if not self._keep_going:
                    raise
                self._whole = False
                self._losses.append(f"frame {item.number} is lost, and all up to the next intra frame: {error}")
                return None
            self._whole = True
            return Frame(planes, item.timestamp, item.duration, item.key)

    def symbols(self, item: FrameUnit) -> int:
        """Decode a frame's symbols alone; how many there are."""
        with naming(f"frame {item.number}"):
            symbols = self._symbols(item, self._stopwatch)
            if symbols.motion is not None:
                to_field(symbols.motion)  # vectors in the legal range
        motion = 0 if symbols.motion is None else len(symbols.motion.in_order())
        return motion + symbols.latent.z.size + symbols.latent.y[: item.live_channels].size

    def _frame(self, item: FrameUnit, following: FrameUnit | None) -> Planes:
        parsed, self._parsed = self._parsed, None
        if parsed is None or parsed.item is not item:
            symbols = self._symbols(item, self._stopwatch)
        elif isinstance(parsed.result, NacreError):
            raise parsed.result
        else:
            symbols = parsed.result

        def parse(clock: Stopwatch) -> None:
            assert following is not None
            try:
                self._parsed = _Parsed(following, self._symbols(following, clock))
            except NacreError as error:
                self._parsed = _Parsed(following, error)

        coding = self._coding(item)
        meanwhile = None if following is None else parse
        self._reference = self._coder.reconstruct(symbols, self._reference, coding, self._stopwatch, meanwhile)
        return crop(self._reference, coding.height, coding.width)

    def _symbols(self, item: FrameUnit, stopwatch: Stopwatch) -> FrameSymbols:
        symbols = self._coder.decode_symbols(
            item.payload, item.check, self._coding(item), self._previous, stopwatch, intra=item.key
        )
        self._previous = symbols.previous
        return symbols

    def _coding(self, item: FrameUnit) -> FrameCoding:
        header = self._reader.header
        return FrameCoding(header.width, header.height, item.quality, item.live_channels, header.skip_threshold)


def clip_info(reader: SequenceReader, frames: int | None, end: int | None) -> ClipInfo:
    """What a sequence says of its clip; frames and end (units of the time base) where they are known."""
    header = reader.header
    return ClipInfo(
        width=header.width,
        height=header.height,
        time_base=header.time_base,
        frame_rate=header.frame_rate,
        colour=header.colour,
        chroma_location=header.chroma_location,
        sample_aspect_ratio=header.sample_aspect_ratio,
        rotation=header.rotation,
        hdr=reader.hdr,
        frames=frames,
        duration=None if end is None else end * header.time_base,
    )
