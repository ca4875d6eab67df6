"""The line of progress: what it says, where it is drawn, and how complaints go around it."""

from __future__ import annotations

import io
import os
import sys
import threading

import pytest

from nacre.console import Console
from nacre.progress import Progress

Capture = pytest.CaptureFixture[str]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_one_picture() -> None:
    lines: list[str] = []
    clock = Clock()
    progress = Progress(1, lines.append, clock)
    progress.tiles(0, 0, 8)
    progress.tiles(0, 1, 8)
    clock.now = 30.0
    progress.tiles(0, 2, 8)
    clock.now = 2400.0
    progress.tiles(0, 3, 8)
    progress.tiles(0, 8, 8)
    assert lines == [
        "[--------------------]    0 %  0 of 8 tiles",
        "[##------------------]   12 %  1 of 8 tiles",
        "[#####---------------]   25 %  2 of 8 tiles  1:30 left",
        "[#######-------------]   37 %  3 of 8 tiles  1:06:40 left",
        "[####################]  100 %  8 of 8 tiles  0:00 left",
    ]


def test_one_picture_coded_several_times() -> None:
    lines: list[str] = []
    clock = Clock()
    progress = Progress(1, lines.append, clock)
    for done in (1, 2, 3, 4, 1, 2, 3, 4, 1):
        clock.now += 3.0
        progress.tiles(0, done, 4)
    assert lines[3] == "[####################]  100 %  4 of 4 tiles  0:00 left"
    assert lines[4] == "[#####---------------]   25 %  1 of 4 tiles  encode 2"
    assert lines[8] == "[#####---------------]   25 %  1 of 4 tiles  encode 3"


def test_one_picture_of_one_tile_says_nothing() -> None:
    lines: list[str] = []
    progress = Progress(1, lines.append)
    progress.tiles(0, 0, 1)
    progress.tiles(0, 1, 1)
    progress.finish(0)
    assert set(lines) == {""}


def test_several_pictures() -> None:
    lines: list[str] = []
    clock = Clock()
    progress = Progress(4, lines.append, clock)
    clock.now = 2.0
    progress.tiles(0, 1, 1)
    progress.tiles(1, 1, 4)
    progress.finish(0)
    progress.finish(1)
    assert lines == [
        "[#####---------------]   25 %  0 of 4 pictures  0:06 left",
        "[######--------------]   31 %  0 of 4 pictures  2 of 5 tiles  0:04 left",
        "[######--------------]   31 %  1 of 4 pictures  1 of 4 tiles  0:04 left",
        "[##########----------]   50 %  2 of 4 pictures  0:02 left",
    ]


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 99

    def rows(self) -> list[str]:
        """What stands on the screen, without blanks at the ends of rows."""
        rows = []
        for text in self.getvalue().split("\n"):
            row: list[str] = []
            column = 0
            for character in text:
                if character == "\r":
                    column = 0
                    continue
                row[column : column + 1] = character
                column += 1
            rows.append("".join(row).rstrip())
        return rows


def install_screen(monkeypatch: pytest.MonkeyPatch, columns: int = 70) -> Screen:
    """Makes stderr a terminal; not in a fixture, after which pytest sets stderr anew."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((columns, 25)))
    return screen


def test_drawn_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = install_screen(monkeypatch)
    clock = Clock()
    console = Console(quiet=False, clock=clock)
    with console.progress(1) as progress:
        progress.tiles(0, 0, 3)
        assert screen.rows() == ["[--------------------]    0 %  0 of 3 tiles"]
        progress.tiles(0, 1, 3)  # too soon to be drawn
        assert screen.rows() == ["[--------------------]    0 %  0 of 3 tiles"]
        clock.now = 0.5
        progress.tiles(0, 2, 3)
        assert screen.rows() == ["[#############-------]   66 %  2 of 3 tiles"]
    assert screen.rows() == [""]


def test_complaints_and_results_go_around_it(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = install_screen(monkeypatch)
    console = Console(quiet=False, clock=Clock())
    with console.progress(2) as progress:
        progress.tiles(0, 1, 3)
        console.complain("first", "error")
        assert screen.rows() == ["nacre: error: first", ""]
        progress.tiles(0, 2, 3)
        assert screen.rows()[1].endswith("0 of 2 pictures  2 of 3 tiles")
        console.say("result")
        assert screen.rows() == ["nacre: error: first", ""]
    assert capsys.readouterr().out == "result\n"


def test_cut_at_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = install_screen(monkeypatch, 30)
    with Console(quiet=False).progress(1) as progress:
        progress.tiles(0, 1, 300)
        assert screen.rows() == ["[--------------------]    0 %"]


def test_none_when_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = install_screen(monkeypatch)
    console = Console(quiet=True)
    with console.progress(2) as progress:
        progress.tiles(0, 1, 3)
        progress.finish(0)
    console.say("result")
    assert screen.getvalue() == ""


def test_none_in_a_pipe(capsys: Capture) -> None:
    with Console(quiet=False).progress(2) as progress:
        progress.tiles(0, 1, 3)
        progress.finish(0)
    assert capsys.readouterr() == ("", "")


def test_subjects_belong_to_their_threads(capsys: Capture) -> None:
    console = Console(quiet=False)
    with console.about("a.png"):
        other = threading.Thread(target=console.complain, args=("from elsewhere",))
        other.start()
        other.join()
        console.complain("bad", "warning")
        console.complain("a.png: worse", "error")
    console.complain("over")
    expected = ["from elsewhere", "warning: a.png: bad", "error: a.png: worse", "over"]
    assert capsys.readouterr().err.splitlines() == [f"nacre: {line}" for line in expected]


def test_without_standard_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    console = Console(quiet=False)
    with console.progress(2) as progress:
        progress.tiles(0, 1, 3)
        console.complain("nobody hears this")
        console.say("nor this")
