"""Mutated streams and arbitrary bytes: pictures or the package's exceptions, never anything else.

tools/fuzz.py does by the million what is done here by the hundred; what it found is kept here as a test.
"""

from __future__ import annotations

import io
import json
import tracemalloc
import warnings
from collections import Counter
from itertools import product
from pathlib import Path
from random import Random

import golden_sequences
import numpy as np
import pytest
from conftest import TINY, TINY_VIDEO, TINY_VIDEO_PRIOR
from golden import GOLDEN
from golden_sequences import GOLDEN as GOLDEN_SEQUENCES
from hypothesis import given, settings
from hypothesis import strategies as st
from sequences import make_items, packed, shortened

import nacre
from nacre.backend import Graph, ScaleGraph
from nacre.bitstream import (
    SIGNATURE,
    ChecksumError,
    FormatError,
    FrameUnit,
    NacreError,
    PacketUnit,
    PictureHeader,
    UnitReader,
    UnitType,
    WeightsError,
)
from nacre.entropy import IntegerNetwork
from nacre.framecoder import FrameCoding, Previous
from nacre.pnm import PnmRows
from nacre.stopwatch import Stopwatch
from nacre.tools import fuzz, fuzz_table
from nacre.tools.mutation import BYTES, SYMBOLS, UNITS, Coder, Mutator, Part, join, split
from nacre.tools.sequence_mutation import SEQUENCE_SYMBOLS, SEQUENCE_UNITS, SequenceCoder, SequenceMutator
from nacre.video import VideoDecoder
from nacre.weights import load

SEEDS = [path.read_bytes() for path in sorted(GOLDEN.glob("*.ncr"))]
SEQUENCES = [
    packed(shortened(make_items(seed, packets=full), 40), index=index, full=full)
    for seed, (index, full) in enumerate(product((True, False), repeat=2))
]

CLIPS, PRIOR_CLIPS = (  # sequences that can be decoded
    [
        (GOLDEN_SEQUENCES / f"{name}.ncr").read_bytes()
        for name, recipe in sorted(golden_sequences.RECIPES.items())
        if recipe.folder == folder
    ]
    for folder in (TINY_VIDEO, TINY_VIDEO_PRIOR)
)


@pytest.fixture(scope="module")
def target() -> fuzz.Target:
    return fuzz.Target(TINY)


@pytest.fixture(scope="module")
def clip_target() -> fuzz.Target:
    return fuzz.Target(TINY, TINY_VIDEO)


@pytest.fixture(scope="module")
def mutator() -> Mutator:
    return Mutator(Coder(TINY), SEEDS)


@pytest.fixture(scope="module")
def sequence_mutator() -> Mutator:
    return Mutator(None, SEQUENCES)


@pytest.fixture(scope="module")
def clip_mutator() -> SequenceMutator:
    return SequenceMutator(SequenceCoder(TINY_VIDEO), CLIPS)


@pytest.fixture(autouse=True)
def strict_numbers() -> object:
    """Losses are warned of; a RuntimeWarning would be one of NumPy's, of a number that nobody expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        yield


@settings(max_examples=400)
@given(st.sampled_from(SEEDS), st.integers(0, 2**32 - 1))
def test_mutated_streams(target: fuzz.Target, mutator: Mutator, seed: bytes, number: int) -> None:
    target.run(mutator.mutate(seed, Random(number), fuzz.MAX_STREAM).data)


@settings(max_examples=200)
@given(st.sampled_from(SEQUENCES), st.integers(0, 2**32 - 1))
def test_mutated_sequences(target: fuzz.Target, sequence_mutator: Mutator, seed: bytes, number: int) -> None:
    target.run(sequence_mutator.mutate(seed, Random(number), fuzz.MAX_STREAM).data)


@settings(max_examples=150)
@given(st.sampled_from(CLIPS), st.integers(0, 2**32 - 1))
def test_mutated_clips(clip_target: fuzz.Target, clip_mutator: SequenceMutator, seed: bytes, number: int) -> None:
    clip_target.run(clip_mutator.mutate(seed, Random(number), fuzz.MAX_STREAM).data)


def test_sequences_are_read_in_every_way(target: fuzz.Target, clip_target: fuzz.Target) -> None:
    found = {target.run(data + bytes(count)) for data in SEQUENCES for count in range(9)}
    reading = {"read sequence", "read sequence, keep going", "index of a sequence", "inspect sequence"}
    assert {way for way, _ in found} == reading
    assert ("read sequence, keep going", "done") in found
    small = (GOLDEN_SEQUENCES / "1x1.ncr").read_bytes()
    decoded = {clip_target.run(small + bytes(count)) for count in range(80)}
    assert {way for way, _ in decoded} > reading
    assert len({way for way, _ in decoded} - reading) == 7
    assert {outcome for way, outcome in decoded if way == "decode sequence, keep going"} == {"done"}


@settings(max_examples=100)
@given(st.binary(max_size=300), st.sampled_from([b"", SIGNATURE, SIGNATURE + b"\0\1", SIGNATURE + b"\0\2\1\x25"]))
def test_arbitrary_bytes(target: fuzz.Target, data: bytes, start: bytes) -> None:
    target.run(start + data)


def complaint(codec: nacre.ImageCodec, data: bytes) -> str:
    """What the codec says of a stream, nothing where it is good."""
    try:
        codec.verify(data)
    except NacreError as error:
        return str(error)
    return ""


def test_mutations_are_what_they_say(mutator: Mutator) -> None:
    """Every kind occurs, repaired streams have right CRCs, and checks that are right are never complained of."""
    codec = nacre.ImageCodec(weights=TINY, threads=1, max_pixels=fuzz.MAX_PIXELS)
    random = Random(5)
    kinds: Counter[str] = Counter()
    repaired = checked = decoded = 0
    for number in range(700):
        mutated = mutator.mutate(random.choice(SEEDS), Random(number), fuzz.MAX_STREAM)
        kinds[mutated.kind] += 1
        repaired += mutated.repaired
        checked += mutated.checked
        if mutated.repaired and mutated.data.startswith(SIGNATURE) and mutated.data[9]:
            try:
                for _ in UnitReader(io.BytesIO(mutated.data)):
                    pass
            except ChecksumError:
                pytest.fail(f"{mutated.kind}: CRCs are not right")
            except NacreError:
                pass
        if mutated.checked:
            message = complaint(codec, mutated.data)
            assert "check of the symbols" not in message, mutated.kind
            decoded += not message
    assert kinds.keys() == BYTES.keys() | UNITS.keys() | SYMBOLS.keys()
    assert repaired >= 350
    assert checked >= 70
    assert decoded >= 35


def complaint_of_clip(data: bytes) -> str:
    """What the decoder says of a sequence, nothing where it is good."""
    try:
        VideoDecoder(data, weights=TINY_VIDEO, threads=1, max_pixels=fuzz.MAX_PIXELS).verify()
    except NacreError as error:
        return str(error)
    return ""


def test_mutations_of_sequences_are_what_they_say(clip_mutator: SequenceMutator) -> None:
    """As those of pictures; what has right checks is mostly decoded whole."""
    random = Random(6)
    kinds: Counter[str] = Counter()
    repaired = checked = decoded = 0
    for number in range(350):
        mutated = clip_mutator.mutate(random.choice(CLIPS), Random(number), fuzz.MAX_STREAM)
        kinds[mutated.kind] += 1
        repaired += mutated.repaired
        checked += mutated.checked
        if mutated.checked:
            message = complaint_of_clip(mutated.data)
            assert "check of the symbols" not in message, mutated.kind
            decoded += not message
    assert kinds.keys() == BYTES.keys() | SEQUENCE_UNITS.keys() | SEQUENCE_SYMBOLS.keys()
    assert repaired >= 175
    assert checked >= 35
    assert decoded >= 15


def test_symbols_made_up_where_scales_see_the_frame_before() -> None:
    """Frames coded one behind the other: the decoder reads them, or says which value is out of range."""
    model, coder = golden_sequences.load_model(TINY_VIDEO_PRIOR), SequenceCoder(TINY_VIDEO_PRIOR)
    random = Random(7)
    behind = 0
    for data in PRIOR_CLIPS * 4:
        header, frames = golden_sequences.units_of(data)
        previous: Previous | None = None
        for frame in frames:
            assert isinstance(frame, FrameUnit)
            made, known = coder.encode(header, frame, previous, random)
            coding = FrameCoding(header.width, header.height, frame.quality, frame.live_channels, header.skip_threshold)
            try:
                model.coder.decode_symbols(made.payload, made.check, coding, previous, Stopwatch(), intra=frame.key)
            except FormatError as error:
                if "hyper-latent symbols are in" not in str(error):
                    raise
            else:
                behind += previous is not None and not frame.key
            previous = known
    assert behind >= 8


@pytest.mark.parametrize("seed", SEEDS, ids=[path.stem for path in sorted(GOLDEN.glob("*.ncr"))])
def test_streams_are_taken_apart_and_put_together(seed: bytes) -> None:
    assert join(*split(seed)) == seed
    for length in range(0, len(seed), 37):
        split(seed[:length])


def test_the_fuzzer_runs_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    arguments = ["--weights", str(TINY), "--seeds", str(GOLDEN), "--engine", "plain", "--out", str(report)]
    with warnings.catch_warnings():
        assert fuzz.main([*arguments, "--streams", "150", "--minutes", "5"]) == 0
        found = json.loads(report.read_text())
        assert found["mutated"] == found["streams"] == sum(found["kinds"].values()) == 150
        assert found["stages"]["pixels of a tile, done"] > 0
        assert found["findings"] == {}
        assert 0 < found["slowest_processor_seconds"] < fuzz.MAX_SECONDS
        capsys.readouterr()
        assert fuzz_table.main([str(report), str(report)]) == 0
        rows = capsys.readouterr().out.splitlines()
        assert rows[2].startswith("| 1 | plain | as shipped | 150 | 150 | ")
        assert rows[4].startswith("| all | plain | as shipped | 300 | 300 | ")
        cover = tmp_path / "streams"
        cover.mkdir()
        assert fuzz.main([*arguments, "--cover", str(cover)]) == 0
    modules = json.loads(report.read_text())["modules"]
    for name in ("bitstream.units", "entropy.latent", "entropy.alpha", "entropy.coder", "tile", "decoder", "blend"):
        reached = modules[f"nacre.{name}"]
        assert reached["reached"] > 0.3 * reached["lines"]


def test_the_fuzzer_decodes_sequences(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    arguments = ["--weights", str(TINY), "--sequence-weights", str(TINY_VIDEO), "--seeds", str(GOLDEN_SEQUENCES)]
    with warnings.catch_warnings():
        assert fuzz.main([*arguments, "--engine", "plain", "--out", str(report), "--streams", "50"]) == 0
    found = json.loads(report.read_text())
    assert found["findings"] == {}
    assert found["stages"]["motion of a frame, done"] > 0
    assert found["stages"]["samples of a frame, done"] > 0


def test_seeds_that_are_not_decoded_are_no_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut.ncr").write_bytes((GOLDEN / "text-17x33-q60.ncr").read_bytes()[:-1])
    arguments = ["--weights", str(TINY), "--seeds", str(tmp_path), "--engine", "plain"]
    with warnings.catch_warnings():
        assert fuzz.main([*arguments, "--streams", "50", "--out", str(tmp_path / "report.json")]) == 2
    assert "none of the seeds can be decoded" in capsys.readouterr().err
    assert not (tmp_path / "report.json").exists()


def test_the_fuzzer_finds_what_there_is_to_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise IndexError

    monkeypatch.setattr("nacre.tile.symbols_check", broken)
    report = tmp_path / "report.json"
    arguments = ["--weights", str(TINY), "--seeds", str(GOLDEN), "--engine", "plain", "--out", str(report)]
    with warnings.catch_warnings(), pytest.raises(IndexError):  # the seeds themselves fail
        fuzz.main([*arguments, "--streams", "50"])
    monkeypatch.undo()

    def sometimes(z: np.ndarray, y: np.ndarray) -> int:  # type: ignore[type-arg]
        if np.abs(y).max(initial=0) > 4000:
            raise IndexError
        return check(z, y)

    from nacre.entropy import symbols_check as check

    monkeypatch.setattr("nacre.tile.symbols_check", sometimes)
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    (seeds / "text.ncr").write_bytes((GOLDEN / "text-17x33-q60.ncr").read_bytes())
    arguments[3] = str(seeds)
    with warnings.catch_warnings():
        assert fuzz.main([*arguments, "--streams", "400"]) == 1
    ((name, finding),) = json.loads(report.read_text())["findings"].items()
    assert name.startswith("IndexError in test_fuzz_decoder.py")
    assert (tmp_path / finding["file"]).read_bytes()
    with pytest.raises(SystemExit):
        fuzz_table.main([])
    assert fuzz_table.main([str(report)]) == 1


# What was found


@pytest.mark.parametrize("missing", [0, 1])
def test_a_part_of_a_sequence_whose_track_is_lost(missing: int) -> None:
    """Packets were looked for in a tuple by the number of their track: an IndexError, or another track's time base."""
    head, parts = split((GOLDEN_SEQUENCES / "tracks.ncr").read_bytes())
    tracks = [place for place, part in enumerate(parts) if part.type == UnitType.TRACK]
    data = join(head, [part for place, part in enumerate(parts) if place != tracks[missing]])
    with VideoDecoder(data, keep_going=True, weights=TINY_VIDEO, threads=1) as decoder:
        assert [track.number for track in decoder.tracks] == [1 - missing]
        items = list(decoder.items(0, 0.08))
    packets = [item for item in items if isinstance(item, PacketUnit)]
    assert {packet.track for packet in packets} == {1 - missing}
    assert len(items) - len(packets) == 2


def test_vectors_beyond_the_range_are_noticed_without_decoding_samples() -> None:
    """Verifying passed a sequence that decoding refuses."""
    model = golden_sequences.Model()
    header, frames = golden_sequences.units_of((GOLDEN_SEQUENCES / "64x64.ncr").read_bytes())
    symbols = model.symbols((GOLDEN_SEQUENCES / "64x64.ncr").read_bytes())[1]
    assert symbols.motion is not None
    assert isinstance(frames[1], FrameUnit)
    symbols.motion.differences[0][0, 0, 0] = 600
    wrong = [frames[0], model.encode(frames[1], symbols, None, header), *frames[2:]]
    data = golden_sequences.written(header, wrong)
    for decode in (VideoDecoder.verify, list):
        with pytest.raises(
            nacre.FormatError, match=r"frame 1: motion vectors are in -?\d+..\d+, legal range -512..512"
        ):
            decode(VideoDecoder(data, weights=TINY_VIDEO, threads=1))


# Sizes that are only claimed


def claiming(width: int, height: int, tile_size: int = 0, code: bytes = b"") -> bytes:
    """A stream whose header claims a size, with one tile."""
    weights = load(folder=TINY)
    header = PictureHeader(
        width=width, height=height, chroma=1, quality=0, profile=weights.profile, digest=weights.stream_digest,
        live_channels=weights.latent_channels, skip_threshold=63, tile_size=tile_size,
    )  # fmt: skip
    parts = [(UnitType.PICTURE_HEADER, header.pack()), (UnitType.TILE, b"\0" + bytes(4) + code), (UnitType.END, b"")]
    return join(SIGNATURE + b"\0\1", [Part(*part) for part in parts])


@pytest.mark.parametrize("keep_going", [False, True])
@pytest.mark.parametrize(
    ("width", "height", "tile_size"), [(65535, 65535, 0), (65535, 65535, 1024), (20000, 30000, 64), (65535, 6000, 0)]
)
def test_claimed_sizes_beyond_the_limits_cost_nothing(
    width: int, height: int, tile_size: int, keep_going: bool
) -> None:
    codec = nacre.ImageCodec(weights=TINY, threads=1)
    data = claiming(width, height, tile_size)
    tracemalloc.start()
    try:
        with pytest.raises(nacre.LimitError):
            codec.decode_array(data, keep_going=keep_going)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [(4000, 3000), (65535, 1), (1, 65535)])
def test_claimed_sizes_beyond_the_callers_limit(size: tuple[int, int]) -> None:
    codec = nacre.ImageCodec(weights=TINY, threads=1, max_pixels=30000)
    with pytest.raises(nacre.LimitError, match="max_pixels is 30000"):
        codec.decode_array(claiming(*size))


def test_missing_tiles_are_noticed_before_pixels_are_set_aside() -> None:
    codec = nacre.ImageCodec(weights=TINY, threads=1)
    data = claiming(16000, 16000, 1024)
    tracemalloc.start()
    try:
        with pytest.raises(NacreError):
            codec.decode_array(data)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20  # the picture alone would take 732 MiB
    finally:
        tracemalloc.stop()


# The scale network on whatever a stream may hold


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5), st.integers(0, 10), st.sampled_from([1, 9, 127])
)
def test_both_executors_give_the_same_integers(seed: int, height: int, width: int, row: int, spread: int) -> None:
    network, fast = executors()
    z = np.random.default_rng(seed).integers(-spread, spread + 1, (network.in_channels, height, width), np.int32)
    np.testing.assert_array_equal(network(z, row), fast(z, row))


_executors: list[tuple[IntegerNetwork, ScaleGraph]] = []


def executors() -> tuple[IntegerNetwork, ScaleGraph]:
    """The reference and the fast executor, made once."""
    if not _executors:
        weights = load(folder=TINY)
        arrays = {name[6:]: array for name, array in weights.arrays("entropy.npz").items() if name.startswith("scale.")}
        network = IntegerNetwork.from_arrays(arrays)
        _executors.append((network, ScaleGraph(Graph(weights, "scale_decoder.onnx", 1))))
    return _executors[0]


# Other parsers


@settings(max_examples=150)
@given(
    st.sampled_from([b"P5", b"P6", b"P7\n", b"P6 3 2 255\n", b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 4\nMAXVAL 255\n", b""]),
    st.one_of(
        st.binary(max_size=80),
        st.text("0123456789 \n#-+.", max_size=60).map(str.encode),
        st.lists(st.sampled_from([b"TUPLTYPE RGB\n", b"ENDHDR\n", b"WIDTH 9\n", b"DEPTH 1\n", b"#x\n"])).map(b"".join),
    ),
)
def test_arbitrary_netpbm(start: bytes, rest: bytes) -> None:
    try:
        rows = PnmRows(io.BytesIO(start + rest))
        for _ in range(min(rows.form.height, 3)):
            band = rows.read(1)
            assert band.pixels.shape[:2] == (1, rows.form.width)
    except NacreError:
        return


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
MANIFEST = json.loads((TINY / "manifest.json").read_text())


@settings(max_examples=100)
@given(st.sampled_from(sorted(MANIFEST)), values)
def test_arbitrary_manifests(tmp_path_factory: pytest.TempPathFactory, name: str, value: object) -> None:
    folder = tmp_path_factory.getbasetemp() / "manifests"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | {name: value}))
    try:
        load(folder=folder)
    except WeightsError:
        return


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_arbitrary_manifest_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "bytes"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_bytes(data)
    with pytest.raises(WeightsError):
        load(folder=folder)


def test_a_frame_without_an_intra_frame_before_it_is_an_error() -> None:
    """A stream that the fuzzer found: what is left of it begins behind the frame that its index counts."""
    data = (Path(__file__).parent / "data/findings/no-intra-frame-before.ncr").read_bytes()
    for keep_going in (False, True):
        with (
            VideoDecoder(data, weights=TINY_VIDEO, threads=1, keep_going=keep_going) as decoder,
            pytest.raises(nacre.FormatError, match="frame 0 has no intra frame before it"),
        ):
            decoder[0]
