"""File objects for PyAV, which drops whatever its calls raise that is no Exception: an interruption would be lost."""

from __future__ import annotations

import io
from typing import BinaryIO

from nacre.sources import Readable


class PyavReader:
    """A reader for PyAV over another, which can seek where its file is given: places count from where that stands.

    After trouble it has ended; `check` raises what it was.
    """

    name = "input"

    def __init__(self, reader: Readable, file: BinaryIO | None) -> None:
        self._reader, self._file = reader, file
        self._start = 0 if file is None else file.tell()
        self._trouble: BaseException | None = None

    def check(self) -> None:
        """Raise what a call of PyAV's raised."""
        if self._trouble is not None:
            raise self._trouble

    def read(self, size: int) -> bytes:
        """Some bytes, none at the end and after trouble."""
        if self._trouble is not None:
            return b""
        try:
            return self._reader.read(size) or b""
        except BaseException as error:
            self._trouble = error
            return b""

    def seekable(self) -> bool:
        """Whether seek works."""
        return self._file is not None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move."""
        if self._file is None:
            msg = "a pipe cannot seek"
            raise OSError(msg)
        if whence == io.SEEK_SET:
            offset += self._start
        return self._file.seek(offset, whence) - self._start

    def tell(self) -> int:
        """Where the reader stands."""
        return 0 if self._file is None else self._file.tell() - self._start


class PyavWriter:
    """A writer for PyAV over a file. After trouble or `abandon` nothing more is written; `check` raises what it was."""

    name = "output"

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._trouble: BaseException | None = None
        self.closed = False
        """PyAV ends a file only where this is not so."""

    def check(self) -> None:
        """Raise what a call of PyAV's raised."""
        if self._trouble is not None:
            raise self._trouble

    def abandon(self) -> None:
        """Write nothing more."""
        self.closed = True

    def write(self, data: bytes) -> int:
        """Write all, unless there was trouble before."""
        if self._trouble is None and not self.closed:
            try:
                rest = memoryview(data)
                while rest and (written := self._file.write(rest)) is not None:
                    rest = rest[written:]
            except BaseException as error:
                self._trouble = error
        return len(data)

    def seekable(self) -> bool:
        """Whether seek works."""
        return self._file.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, unless there was trouble before."""
        if self._trouble is not None or self.closed:
            return 0
        try:
            return self._file.seek(offset, whence)
        except BaseException as error:
            self._trouble = error
            return 0

    def tell(self) -> int:
        """Where the file stands."""
        return self._file.tell()
