"""Where a command reads from and writes to: files, or standard input and output under the name `-`."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from nacre.arguments import STANDARD
from nacre.atomic import open_target
from nacre.bitstream.errors import InputError
from nacre.sources import Source, naming, source_name

if TYPE_CHECKING:
    from typing_extensions import Buffer


def source(name: str) -> Source:
    """The path, or standard input."""
    return _standard_input() if name == STANDARD else name


@contextmanager
def rewindable(name: str) -> Iterator[Source]:
    """The path, or standard input, in a temporary file where it is a pipe: it can be read several times.

    Exceptions of the package raised inside name the pipe.
    """
    if name != STANDARD:
        path = Path(name)
        if path.is_file() or path.is_dir() or not path.exists():
            yield name
            return
    with nullcontext(_standard_input()) if name == STANDARD else open(name, "rb") as file:
        if file.seekable():
            yield file
            return
        with naming(source_name(file)), tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(file, spool)
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


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        msg = "standard input is closed, must be a file or a pipe"
        raise InputError(msg)
    return sys.stdin.buffer
