"""Where bytes come from: paths, bytes and file objects, opened alike, with errors that name the source."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol, cast

from nacre.bitstream.errors import InputError, LimitError, NacreError, TruncatedError

CHUNK_BYTES = 1 << 20


class Readable(Protocol):
    """A file object opened for reading in binary mode."""

    def read(self, size: int, /) -> bytes | None: ...


Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable


class CheckedReader:
    """A file object whose failures are InputErrors, and which must not be empty."""

    def __init__(self, file: Readable, empty: type[NacreError]) -> None:
        self._file, self._empty = file, empty
        self._started = False

    def read(self, size: int, /) -> bytes | None:
        try:
            data: Any = self._file.read(size)
        except (OSError, ValueError) as error:  # ValueError: the file is closed
            msg = f"cannot be read: {reason(error)}"
            raise InputError(msg) from error
        if isinstance(data, str):
            msg = "is opened in text mode, must be opened in binary mode"
            raise InputError(msg)
        if data == b"" and size and not self._started:
            msg = "is empty (0 bytes)"
            raise self._empty(msg)
        self._started = True
        return bytes(data) if isinstance(data, bytearray | memoryview) else data

    def tell(self) -> int:
        """Where the file object stands; what it raises where it cannot say."""
        return int(self._file.tell())  # type: ignore[attr-defined]  # not every source has it

    def seek(self, offset: int, /) -> int:
        """Move the file object; what it raises where it cannot."""
        return int(self._file.seek(offset))  # type: ignore[attr-defined]  # not every source has it

    @property
    def seekable_file(self) -> BinaryIO | None:
        """The file object itself where it can seek, None where it cannot."""
        try:
            self.seek(self.tell())
        except (AttributeError, TypeError, OSError, ValueError):
            return None
        return cast("BinaryIO", self._file)


class Pushed:
    """A pipe with the bytes in front that were read from it to see what it is. It gives what there is, without waiting
    for all that is asked for. name: of the pipe, for messages."""

    def __init__(self, head: bytes, reader: Readable, name: str | None = None) -> None:
        self.name = name
        self._head = head
        self._read = getattr(reader, "read1", reader.read)

    def read(self, size: int, /) -> bytes | None:
        if not self._head:
            return cast("bytes | None", self._read(size))
        data, self._head = self._head[:size], self._head[size:]
        return data


def reason(error: Exception) -> str:
    """What went wrong, without the path that an OSError repeats."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


@contextmanager
def naming(name: str | None) -> Iterator[None]:
    """Put `name: ` before the message of an exception of the package that passes through."""
    try:
        yield
    except NacreError as error:
        if name is not None:
            error.args = (f"{name}: {error}",)
        raise


def source_name(source: object) -> str | None:
    """The path of a source, or the name that a file object gives itself; None for bytes and nameless objects."""
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else None


@contextmanager
def open_source(source: Source, empty: type[NacreError] = TruncatedError) -> Iterator[CheckedReader]:
    """A reader of the source; file objects are left open. Exceptions of the package raised inside name the source.

    Raises InputError where the source cannot be opened or read or is no source, and `empty` where it has no bytes.
    """
    with naming(source_name(source)):
        if isinstance(source, bytes | bytearray | memoryview):
            yield CheckedReader(io.BytesIO(source), empty)
        elif isinstance(source, str | os.PathLike):
            try:
                file = open(source, "rb")  # noqa: SIM115  (closed below; only opening is translated here)
            except (OSError, ValueError) as error:  # ValueError: a null character in the path
                msg = f"cannot be read: {reason(error)}"
                raise InputError(msg) from error
            with file:
                yield CheckedReader(file, empty)
        elif hasattr(source, "read"):
            yield CheckedReader(source, empty)
        else:
            msg = f"the source is {type(source).__name__}, must be a path, bytes or a file object opened in binary mode"
            raise InputError(msg)


def read_all(reader: Readable, limit: int) -> bytes:
    """Everything that is left in a reader; LimitError where that is more than `limit` bytes."""
    buffer = io.BytesIO()
    while chunk := reader.read(CHUNK_BYTES):
        if buffer.write(chunk) and buffer.tell() > limit:
            msg = f"has more than {limit} bytes, which is the limit"
            raise LimitError(msg)
    return buffer.getvalue()
