"""What the parsers of the sub-commands kept here have in common."""

from __future__ import annotations

import argparse

from nacre.version import __version__


def tool_parser(name: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """A parser of `nacre NAME` with the options that every sub-command takes."""
    parser = argparse.ArgumentParser(prog=f"nacre {name}", description=description, epilog=epilog)
    parser.add_argument("-v", "--verbose", action="store_true", help="say more")
    parser.add_argument("--quiet", action="store_true", help="no progress, nothing but results and errors")
    parser.add_argument("--version", action="version", version=f"nacre {__version__}")
    return parser


def positive(text: str) -> int:
    """An integer of at least 1."""
    if not (text.isascii() and text.isdigit() and int(text)):
        msg = f"the number is {text!r}, must be an integer of at least 1"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def names(text: str) -> tuple[str, ...]:
    """Names between commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
