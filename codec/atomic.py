"""Targets that are there whole or not at all: written beside under a temporary name, then renamed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nacre.bitstream.errors import InputError
from nacre.sources import reason

TEMPORARY_SUFFIX = ".nacre-part"


def check_target(path: Path, *, clobber: bool = True) -> None:
    """Raise InputError, before any work is spent, where `path` cannot become a file."""
    try:
        is_folder, exists, folder = path.is_dir(), path.exists(), path.resolve().parent
    except (OSError, ValueError, RuntimeError) as error:  # a null character; a loop of symbolic links
        raise _unwritable(path, error) from error
    if is_folder:
        msg = f"{path}: cannot be written: it is a folder"
        raise InputError(msg)
    if exists and not clobber:
        raise _clobbered(path)
    if not folder.is_dir():
        msg = f"{path}: cannot be written: the folder {folder} does not exist"
        raise InputError(msg)


@contextmanager
def open_target(path: Path, *, clobber: bool = True) -> Iterator[BinaryIO]:
    """A file that becomes `path` when the body ends well, and of which nothing is left when it does not.

    An existing file is replaced, its permissions kept, a symbolic link followed; with clobber False it is refused.
    What is no regular file (a device, a pipe) is written to directly. Raises InputError where writing fails.
    """
    check_target(path, clobber=clobber)
    if path.exists() and not path.is_file():
        try:
            with open(path, "wb") as file:
                yield file
        except OSError as error:
            raise _unwritable(path, error) from error
        return
    target = path.resolve()
    temporary = target.with_name(f".{secrets.token_hex(6)}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "xb") as file:
            yield file
        if target.exists():
            with suppress(OSError):
                shutil.copymode(target, temporary)
        _publish(temporary, target, clobber=clobber)
    except FileExistsError as error:
        raise _clobbered(path) from error
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _publish(temporary: Path, target: Path, *, clobber: bool) -> None:
    """Give the file its name; FileExistsError where it is taken and must not be replaced."""
    if clobber:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(target) from None
        os.replace(temporary, target)


def _unwritable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot be written: {reason(error)}")


def _clobbered(path: Path) -> InputError:
    return InputError(f"{path}: exists already, and --no-clobber keeps it")
