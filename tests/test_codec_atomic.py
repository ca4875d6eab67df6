"""Targets appear whole or not at all."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from nacre.atomic import check_target, open_target
from nacre.bitstream import InputError

FULL = Path("/dev/full")


def test_written_and_renamed(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    with open_target(target) as file:
        file.write(b"new")
        assert not target.exists()
        (temporary,) = tmp_path.iterdir()
        assert temporary.name.endswith(".nacre-part")
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~_umask()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_the_body_fails(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    with pytest.raises(error):
        write_and_fail(target, error)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_is_left_when_the_rename_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with (
        pytest.raises(InputError, match=r"out\.bin: cannot be written: Permission denied"),
        open_target(tmp_path / "out.bin") as file,
    ):
        file.write(b"data")
    assert list(tmp_path.iterdir()) == []


def test_existing_files_keep_mode_and_links(tmp_path: Path) -> None:
    target = tmp_path / "real.bin"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link = tmp_path / "link.bin"
    link.symlink_to(target)
    with open_target(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_no_clobber(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    with open_target(target, clobber=False) as file:
        file.write(b"first")
    with pytest.raises(InputError, match="exists already"), open_target(target, clobber=False):
        pass
    target.unlink()
    with pytest.raises(InputError, match="exists already"), open_target(target, clobber=False):
        target.write_bytes(b"somebody else was faster")
    assert target.read_bytes() == b"somebody else was faster"
    assert list(tmp_path.iterdir()) == [target]


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, text in (
        (tmp_path, "it is a folder"),
        (tmp_path / "nowhere" / "out.bin", "does not exist"),
        (tmp_path / "file" / "out.bin", "cannot be written"),
        (Path("a\0b"), "cannot be written"),
    ):
        with pytest.raises(InputError, match=text):
            check_target(path)
        with pytest.raises(InputError, match=text), open_target(path):
            pass


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="devices of Linux")
def test_devices_are_written_to_and_stay() -> None:
    with open_target(Path("/dev/null")) as file:
        file.write(b"gone")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(InputError, match="/dev/full: cannot be written: No space left"), open_target(FULL) as file:
        file.write(b"too much")


def write_and_fail(target: Path, error: type[BaseException]) -> None:
    with open_target(target) as file:
        file.write(b"half of it")
        raise error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
