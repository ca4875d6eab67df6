"""The command line: which command runs, signals, and one line on stderr for whatever goes wrong."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from PIL import Image

from nacre import arguments
from nacre.advice import EXPECTED, explain
from nacre.console import Console
from nacre.exits import Exit
from nacre.stopping import Terminated, stopping

# Sub-commands that are tools with parsers of their own, offered where the installation holds them.
_TOOLS = {
    "evaluate": ("nacre.tools.evaluate", "measure rates, distortions and speeds over a folder of pictures"),
    "compare": ("nacre.tools.compare", "compare two pictures by every metric"),
    "bench": ("nacre.tools.bench", "measure the speed of each stage of encoding and decoding"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, one of `Exit`."""
    argv = list(sys.argv[1:] if argv is None else argv)
    console = Console(quiet="--quiet" in argv)
    with stopping(), _warnings_as_lines(console):
        try:
            return _run(argv, console)
        except SystemExit as stop:  # argparse: usage errors, --help, --version
            return stop.code if isinstance(stop.code, int) else Exit.ERROR
        except KeyboardInterrupt:
            console.complain("interrupted")
            return Exit.INTERRUPTED
        except Terminated:
            console.complain("terminated")
            return Exit.TERMINATED
        except EXPECTED as error:
            if isinstance(error, BrokenPipeError):
                _discard_output()
            console.complain(explain(error), "error")
            return Exit.ERROR


def build_parser() -> argparse.ArgumentParser:
    """The parser of all sub-commands that are installed."""
    return arguments.build_parser({name: text for name, (module, text) in _TOOLS.items() if find_spec(module)})


def _run(argv: list[str], console: Console) -> int:
    first = next((place for place, argument in enumerate(argv) if not argument.startswith("-")), None)
    if first is not None and argv[first] in _TOOLS and find_spec(_TOOLS[argv[first]][0]) is not None:
        return _run_tool(argv[first], argv[:first] + argv[first + 1 :], console)
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_usage(sys.stderr)
        console.complain("a command is needed; nacre --help lists them", "error")
        return Exit.USAGE
    from nacre import conversion, reports

    run = {
        "encode": conversion.encode,
        "decode": conversion.decode,
        "info": reports.info,
        "verify": reports.verify,
        "models": reports.models,
        "demo": reports.demo,
    }[options.command]
    code = run(options, console)
    if sys.stdout is not None:
        sys.stdout.flush()
    return code


def _run_tool(name: str, argv: list[str], console: Console) -> int:
    try:
        tool = import_module(_TOOLS[name][0])
    except ModuleNotFoundError as error:
        console.complain(f"nacre {name} needs {error.name}, which pip install 'nacre[eval]' brings", "error")
        return Exit.ERROR
    return int(tool.main(argv))


@contextmanager
def _warnings_as_lines(console: Console) -> Iterator[None]:
    """Print the warnings that concern a user as lines on stderr, or nothing when quiet."""

    def show(message: Warning | str, *_: Any) -> None:
        console.complain(str(message), "warning")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not console.quiet:
            warnings.simplefilter("always", UserWarning)
            warnings.simplefilter("always", RuntimeWarning)
            # Pillow's own, of a limit that nobody set; the picture's size is checked against max_pixels all the same
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.showwarning = show  # type: ignore[assignment]
        yield


def _discard_output() -> None:
    """Point standard output at nothing, so that the interpreter does not fail again when it flushes at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
