"""The command line: arguments, exit codes, signals, and one line on stderr for whatever goes wrong.

Exit codes: 0 done, 1 error, 2 usage, 3 done with losses, 130 and 143 ended by SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from types import FrameType
from typing import Any

from nacre.bitstream.errors import (
    ChecksumError,
    LimitError,
    NacreError,
    TruncatedError,
    UnsupportedVersionError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from nacre.bitstream.limits import Limits
from nacre.version import __version__

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

# Sub-commands that are tools with parsers of their own, offered where the installation holds them.
_TOOLS = {
    "evaluate": ("nacre.tools.evaluate", "measure rates, distortions and speeds over a folder of pictures"),
    "compare": ("nacre.tools.compare", "compare two pictures by every metric"),
    "bench": ("nacre.tools.bench", "measure the speed of each stage of encoding and decoding"),
}

_ADVICE: tuple[tuple[type[NacreError], str], ...] = (
    (TruncatedError, "the file is incomplete: copy or download it again"),
    (ChecksumError, "the file is damaged: copy or download it again"),
    (UnsupportedVersionError, "install a newer nacre"),
    (WeightsNotFoundError, "`nacre models` lists what is installed, --weights FOLDER names another place"),
    (WeightsMismatchError, "the stream needs the weights it was made with: --weights FOLDER names a place to look"),
    (LimitError, "--max-pixels sets the largest number of pixels, 4096 is the largest side"),
)


class _Terminated(BaseException):
    """SIGTERM arrived."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with _terminating(), _warnings_as_lines(quiet="--quiet" in arguments):
        try:
            return _run(arguments)
        except SystemExit as stop:  # argparse: usage errors, --help, --version
            return stop.code if isinstance(stop.code, int) else EXIT_ERROR
        except KeyboardInterrupt:
            _complain("interrupted")
            return EXIT_INTERRUPTED
        except _Terminated:
            _complain("terminated")
            return EXIT_TERMINATED
        except NacreError as error:
            advice = next((f" ({text})" for kind, text in _ADVICE if isinstance(error, kind)), "")
            _complain(f"error: {error}{advice}")
        except BrokenPipeError:
            _discard_output()
            _complain("error: the reader of standard output has gone")
        except MemoryError:
            _complain("error: not enough memory for a picture of this size")
        except OSError as error:
            _complain(f"error: {error}")
        return EXIT_ERROR


def build_parser() -> argparse.ArgumentParser:
    """The parser of all sub-commands."""
    parser = argparse.ArgumentParser(
        prog="nacre",
        description="A learned image codec. IN and OUT may be - for standard input and output.",
        epilog="Exit codes: 0 done, 1 error, 2 usage, 3 done with losses, 130 interrupted, 143 terminated.",
    )
    _add_common(parser, defaults=True)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")

    encode = _command(commands, "encode", "code a picture as a nacre stream")
    encode.add_argument("source", metavar="IN", help="picture, RGB or grey, in any format that Pillow reads")
    encode.add_argument("target", metavar="OUT", help="stream to write, .ncr by custom")
    encode.add_argument(
        "-q", "--quality", type=_quality, default=60.0, metavar="Q", help="0 (smallest) to 100 (best), default 60"
    )
    encode.add_argument("--profile", help="weights to encode with, default fast")
    _add_codec(encode)
    _add_target(encode)

    decode = _command(commands, "decode", "decode a nacre stream to a picture")
    decode.add_argument("source", metavar="IN", help="stream to read")
    decode.add_argument("target", metavar="OUT", help="picture to write, in the format that its ending names")
    decode.add_argument("--format", metavar="F", help="format to write whatever the ending, default png for -")
    _add_codec(decode)
    _add_target(decode)

    info = _command(commands, "info", "print what a stream's header says, and the bytes of each part")
    info.add_argument("source", metavar="FILE", help="stream to read")
    info.add_argument("--json", action="store_true", help="print JSON")

    verify = _command(commands, "verify", "check every checksum and decode all symbols, write nothing")
    verify.add_argument("source", metavar="FILE", help="stream to read")
    verify.add_argument("--json", action="store_true", help="print JSON")
    _add_codec(verify)

    models = _command(commands, "models", "list the installed weights")
    models.add_argument("--json", action="store_true", help="print JSON")
    _add_weights(models)

    demo = _command(commands, "demo", "code a picture, or a scene that is drawn for it, beside JPEG and WebP")
    demo.add_argument("picture", metavar="PICTURE", nargs="?", help="picture to code instead of the drawn scene")
    demo.add_argument("--out", metavar="FOLDER", default="nacre-demo", help="where to write, default nacre-demo")
    demo.add_argument(
        "-q", "--quality", type=_quality, default=60.0, metavar="Q", help="0 (smallest) to 100 (best), default 60"
    )
    demo.add_argument("--profile", help="weights to encode with, default fast")
    _add_codec(demo)

    for name, (module, summary) in _TOOLS.items():
        if find_spec(module) is not None:
            commands.add_parser(name, help=summary, add_help=False)
    return parser


def _run(arguments: list[str]) -> int:
    first = next((place for place, argument in enumerate(arguments) if not argument.startswith("-")), None)
    if first is not None and arguments[first] in _TOOLS and find_spec(_TOOLS[arguments[first]][0]) is not None:
        return _run_tool(arguments[first], arguments[:first] + arguments[first + 1 :])
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_usage(sys.stderr)
        _complain("error: a command is needed; nacre --help lists them")
        return EXIT_USAGE
    from nacre import commands

    run = {
        "encode": commands.encode,
        "decode": commands.decode,
        "info": commands.info,
        "verify": commands.verify,
        "models": commands.models,
        "demo": commands.demo,
    }[options.command]
    code = run(options)
    sys.stdout.flush()
    return code


def _run_tool(name: str, arguments: list[str]) -> int:
    try:
        tool = import_module(_TOOLS[name][0])
    except ModuleNotFoundError as error:
        _complain(f"error: nacre {name} needs {error.name}, which pip install 'nacre[eval]' brings")
        return EXIT_ERROR
    return int(tool.main(arguments))


def _command(commands: Any, name: str, summary: str) -> argparse.ArgumentParser:
    description = f"{summary[0].upper()}{summary[1:]}."
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=description)
    _add_common(parser, defaults=False)
    return parser


def _add_common(parser: argparse.ArgumentParser, *, defaults: bool) -> None:
    """What every parser takes; sub-commands have no defaults, which would undo what stands before them."""
    default = False if defaults else argparse.SUPPRESS
    parser.add_argument("-v", "--verbose", action="store_true", default=default, help="say more")
    parser.add_argument("--quiet", action="store_true", default=default, help="say nothing but errors")
    parser.add_argument("--version", action="version", version=f"nacre {__version__}")


def _add_codec(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=_positive, metavar="N", help="threads, default as many as processors")
    parser.add_argument(
        "--max-pixels",
        type=_positive,
        default=Limits().max_pixels,
        metavar="N",
        help="refuse larger pictures, default 400 million",
    )
    _add_weights(parser)


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", metavar="FOLDER", help="look for weights there and nowhere else")


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-clobber", action="store_true", help="never replace an existing file")


def _quality(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 100.0:
        msg = f"quality is {text!r}, must be a number in 0..100"
        raise argparse.ArgumentTypeError(msg)
    return value


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        msg = f"the number is {text!r}, must be an integer of at least 1"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _complain(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    line = f"nacre: {' '.join(message.split())}"
    encoding = sys.stderr.encoding or "utf-8"
    with suppress(OSError):
        print(line.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr, flush=True)


@contextmanager
def _terminating() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that what is half done is cleaned up."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _warnings_as_lines(*, quiet: bool) -> Iterator[None]:
    """Print the warnings that concern a user as lines on stderr, or nothing when quiet."""

    def show(message: Warning | str, *_: Any) -> None:
        _complain(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not quiet:
            warnings.simplefilter("always", UserWarning)
            warnings.simplefilter("always", RuntimeWarning)
            warnings.showwarning = show  # type: ignore[assignment]
        yield


def _discard_output() -> None:
    """Point standard output at nothing, so that the interpreter does not fail again when it flushes at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
