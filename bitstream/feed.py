"""The bytes of a stream that may still grow, and where to go on behind a damaged unit of it.

A unit whose CRC-32 is wrong tells nothing for sure, see SPEC.md, section 17. What `nacre.bitstream.recovery` does with
a picture in memory is done here with a stretch of a stream of any length: no more bytes are held than a few units of
the largest legal size, and the work of a search is in proportion to the bytes that it passes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from nacre.bitstream.errors import FormatError, LimitError
from nacre.bitstream.units import SEQUENCE_TYPES, BinaryReader, UnitType, parse_varint

CRC_BYTES = 4
LOOK_BYTES = 64
"""Bytes of a payload that a search looks at before it believes in a unit; more than any frame has before its code."""

_CHUNK_BYTES = 1 << 20
_STEP_BYTES = 1 << 10  # that a search reads at a time
_KEPT_BYTES = 1 << 16  # that a search has passed and not yet let go
_MAX_LENGTH = 5  # bytes of a unit's length
_FIRST_WORK = 1 << 26  # checksums of a search, in bytes, ...
_WORK = 64  # and this many for each byte that it has passed
_CHECK_WORK = 1 << 8  # of a checksum, beside its bytes
_CANDIDATE = re.compile(b"[" + re.escape(bytes(sorted(SEQUENCE_TYPES - {UnitType.SEQUENCE_HEADER}))) + b"]")


class Starved(Exception):
    """The file has no more bytes for now."""


class Framing(NamedTuple):
    """A unit in a feed's buffer: its type, where its payload starts, where its last byte ends."""

    type: int
    start: int
    end: int

    @property
    def length(self) -> int:
        """Bytes of payload."""
        return self.end - CRC_BYTES - self.start


class Feed:
    """The bytes of a file from `offset` on; those in `buffer` were read and not yet let go.

    Reading takes no byte more than is asked for; where the file has less, for the time being or for good, what came
    stays in the buffer and Starved is raised.
    """

    def __init__(self, file: BinaryReader, offset: int = 0) -> None:
        self._file = file
        self.buffer = bytearray()
        self.offset = offset

    def need(self, size: int) -> None:
        """Have at least `size` bytes in the buffer."""
        while len(self.buffer) < size:
            chunk = self._file.read(min(size - len(self.buffer), _CHUNK_BYTES))
            if not chunk:
                raise Starved
            self.buffer += chunk

    def skip(self, size: int) -> None:
        """Let go of the first `size` bytes."""
        del self.buffer[:size]
        self.offset += size

    def framing(self, at: int) -> Framing:
        """The unit that starts at `at`, of which no more than the head need be there; FormatError for a bad length."""
        used = 1
        self.need(at + 2)
        while self.buffer[at + used] >= 0x80 and used < _MAX_LENGTH:
            used += 1
            self.need(at + used + 1)
        try:
            length, used = parse_varint(bytes(self.buffer[at + 1 : at + 1 + _MAX_LENGTH]))
        except FormatError as error:
            msg = f"the length is malformed: {error}"
            raise FormatError(msg) from error
        start = at + 1 + used
        return Framing(self.buffer[at], start, start + length + CRC_BYTES)

    def checksums(self, at: int, end: int) -> tuple[int, int]:
        """The CRC that is stored in the unit at `at` and the one that its bytes give."""
        self.need(end)
        with memoryview(self.buffer) as view, view[at : end - CRC_BYTES] as covered:
            computed = zlib.crc32(covered)
        return int.from_bytes(self.buffer[end - CRC_BYTES : end], "little"), computed


class Grammar(Protocol):
    """What a search has to know of a stream."""

    def check(self, unit_type: int, length: int) -> None:
        """Raise FormatError or LimitError for a payload length in bytes that no unit of the type has."""

    def is_plausible(self, unit_type: int, length: int, start: bytes) -> bool:
        """Whether there may be such a unit; start: the first LOOK_BYTES of the payload, or all of a shorter one."""


class Search:
    """The search for the place to go on behind the damaged unit at which a feed stands.

    final: whether what the file has now is all that it will ever have.
    """

    def __init__(self, feed: Feed, grammar: Grammar) -> None:
        self._feed, self._grammar = feed, grammar
        self._at = 1
        self._announced: int | None = None
        self._judged = False
        self._astray: set[int] = set()  # units, by offset, from which no row of units leads to the announced end
        self._start = feed.offset
        self._work = 0
        self.gave_up = False
        """Whether it passed over what may be a unit, since too much looked like one."""

    def run(self, final: bool) -> None:
        """Leave the feed at an intact unit, or at the end of what the file has.

        Raises Starved where that needs more bytes, unless `final`; the next call goes on with them.
        """
        feed = self._feed
        if not self._judged:
            self._announced = self._announced_end(final)
            self._judged = True
        while True:
            stop = len(feed.buffer) if self._announced is None else self._announced - feed.offset
            found = _CANDIDATE.search(feed.buffer, self._at, stop)
            if found is not None:
                self._at = found.start()
                if self._leads_on(self._at, final):
                    feed.skip(self._at)
                    return
                self._at += 1
                if self._announced is None and self._at > _KEPT_BYTES:
                    self._pass(self._at)
                continue
            self._pass(stop)
            if self._announced is not None:
                return
            try:
                feed.need(_STEP_BYTES)
            except Starved:
                if not feed.buffer:
                    if final:
                        return
                    raise

    def _pass(self, size: int) -> None:
        self._feed.skip(size)
        self._at = 0

    def _announced_end(self, final: bool) -> int | None:
        """Offset at which the damaged unit says that it ends, if an intact unit or the end of the stream is there."""
        try:
            end = self._extent(0).end
            self._feed.need(end)
        except (FormatError, LimitError):
            return None
        except Starved:
            if final:
                return None
            raise
        at_the_end = final and self._is_exhausted(end)
        return self._feed.offset + end if at_the_end or self._is_intact(end, final) else None

    def _is_exhausted(self, size: int) -> bool:
        try:
            self._feed.need(size + 1)
        except Starved:
            return True
        return False

    def _extent(self, at: int) -> Framing:
        framing = self._feed.framing(at)
        self._grammar.check(framing.type, framing.length)
        return framing

    def _is_intact(self, at: int, final: bool) -> bool:
        """Whether an intact unit of whatever type starts at `at`."""
        try:
            end = self._extent(at).end
            self._work += end - at + _CHECK_WORK
            if self._work > _FIRST_WORK + _WORK * (self._feed.offset + at - self._start):
                self._work -= end - at
                self.gave_up = True
                return False
            stored, computed = self._feed.checksums(at, end)
        except (FormatError, LimitError):
            return False
        except Starved:
            if final:
                return False
            raise
        return stored == computed

    def _looks_right(self, at: int, final: bool) -> bool:
        try:
            framing = self._extent(at)
            stop = framing.start + min(framing.length, LOOK_BYTES)
            self._feed.need(stop)
        except (FormatError, LimitError):
            return False
        except Starved:
            if final:
                return False
            raise
        start = bytes(self._feed.buffer[framing.start : stop])
        return self._grammar.is_plausible(framing.type, framing.length, start)

    def _leads_on(self, at: int, final: bool) -> bool:
        """Whether to go on at `at`: at an intact unit, from which a row leads to the announced end if there is one."""
        offset = self._feed.offset + at
        if offset in self._astray or not self._looks_right(at, final) or not self._is_intact(at, final):
            return False
        if self._announced is None:
            return True
        row = list(self._row(at, self._announced - self._feed.offset, final))
        if row[-1] == self._announced - self._feed.offset:
            return True
        self._astray.update(self._feed.offset + place for place in row)
        return False

    def _row(self, at: int, stop: int, final: bool) -> Iterator[int]:
        """`at`, the end of the intact unit there, and so on while intact units follow, as far as `stop`."""
        while at < stop:
            yield at
            if not self._is_intact(at, final):
                return
            at = self._extent(at).end
        yield at
