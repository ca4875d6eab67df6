"""A sequence's items, of which a few are read before they are due."""

from __future__ import annotations

from collections import deque

from nacre.bitstream.errors import NacreError
from nacre.bitstream.frames import FrameUnit
from nacre.bitstream.sequence import LostFrames, SequenceReader
from nacre.bitstream.tracks import PacketUnit

Item = FrameUnit | PacketUnit | LostFrames

_MAX_ITEMS = 16  # that are read in advance, packets that stand before the next frame among them


class LookAhead:
    """What a SequenceReader gives, one after the other. An error met in advance is raised when its turn has come."""

    def __init__(self, reader: SequenceReader) -> None:
        self._reader = reader
        self._items: deque[Item | NacreError] = deque()

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to come."""
        return not self._items and self._reader.ended

    def begin(self) -> None:
        """Read the first item, if the file has it, and with it all that stands before the first frame."""
        item = self._reader.poll()
        if item is not None:
            self._items.append(item)

    def take(self, *, final: bool = True) -> Item | None:
        """The next item; None at the end and, unless final, where the file has no more for now."""
        if not self._items:
            return next(self._reader, None) if final else self._reader.poll()
        item = self._items.popleft()
        if isinstance(item, NacreError):
            raise item
        return item

    def put_back(self, item: Item) -> None:
        """Have an item next that was taken before."""
        self._items.appendleft(item)

    def forget(self) -> None:
        """Let go of what was read, for the reader was sent elsewhere."""
        self._items.clear()

    def next_frame(self) -> FrameUnit | None:
        """The next frame, if the file has it and nothing but a few packets stands before it; waits for nothing."""
        while not self._items or (isinstance(self._items[-1], PacketUnit) and len(self._items) < _MAX_ITEMS):
            try:
                item = self._reader.poll()
            except NacreError as error:
                self._items.append(error)
                return None
            if item is None:
                return None
            self._items.append(item)
        last = self._items[-1]
        if isinstance(last, FrameUnit) and all(isinstance(item, PacketUnit) for item in list(self._items)[:-1]):
            return last
        return None
