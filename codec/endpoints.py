"""Where a command reads from and writes to: files, or standard input and output under the name `-`."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from nacre.arguments import STANDARD
from nacre.atomic import open_target
from nacre.bitstream.errors import InputError
from nacre.sources import CHUNK_BYTES, Pushed, Readable, Source, naming, source_name

if TYPE_CHECKING:
    from typing_extensions import Buffer


def source(name: str) -> Source:
    """The path, or standard input."""
    return _standard_input() if name == STANDARD else name


@contextmanager
def peeked(name: str, size: int) -> Iterator[tuple[bytes, str | Readable]]:
    """The first `size` bytes of a path or standard input, fewer where there are no more, and the source with all of
    its bytes. Of a path that cannot be opened there are none; whoever opens the source says why."""
    if name == STANDARD:
        file = _standard_input()
        yield _peek(file, file, size)
        return
    try:
        file = open(name, "rb")  # noqa: SIM115  (closed below; only opening is translated here)
    except (OSError, ValueError):  # ValueError: a null character in the path
        yield b"", name
        return
    with file:
        head, rest = _peek(file, name, size)
        yield head, rest


def _peek(file: BinaryIO, source: str | Readable, size: int) -> tuple[bytes, str | Readable]:
    """The first bytes of a file, put back, and the source, or the pipe with all of its bytes."""
    movable = file.seekable()
    start = file.tell() if movable else 0
    reader, head = Pushed(b"", file), b""
    with suppress(OSError):  # whoever reads on says why
        while len(head) < size and (more := reader.read(size - len(head))):
            head += more
    if not movable:
        return head, Pushed(head, file, source_name(file))
    file.seek(start)
    return head, source


@contextmanager
def rewindable(source: Source) -> Iterator[Source]:
    """The source, in a temporary file where it is a pipe of `peeked`: it can be read several times.

    Exceptions of the package raised inside name the pipe.
    """
    if not isinstance(source, Pushed):
        yield source
        return
    with naming(source_name(source)), tempfile.TemporaryFile() as spool:
        while chunk := source.read(CHUNK_BYTES):
            spool.write(chunk)
        spool.seek(0)
        yield spool


@contextmanager
def open_output(target: str, *, clobber: bool) -> Iterator[BinaryIO]:
    """The file to write, there whole or not at all, or standard output, which must not be a terminal."""
    if target != STANDARD:
        with open_target(Path(target), clobber=clobber) as file:
            yield cast("BinaryIO", _Writer(file))
        return
    if sys.stdout is None or sys.stdout.isatty():
        msg = f"standard output is {'closed' if sys.stdout is None else 'a terminal'}, must be a file or a pipe"
        raise InputError(msg)
    yield cast("BinaryIO", _Writer(sys.stdout.buffer))
    sys.stdout.buffer.flush()


class _Writer(io.BufferedIOBase):
    """A file to write without its descriptor, on which Pillow's encoders write by themselves and overlook errors."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def write(self, data: Buffer, /) -> int:
        return self._file.write(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        msg = "standard input is closed, must be a file or a pipe"
        raise InputError(msg)
    return sys.stdin.buffer
