"""Exactness over environments: the same streams made and read in each, and a table of what differs.

    python -m nacre.tools.exactness pictures FOLDER [--set emulated]    the pictures, which need scikit-image
    python -m nacre.tools.exactness make FOLDER --environment NAME      streams, made in this environment
    python -m nacre.tools.exactness read FOLDER --environment NAME      every stream of FOLDER, read in this environment
    python -m nacre.tools.exactness table FOLDER...                     what differs, as Markdown

A row is an environment on a machine (`--machine`, a name such as haswell-qemu). All rows of one FOLDER are compared
with its first reading, the baseline: symbols and scale indices of every stream must be the same, pixels of the streams
that the baseline made are compared sample by sample. tests/emulated/run.sh makes the rows of other processors.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import nacre
from nacre.bitstream import read_header
from nacre.bitstream.errors import InputError, NacreError
from nacre.tools.environments import ENVIRONMENTS, Environment, Record, installed
from nacre.tools.extras import package_version, require
from nacre.tools.machine import cpu_name

Pixels = NDArray[np.uint8]

LARGEST_DIFFERENCE = 2  # of 255, and
EQUAL_SAMPLES = 0.999  # the tolerance between machines on decoded samples


class Pictures(NamedTuple):
    """Pictures of one size: contents, width, height, and the qualities that each is coded at."""

    contents: tuple[str, ...]
    width: int
    height: int
    qualities: tuple[int, ...]


CONTENTS = ("noise", "flat", "photo", "text")
_EVERY = tuple(range(0, 101, 10))
SETS: Mapping[str, tuple[Pictures, ...]] = {
    "full": (
        Pictures(CONTENTS, 1, 1, _EVERY),
        Pictures(CONTENTS, 17, 33, _EVERY),
        Pictures(CONTENTS, 512, 768, _EVERY),
        Pictures(CONTENTS, 1001, 999, _EVERY),
        Pictures(("photo",), 2304, 1100, (0, 50, 100)),  # of several tiles
    ),
    # What an emulated processor codes in minutes: fewer qualities of small pictures, one of each large one.
    "emulated": (
        Pictures(CONTENTS, 1, 1, (0, 50, 100)),
        Pictures(CONTENTS, 17, 33, (0, 30, 60, 100)),
        Pictures(("photo",), 512, 768, (60,)),
        Pictures(("text",), 1001, 999, (80,)),
        Pictures(("photo",), 4112, 24, (40,)),  # of several tiles
    ),
    # Made at home, their symbols read by emulated processors.
    "large": (
        Pictures(CONTENTS, 512, 768, (20, 70)),
        Pictures(CONTENTS, 1001, 999, (20, 70)),
        Pictures(("photo",), 2304, 1100, (50,)),  # of several tiles
    ),
}


def make_content(content: str, width: int, height: int) -> Pixels:
    """A picture of one kind, uint8 (height, width, 3), the same at every call."""
    if content == "flat":
        return np.broadcast_to(np.array((90, 140, 200), np.uint8), (height, width, 3)).copy()
    if content == "noise":
        return np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)
    if content == "text":
        image = Image.new("RGB", (width, height), (248, 244, 232))
        draw = ImageDraw.Draw(image)
        for line, top in enumerate(range(2, height, 13)):
            draw.text(
                (2 - 5 * (line % 3), top), "The quick brown fox jumps over it. " * (width // 150 + 1), (20, 24, 40)
            )
        return np.asarray(image)
    if content == "photo":
        photo = require("skimage.data", "'nacre[dev]'").astronaut()
        scale = max(width / photo.shape[1], height / photo.shape[0], 0.1)
        size = max(width, round(photo.shape[1] * scale)), max(height, round(photo.shape[0] * scale))
        resized = Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)
        return np.asarray(resized.crop((0, 0, width, height)))
    raise ValueError(content)


def write_pictures(folder: Path, chosen: Sequence[Pictures]) -> int:
    """The pictures of a set as PNG files, and the list of what to make of them; returns how many streams that is."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    cases: list[dict[str, Any]] = []
    for contents, width, height, qualities in chosen:
        for content in contents:
            name = f"{content}-{width}x{height}"
            Image.fromarray(make_content(content, width, height)).save(pictures / f"{name}.png")
            cases.append({"picture": name, "qualities": qualities})
    (folder / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    return sum(len(case["qualities"]) for case in cases)


class Row(NamedTuple):
    """One environment on one machine, over one set of weights folders."""

    folder: Path
    environment: Environment
    machine: str
    weights: Sequence[Path]

    @property
    def name(self) -> str:
        return f"{self.machine}:{self.environment.name}"

    def codecs(self) -> dict[str, nacre.ImageCodec]:
        """A codec for each folder of weights, by profile."""
        found = {}
        for folder in self.weights:
            profile = nacre.weights.load(folder=folder).profile
            found[profile] = nacre.ImageCodec(profile, threads=self.environment.threads, weights=folder)
        return found

    def report(self, kind: str) -> Path:
        return self.folder / kind / f"{self.name.replace(':', '--')}.json"

    def describe(self, record: Record, seconds: float) -> dict[str, Any]:
        """Who ran what: for the head of a report."""
        names = ("numpy", "onnxruntime", "torch", "constriction", "pillow")
        return {
            "row": self.name,
            "environment": self.environment.name,
            "machine": self.machine,
            "processor": f"{cpu_name()} ({platform.machine()})",
            "versions": {"python": platform.python_version(), **{name: package_version(name) for name in names}},
            "calls": dict(sorted(record.calls.items())),
            "known_answers": record.known_answers,
            "seconds": round(seconds, 1),
        }


def make_streams(row: Row, largest: int | None = None) -> dict[str, Any]:
    """Code all cases of the folder with every set of weights; the report, also written.

    Pictures of more than `largest` pixels are left out.
    """
    cases = json.loads((row.folder / "cases.json").read_text())
    (row.folder / "streams").mkdir(exist_ok=True)
    made: dict[str, str] = {}
    start = time.monotonic()
    with installed(row.environment) as record:
        for profile, codec in row.codecs().items():
            for case in cases:
                with Image.open(row.folder / "pictures" / f"{case['picture']}.png") as image:
                    pixels = np.asarray(image)
                if largest is not None and pixels.shape[0] * pixels.shape[1] > largest:
                    continue
                for quality in case["qualities"]:
                    data = codec.encode(pixels, float(quality))
                    digest = hashlib.sha256(data).hexdigest()
                    (row.folder / "streams" / f"{digest}.ncr").write_bytes(data)
                    made[f"{profile}/{case['picture']}/{quality}"] = digest
    report = row.describe(record, time.monotonic() - start) | {"streams": made}
    _demand(record, f"{row.environment.scale}:scale", record.calls[f"{row.environment.coder}:encode"])
    _write(row.report("made"), report)
    return report


def read_streams(row: Row, golden: Sequence[Path], largest: int | None = None) -> dict[str, Any]:
    """Read every stream of the folder, and of the folders in `golden`; the report, also written.

    The first reading of a folder keeps its pixels, the others compare with them. Of pictures of more than `largest`
    pixels the symbols alone are read.
    """
    pixels = row.folder / "pixels"
    baseline = not pixels.exists()
    pixels.mkdir(exist_ok=True)
    paths = sorted((row.folder / "streams").glob("*.ncr"))
    shown = _made_by_baseline(row.folder) if baseline else {path.stem for path in pixels.glob("*.png")}
    for folder in golden:
        paths += sorted(folder.glob("*.ncr"))
        shown |= {path.stem for path in folder.glob("*.ncr")} if baseline else set()
    results: dict[str, Any] = {}
    start = time.monotonic()
    tiles = 0
    with installed(row.environment) as record:
        codecs = row.codecs()
        for path in paths:
            data = path.read_bytes()
            record.symbols.clear()
            try:
                header = read_header(io.BytesIO(data))
                codec = codecs[header.profile]
                if path.stem in shown and (largest is None or header.width * header.height <= largest):
                    result = _compare(codec.decode_array(data), pixels / f"{path.stem}.png", keep=baseline)
                else:
                    codec.verify(data)
                    result = {}
            except NacreError as error:
                result = {"error": f"{type(error).__name__}: {error}"}
            else:
                tiles += header.tile_count
                listed = "".join(f"{key}{value}" for key, value in sorted(record.symbols.items()))
                result["symbols"] = hashlib.sha256(listed.encode()).hexdigest()
            results[path.stem] = result
    report = row.describe(record, time.monotonic() - start) | {"tiles": tiles, "results": results}
    _demand(record, f"{row.environment.scale}:scale", tiles)
    _write(row.report("read"), report | {"baseline": baseline})
    return report


def _made_by_baseline(folder: Path) -> set[str]:
    """The streams whose pixels are compared: those of the first row that made any, in the order of their names."""
    reports = [json.loads(path.read_text()) for path in sorted((folder / "made").glob("*.json"))]
    if not reports:
        msg = f"{folder} holds no streams: make some first"
        raise InputError(msg)
    native = [report for report in reports if report["environment"] == "onnxruntime-1-all"] or reports
    return set(native[0]["streams"].values())


def _compare(decoded: Pixels, path: Path, *, keep: bool) -> dict[str, Any]:
    """How decoded pixels differ from those kept: largest difference, and share of samples that are equal."""
    if keep:
        Image.fromarray(decoded).save(path, compress_level=1)
        return {"largest": 0, "equal": 1.0}
    with Image.open(path) as image:
        expected = np.asarray(image)
    if expected.shape != decoded.shape:
        return {"largest": 255, "equal": 0.0}
    difference = np.abs(decoded.astype(np.int16) - expected)
    different = np.count_nonzero(difference)
    return {"largest": int(difference.max()), "equal": 1 - different / difference.size, "different": int(different)}


def _demand(record: Record, name: str, least: int) -> None:
    """Raise InputError where what a row names did not run: such a row would prove nothing."""
    if record.calls[name] < max(least, 1):
        msg = f"{name} was called {record.calls[name]} times, must be at least {max(least, 1)}"
        raise InputError(msg)


def _write(path: Path, report: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


class Outcome(NamedTuple):
    """One row against its folder's baseline."""

    report: Mapping[str, Any]
    streams: int
    mismatches: int
    compared: int
    largest: int
    equal: float
    outside: int


def outcomes(folder: Path) -> list[Outcome]:
    """Every reading of a folder against the baseline. Raises InputError without one."""
    reports = [json.loads(path.read_text()) for path in sorted((folder / "read").glob("*.json"))]
    baselines = [report for report in reports if report["baseline"]]
    if len(baselines) != 1:
        msg = f"{folder} has {len(baselines)} baseline readings, must have one"
        raise InputError(msg)
    expected = baselines[0]["results"]
    found = []
    for report in sorted(reports, key=lambda report: (not report["baseline"], report["row"])):
        results = report["results"]
        wrong = [
            name
            for name, result in results.items()
            if "symbols" not in result or result["symbols"] != expected.get(name, {}).get("symbols")
        ]
        pixels = [result for result in results.values() if "largest" in result]
        # A sample of the tiniest pictures is more than a thousandth of them: one is allowed everywhere.
        outside = [
            result
            for result in pixels
            if result["largest"] > LARGEST_DIFFERENCE
            or (result["equal"] < EQUAL_SAMPLES and result.get("different", 0) > 1)
        ]
        largest = max((result["largest"] for result in pixels), default=0)
        equal = min((result["equal"] for result in pixels), default=1.0)
        found.append(Outcome(report, len(results), len(wrong), len(pixels), largest, equal, len(outside)))
    return found


def table(folders: Sequence[Path]) -> str:
    """The outcomes of folders as a Markdown table."""
    head = (
        "read in", "streams read", "scale network's calls", "other symbols", "pictures compared",
        "largest difference", "least share equal", "outside the tolerance",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |"]
    for folder in folders:
        for outcome in outcomes(folder):
            calls = ", ".join(f"{count} {name}" for name, count in _scale_calls(outcome.report).items())
            lines.append(
                f"| {outcome.report['row']} | {outcome.streams} | {calls} | {outcome.mismatches} | {outcome.compared} |"
                f" {outcome.largest} | {outcome.equal:.6f} | {outcome.outside} |"
            )
    lines += ["", "| made in | streams | of them like the first row's | processor | versions |"]
    lines += ["| --- | ---: | ---: | --- | --- |"]
    for folder in folders:
        reports = [json.loads(path.read_text()) for path in sorted((folder / "made").glob("*.json"))]
        for report in reports:
            same = sum(reports[0]["streams"].get(case) == digest for case, digest in report["streams"].items())
            versions = ", ".join(f"{name} {value}" for name, value in report["versions"].items() if value)
            lines.append(
                f"| {report['row']} | {len(report['streams'])} | {same} | {report['processor']} | {versions} |"
            )
    return "\n".join(lines)


def _scale_calls(report: Mapping[str, Any]) -> dict[str, int]:
    return {name.partition(":")[0]: count for name, count in report["calls"].items() if name.endswith(":scale")}


def build_parser() -> argparse.ArgumentParser:
    """The parser."""
    parser = argparse.ArgumentParser(prog="python -m nacre.tools.exactness", description=__doc__.partition("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    pictures = steps.add_parser("pictures", help="make the pictures")
    pictures.add_argument("folder", type=Path)
    pictures.add_argument("--set", choices=sorted(SETS), default="full")
    for name in ("make", "read"):
        step = steps.add_parser(name, help=f"{name} streams in an environment")
        step.add_argument("folder", type=Path)
        step.add_argument("--environment", choices=list(ENVIRONMENTS), action="append", required=True)
        step.add_argument("--machine", default="native", help="name of the processor in the report, default native")
        step.add_argument(
            "--weights", type=Path, action="append", required=True, help="a folder of weights; repeatable"
        )
        step.add_argument(
            "--largest", type=int, help="make no pictures of more pixels; of these, read the symbols alone"
        )
        if name == "read":
            step.add_argument("--golden", type=Path, action="append", default=[], help="folder of more streams to read")
    report = steps.add_parser("table", help="print what differs")
    report.add_argument("folders", type=Path, nargs="+")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns 1 where symbols differ or pixels leave the tolerance."""
    options = build_parser().parse_args(arguments)
    try:
        return _run(options)
    except NacreError as error:
        print(f"exactness: error: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.step == "pictures":
        print(f"{write_pictures(options.folder, SETS[options.set])} streams to make for each set of weights")
        return 0
    if options.step == "table":
        print(table(options.folders))
        return int(any(o.mismatches or o.outside for folder in options.folders for o in outcomes(folder)))
    for name in options.environment:
        row = Row(options.folder, ENVIRONMENTS[name], options.machine, options.weights)
        if options.step == "make":
            report = make_streams(row, options.largest)
            print(f"{row.name}: made {len(report['streams'])} streams in {report['seconds']} s: {report['calls']}")
        else:
            report = read_streams(row, options.golden, options.largest)
            errors = sum("error" in result for result in report["results"].values())
            print(f"{row.name}: read {len(report['results'])} streams in {report['seconds']} s, {errors} errors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
