"""Fuzz the decoder: mutated streams by the million, in one process, nothing but the package's exceptions allowed.

    python -m nacre.tools.fuzz --weights tests/data/tiny --seeds tests/data/golden --minutes 40 --out report.json
    python -m nacre.tools.fuzz --weights tests/data/tiny --seeds tests/data/golden --cover CORPUS

With --sequence-weights sequences among the seeds are decoded and mutated down to their symbols, too; otherwise they are
only taken apart.

With atheris installed, libFuzzer guides the mutations by the coverage of the package's modules; the extra dev brings it
where there are wheels of it (Linux on x86-64), and `pip install atheris` builds it elsewhere. Otherwise, or with
--engine plain, streams that give a new kind of message are kept to build on. nacre.tools.mutation makes the mutations.
A stream that raises anything but a NacreError, takes more than 2 s of processor time, or needs more than 512 MiB beside
what the process holds is a finding: it is written beside the report, and the run goes on; the exit code is then 1.

libFuzzer's process grows with all that it keeps: long runs are made of rounds of 100,000 streams, each a process with
a --seed of its own, over one --corpus. nacre.tools.fuzz_table adds their reports up.

--cover prints which lines of the package the streams of a folder, such as the corpus of a run, reach.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import io
import json
import os
import re
import resource
import sys
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from types import CodeType, FrameType, ModuleType
from typing import Any

MAX_SECONDS = 2.0  # of processor time, for one stream
MAX_BYTES = 512 << 20  # of resident memory, for one stream
MAX_PIXELS = 1 << 15
MAX_STREAM = 4096  # bytes
DEEP = "numpy-python"  # the environment in which everything is Python and NumPy
COVERED = (  # with all below them: the entropy package holds range coder, latent, alpha and the scale network
    "nacre.bitstream", "nacre.entropy", "nacre.image", "nacre.decoder", "nacre.tile", "nacre.blend",
    "nacre.parallel", "nacre.picture", "nacre.tiling", "nacre.inspection", "nacre.sources",
    "nacre.video", "nacre.sequencedecoder", "nacre.framecoder", "nacre.latentcoder", "nacre.motion_field",
    "nacre.compensation", "nacre.framepatches", "nacre.clipspan", "nacre.sequenceinfo",
)  # fmt: skip
_REPORT_EVERY = 20.0  # seconds
_NUMBERS = re.compile(r"0x[0-9A-Fa-f]+|[0-9]+")
_HEX = re.compile(r"'.*'|\b(?=[a-f]*[0-9])[0-9a-f]{2,}\b")


class Target:
    """The whole decoder, called in one of its ways, and what may come of it.

    sequence_weights: where weights of sequences are; without them sequences are taken apart and not decoded.
    """

    def __init__(self, weights: Path, sequence_weights: Path | None = None) -> None:
        from nacre.bitstream import Limits, NacreError, SequenceReader, is_sequence, read_index
        from nacre.image import ImageCodec
        from nacre.sequenceinfo import inspect_sequence

        self._expected, self._is_sequence = NacreError, is_sequence
        limits = Limits(max_pixels=MAX_PIXELS)
        self._ways_of_sequences: list[tuple[str, Callable[[bytes], Any]]] = [
            ("read sequence", lambda data: list(SequenceReader(io.BytesIO(data), limits))),
            ("read sequence, keep going", lambda data: list(SequenceReader(io.BytesIO(data), limits, True))),
            ("index of a sequence", lambda data: read_index(io.BytesIO(data), limits)),
            ("inspect sequence", lambda data: inspect_sequence(io.BytesIO(data), limits)),
        ]
        if sequence_weights is not None:
            self._ways_of_sequences += _ways_of_decoding(sequence_weights)
        codec = ImageCodec(weights=weights, threads=1, max_pixels=MAX_PIXELS)
        self._ways: list[tuple[str, Callable[[bytes], Any]]] = [("decode", codec.decode_array)] * 6
        taken = inspect.signature(codec.decode_array).parameters
        if "keep_going" in taken:
            self._ways += [("decode, keep going", lambda data: codec.decode_array(data, keep_going=True))] * 2
        if "region" in taken:
            self._ways += [("decode region", lambda data: codec.decode_array(data, region=(3, 2, 40, 20)))]
        self._ways += [("verify", codec.verify), ("inspect", codec.inspect)]

    def run(self, data: bytes) -> tuple[str, str]:
        """The way taken and what came of it: done, or the exception's name and its message without numbers.

        Whatever is no NacreError passes through.
        """
        ways = self._ways_of_sequences if self._is_sequence(data) else self._ways
        name, way = ways[zlib.crc32(data) % len(ways)]
        try:
            way(data)
        except self._expected as error:
            return name, f"{type(error).__name__}: {_NUMBERS.sub('N', _HEX.sub('X', str(error)))[:160]}"
        return name, "done"


class _Pipe:
    """A file object that can only be read, some bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, 700))


def _ways_of_decoding(weights: Path) -> list[tuple[str, Callable[[bytes], Any]]]:
    """The ways to decode a sequence."""
    from nacre.video import VideoDecoder

    def opened(source: Any, *, keep_going: bool = False) -> VideoDecoder:
        return VideoDecoder(source, keep_going=keep_going, threads=1, weights=weights, max_pixels=MAX_PIXELS)

    def grown(data: bytes) -> None:
        decoder = opened(data)
        while decoder.poll() is not None:
            pass

    def one(data: bytes) -> None:
        decoder = opened(data)
        if len(decoder):
            decoder[len(decoder) - 1]

    def part(data: bytes) -> None:
        list(opened(data, keep_going=True).items(0.06, 0.1))

    return [
        *[("decode sequence", lambda data: list(opened(data)))] * 5,
        *[("decode sequence, keep going", lambda data: list(opened(data, keep_going=True)))] * 5,
        ("decode sequence of a pipe, keep going", lambda data: list(opened(_Pipe(data), keep_going=True))),
        ("decode sequence that may grow", grown),
        ("decode one frame", one),
        ("decode part of a sequence, keep going", part),
        ("verify sequence", lambda data: opened(data).verify()),
    ]


class Campaign:
    """One run: mutates, calls the target, counts, keeps what it finds, and writes the report."""

    def __init__(
        self, options: argparse.Namespace, target: Target, mutator: Callable[[bytes], Any], stages: Counter[str]
    ) -> None:
        self._options, self._target, self._mutator, self._stages = options, target, mutator, stages
        self.counts: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.ways: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.findings: dict[str, dict[str, Any]] = {}
        self.slowest, self.slowest_stream = 0.0, b""  # by processor time
        self.slowest_wall = 0.0
        self.started, self.cpu_started = time.monotonic(), time.process_time()
        self.first_memory = self._held = _resident_memory()
        self.largest_need = 0
        self._reported = self.started

    def mutate(self, data: bytes, limit: int, seed: int) -> bytes:
        """A mutation of `data`, counted."""
        mutated = self._mutator(data).mutate(data, Random(seed), limit)
        self.kinds[mutated.kind] += 1
        self.counts["mutated"] += 1
        self.counts["lengths and CRCs right"] += mutated.repaired
        self.counts["checks of symbols right, too"] += mutated.checked
        return bytes(mutated.data)

    def run(self, data: bytes) -> str:
        """Give the target one stream; returns the outcome."""
        self.counts["streams"] += 1
        if self.counts["streams"] % 256 == 0:  # the fuzzer itself grows with what it keeps
            self._held = _resident_memory()
        peak = _peak_memory()
        wall, start = time.monotonic(), time.process_time()
        try:
            way, outcome = self._target.run(data)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            outcome = f"{type(error).__name__} in {Path(frames[-1].filename).name}:{frames[-1].lineno}"
            way = "any"
            self._find(outcome, data, traceback.format_exc())
        seconds = time.process_time() - start
        self.slowest_wall = max(self.slowest_wall, time.monotonic() - wall)
        if seconds > self.slowest:
            self.slowest, self.slowest_stream = seconds, data
        if seconds > MAX_SECONDS:
            self._find("slow", data, f"{seconds:.2f} s of processor time, legal are {MAX_SECONDS}")
        after = _peak_memory()
        if after > peak:
            self.largest_need = max(self.largest_need, after - self._held)
            if after - self._held > MAX_BYTES:
                self._find("memory", data, f"the process grew from {self._held} to {after} bytes for it")
        self.ways[way] += 1
        self.outcomes[outcome] += 1
        return outcome

    def finished(self) -> bool:
        """Whether the run is over; writes the report now and then."""
        now = time.monotonic()
        over = self.counts["mutated"] >= self._options.streams or now - self.started >= 60 * self._options.minutes
        if over or now - self._reported > _REPORT_EVERY:
            self._reported = now
            self.write()
        return over

    def write(self) -> None:
        """The report, to the file that the options name."""
        from nacre.tools.extras import package_version
        from nacre.tools.machine import describe_machine

        names = ("atheris", "onnxruntime", "constriction")
        report = {
            **self.counts,
            "seconds": round(time.monotonic() - self.started, 1),
            "processor_seconds": round(time.process_time() - self.cpu_started, 1),
            "engine": self._options.engine,
            "environment": self._options.environment,
            "seed": self._options.seed,
            "findings": self.findings,
            "slowest_processor_seconds": round(self.slowest, 4),
            "slowest_seconds": round(self.slowest_wall, 4),
            "slowest_stream": self.slowest_stream.hex(),
            "memory_before": self.first_memory,
            "memory_largest_need": self.largest_need,
            "memory_peak": _peak_memory(),
            "kinds": dict(self.kinds.most_common()),
            "ways": dict(self.ways.most_common()),
            "stages": dict(self._stages.most_common()),
            "outcomes": dict(self.outcomes.most_common(400)),
            "outcome_count": len(self.outcomes),
            "machine": describe_machine(),
            "versions": {name: package_version(name) for name in names},
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }
        path = Path(self._options.out)
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps(report, indent=1) + "\n")
        os.replace(part, path)

    def _find(self, name: str, data: bytes, text: str) -> None:
        found = self.findings.setdefault(name, {"count": 0, "text": text, "file": ""})
        found["count"] += 1
        if not found["file"]:
            stem = f"finding-{hashlib.sha256(data).hexdigest()[:16]}.ncr"
            path = Path(self._options.out).with_name(stem)
            path.write_bytes(data)
            found["file"] = path.name


@contextmanager
def _counted_stages(environment: str | None) -> Iterator[Counter[str]]:
    """Count how deep streams come: tiles and frames whose code is read, symbols found right, pixels."""
    if environment is not None:
        from nacre.tools.environments import ENVIRONMENTS, installed

        with installed(ENVIRONMENTS[environment]) as record:
            yield record.calls
        return
    import nacre.backend
    import nacre.framecoder
    import nacre.tile

    stages: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            stages[name] += 1
            result = function(*arguments, **named)
            stages[f"{name}, done"] += 1
            return result

        return call

    seams: list[tuple[Any, str, str]] = [
        (nacre.tile, "decode_tile", "code of a tile"),
        (nacre.backend.ScaleGraph, "__call__", "scale network"),
        (nacre.tile.TileCoder, "decode_symbols", "symbols of a tile"),
        (nacre.tile.TileCoder, "reconstruct", "pixels of a tile"),
        (nacre.framecoder, "decode_motion", "motion of a frame"),
        (nacre.framecoder.FrameCoder, "decode_symbols", "symbols of a frame"),
        (nacre.framecoder.FrameCoder, "reconstruct", "samples of a frame"),
    ]
    before = [getattr(place, attribute) for place, attribute, _ in seams]
    for place, attribute, name in seams:
        setattr(place, attribute, counted(name, getattr(place, attribute)))
    try:
        yield stages
    finally:
        for (place, attribute, _), original in zip(seams, before, strict=True):
            setattr(place, attribute, original)


def _plain(campaign: Campaign, pool: list[bytes], random: Random) -> None:
    """Mutate streams of the pool; what gives a new outcome joins it."""
    seen: set[str] = set()
    first = tuple(pool)
    while not campaign.finished():
        for _ in range(50):
            start = random.choice(first if random.random() < 0.5 else pool)
            data = campaign.mutate(start, MAX_STREAM, random.getrandbits(32))
            outcome = campaign.run(data)
            if outcome not in seen and len(pool) < 5000:
                seen.add(outcome)
                pool.append(data)


def _guided(campaign: Campaign, corpus: Path, seed: int) -> None:
    """Let libFuzzer choose what to mutate. Does not return: libFuzzer ends the process by itself, so do we."""
    atheris = import_module("atheris")

    def one(data: bytes) -> None:
        campaign.run(data)
        if campaign.counts["streams"] % 64 == 0 and campaign.finished():
            sys.stdout.flush()
            os._exit(_conclude(campaign))

    def mutator(data: bytes, limit: int, seed: int) -> bytes:
        # One mutation in eight is libFuzzer's own, which knows what the package compares with.
        if seed % 8 == 0:
            campaign.kinds["libFuzzer"] += 1
            campaign.counts["mutated"] += 1
            return bytes(atheris.Mutate(data, limit))
        return campaign.mutate(data, limit, seed)[:limit]

    arguments = [sys.argv[0], f"-seed={seed}", f"-max_len={MAX_STREAM}", "-timeout=120", "-rss_limit_mb=8192",
                 "-verbosity=0", "-len_control=0", str(corpus)]  # fmt: skip
    atheris.Setup(arguments, one, custom_mutator=mutator)
    atheris.Fuzz()


def _conclude(campaign: Campaign) -> int:
    campaign.write()
    counts, seconds = campaign.counts, time.monotonic() - campaign.started
    print(
        f"{counts['streams']} streams in {seconds:.0f} s ({time.process_time() - campaign.cpu_started:.0f} s of"
        f" processor), {counts['lengths and CRCs right']} with right CRCs,"
        f" {counts['checks of symbols right, too']} with right checks, slowest {campaign.slowest:.3f} s of processor,"
        f" {len(campaign.outcomes)} outcomes, {len(campaign.findings)} findings"
    )
    for name, found in campaign.findings.items():
        print(f"{found['count']} x {name}: {found['file']}\n{found['text']}")
    return int(bool(campaign.findings))


def cover(target: Target, streams: Sequence[bytes]) -> dict[str, dict[str, Any]]:
    """Which lines of functions in COVERED modules the streams reach: by module, lines reached, lines, and missing."""
    files = {module.__file__: name for name, module in sys.modules.items() if _covered(name) and module.__file__}
    reached: dict[str, set[int]] = {name: set() for name in files.values()}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        name = files.get(frame.f_code.co_filename)
        if name is None:
            return None
        if event == "line":
            reached[name].add(frame.f_lineno)
        return trace

    sys.settrace(trace)
    try:
        for data in streams:
            target.run(data)
    finally:
        sys.settrace(None)
    result = {}
    for name in sorted(reached):
        lines = _function_lines(sys.modules[name])
        if lines:
            missing = sorted(lines - reached[name])
            result[name] = {"reached": len(lines & reached[name]), "lines": len(lines), "missing": missing}
    return result


def _covered(name: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in COVERED)


def _function_lines(module: ModuleType) -> set[int]:
    """The lines inside functions of a module, by its source."""
    path = Path(str(module.__file__))
    pending: list[CodeType] = [compile(path.read_text(encoding="utf-8"), str(path), "exec")]
    found: set[int] = set()
    while pending:
        code = pending.pop()
        pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        if code.co_name != "<module>" and code.co_flags & inspect.CO_NEWLOCALS and code.co_flags & inspect.CO_OPTIMIZED:
            found |= {line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno}
    return found


def _peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _resident_memory() -> int:
    """Resident memory of this process in bytes; its peak where the system does not say (it is not Linux)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return _peak_memory()


def _seed_streams(folders: Sequence[Path]) -> list[bytes]:
    streams = [path.read_bytes() for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
    return [data for data in streams if 0 < len(data) <= MAX_STREAM and not data.startswith((b"\x89PNG", b"{"))]


def build_parser() -> argparse.ArgumentParser:
    """The parser."""
    parser = argparse.ArgumentParser(
        prog="python -m nacre.tools.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True, help="folder of weights, small ones")
    parser.add_argument("--sequence-weights", type=Path, help="folder of weights of sequences, small ones")
    parser.add_argument("--seeds", type=Path, action="append", required=True, help="folder of streams to begin with")
    parser.add_argument("--minutes", type=float, default=40.0, help="end after so long, default 40")
    parser.add_argument("--streams", type=int, default=1_000_000, help="end after so many, default 1000000")
    parser.add_argument("--engine", choices=("atheris", "plain"), help="default atheris where it is installed")
    parser.add_argument("--environment", help=f"run networks and coder so (nacre.tools.environments), such as {DEEP}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="folder that libFuzzer keeps its streams in")
    parser.add_argument("--out", default="fuzz.json", help="report, default fuzz.json")
    parser.add_argument("--cover", type=Path, action="append", help="print which lines these streams reach, and end")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns 1 where something was found."""
    options = build_parser().parse_args(arguments)
    if options.engine is None:
        options.engine = "atheris" if _has_atheris() else "plain"
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", RuntimeWarning)  # of NumPy: a number that was not expected
    if options.engine == "atheris" and not options.cover:
        with import_module("atheris").instrument_imports(include=list(COVERED), enable_loader_override=False):
            _import_all()
    else:
        _import_all()
    from nacre.bitstream import is_sequence

    pool = _seed_streams(options.seeds)
    with _counted_stages(options.environment) as stages:
        target = Target(options.weights, options.sequence_weights)
        decoded = [way for way, outcome in map(target.run, pool) if outcome == "done" and "inspect" not in way]
        if not decoded:  # by then everything is loaded, too, before anything is measured
            print("fuzz: error: none of the seeds can be decoded with these weights", file=sys.stderr)
            return 2
        if options.cover:
            streams = pool + _seed_streams(options.cover)
            found = cover(target, streams)
            Path(options.out).write_text(json.dumps({"streams": len(streams), "modules": found}, indent=1) + "\n")
            for name, lines in found.items():
                print(f"{name:28} {lines['reached']:4} of {lines['lines']:4} lines, missing {lines['missing']}")
            return 0
        mutators = _mutators(options.weights, options.sequence_weights, pool)
        campaign = Campaign(options, target, lambda data: mutators[is_sequence(data)], stages)
        if options.engine == "plain":
            _plain(campaign, pool, Random(options.seed))
        else:
            corpus = options.corpus or Path(options.out).with_suffix(".corpus")
            corpus.mkdir(parents=True, exist_ok=True)
            for data in pool:
                (corpus / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
            _guided(campaign, corpus, options.seed)
    return _conclude(campaign)


def _mutators(weights: Path, sequence_weights: Path | None, pool: Sequence[bytes]) -> dict[bool, Any]:
    """What mutates pictures, False, and sequences, True, with the seeds of each kind, or all where it has none."""
    from nacre.bitstream import is_sequence
    from nacre.tools.mutation import Coder, Mutator
    from nacre.tools.sequence_mutation import SequenceCoder, SequenceMutator

    kinds = {kind: [data for data in pool if is_sequence(data) == kind] or pool for kind in (False, True)}
    pictures = Mutator(Coder(weights), kinds[False])
    if sequence_weights is None:
        return {False: pictures, True: Mutator(None, kinds[True])}
    return {False: pictures, True: SequenceMutator(SequenceCoder(sequence_weights), kinds[True])}


def _import_all() -> None:
    """Import what is fuzzed."""
    for name in COVERED:
        import_module(name)


def _has_atheris() -> bool:
    return find_spec("atheris") is not None


if __name__ == "__main__":
    sys.exit(main())
