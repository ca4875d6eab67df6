"""The golden sequences of tests/data/golden-sequences: streams of tiny video models whose symbols must never change.

    python tests/golden_sequences.py

adds the streams that are not there yet, each with its entry in index.json and the samples of its frames, and never
rewrites one, as tests/golden.py does with pictures. Only what the product and tests/second_frames.py agree on is
recorded. Making them needs numba, reading them does not.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import golden_folder
import numpy as np
import second_frames
from conftest import TINY_VIDEO, TINY_VIDEO_PRIOR
from golden_folder import Made
from numpy.typing import NDArray
from second_motion import Motion
from sequences import HDR, METADATA, TRACKS, stream

from nacre.bitstream import (
    MAX_QUALITY,
    FrameUnit,
    PacketUnit,
    SequenceHeader,
    SequenceReader,
    SequenceWriter,
    UnitReader,
    UnitType,
    y_grid,
    z_grid,
)
from nacre.clip import ClipInfo, Frame
from nacre.compensation import Planes
from nacre.entropy import Engine, IntegerNetwork, SymbolEncoder, TableSet, TileSymbols, symbols_check
from nacre.entropy.latent import encode_latent
from nacre.entropy.motion import LEVELS, MotionSymbols, encode_motion
from nacre.entropy.network import FINER, prior_of
from nacre.framecoder import FrameCoder, FrameCoding, FrameSymbols, Previous
from nacre.motion_field import to_symbols
from nacre.stopwatch import Stopwatch
from nacre.video import DecodedFrame, VideoDecoder, VideoEncoder
from nacre.weights.sequence import load_sequence
from nacre.weights.store import Weights

GOLDEN = Path(__file__).parent / "data" / "golden-sequences"
INDEX = GOLDEN / "index.json"

Item = FrameUnit | PacketUnit


def scene(time: float, width: int, height: int) -> Planes:
    """A frame of a pattern that moves by two samples a unit of time."""
    y, x = np.mgrid[0:height, 0:width]
    x = x + 2 * time
    luma = 120 + 60 * np.sin(x / 5 + y / 9) + 40 * np.sin(y / 4 - x / 23)
    chroma = luma[::2, ::2] / 2
    return Planes(*(plane.astype(np.uint8) for plane in (luma, chroma + 64, 255 - chroma)))


# The product, taken apart far enough to see symbols


class Part:
    """The stored arrays of the weights of intra or of predicted frames."""

    def __init__(self, weights: Weights) -> None:
        arrays = weights.arrays("entropy.npz")

        def part(prefix: str) -> dict[str, NDArray[Any]]:
            return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

        self.weights = weights
        self.network = IntegerNetwork.from_arrays(part("scale."))
        self.y_tables, self.z_tables = TableSet.from_arrays(part("y.")), TableSet.from_arrays(part("z."))
        self.motion_tables = TableSet.from_arrays(motion) if (motion := part("m.")) else None

    def index(
        self, z: NDArray[Any], quality: int, size: tuple[int, int], previous: Previous | None
    ) -> NDArray[np.uint8]:
        """The scale indices of y of a frame of (width, height); previous: of the frame before, if it is predicted."""
        rows, columns = y_grid(*size)
        prior = None if previous is None else prior_of(previous.y, FINER * z.shape[1], FINER * z.shape[2])
        return self.network(z, self.row(quality), prior)[:, :rows, :columns]

    def row(self, quality: int) -> int:
        """The entropy row."""
        return (quality * (self.weights.rows - 1) + MAX_QUALITY // 2) // MAX_QUALITY


class Model:
    """A tiny model of video: the coder of frames and the stored arrays."""

    def __init__(self, folder: Path = TINY_VIDEO) -> None:
        self.folder = folder
        self.weights = load_sequence("tiny", folder)
        self.coder = FrameCoder(self.weights, threads=1)
        self.intra, self.predicted = Part(self.weights.intra), Part(self.weights.predicted)

    def symbols(self, data: bytes) -> list[FrameSymbols]:
        """The symbols of every frame, as the product decodes them."""
        reader = SequenceReader(io.BytesIO(data))
        header = reader.header
        found: list[FrameSymbols] = []
        for unit in reader:
            if isinstance(unit, FrameUnit):
                coding = FrameCoding(
                    header.width, header.height, unit.quality, unit.live_channels, header.skip_threshold
                )
                previous = found[-1].previous if found else None
                found.append(
                    self.coder.decode_symbols(unit.payload, unit.check, coding, previous, Stopwatch(), intra=unit.key)
                )
        return found

    def frames(self, data: bytes) -> list[DecodedFrame]:
        """The frames, as the product decodes them."""
        return list(VideoDecoder(data, weights=self.folder, threads=1))

    def encode(
        self,
        frame: FrameUnit,
        symbols: FrameSymbols,
        previous: Previous | None,
        header: SequenceHeader,
        engine: Engine | None = None,
    ) -> FrameUnit:
        """The unit with the code and the check of symbols; previous: of the frame before, if it is predicted."""
        part, (z, y, index) = self.intra if frame.key else self.predicted, symbols.latent
        encoder = SymbolEncoder(engine)
        if symbols.motion is not None:
            assert part.motion_tables is not None
            encode_motion(encoder, symbols.motion, part.motion_tables, previous and previous.motion)
        row, live, skip = part.row(frame.quality), frame.live_channels, header.skip_threshold
        encode_latent(encoder, z, y, index, row, part.z_tables, part.y_tables, live, skip)
        motion = None if symbols.motion is None else symbols.motion.in_order()
        return replace(frame, check=symbols_check(z, y[:live], motion), payload=encoder.finish())

    def from_second(
        self,
        header: SequenceHeader,
        frame: FrameUnit,
        found: second_frames.FrameSymbols,
        previous: Previous | None,
    ) -> FrameSymbols:
        """The second parser's symbols in the product's form; previous as in `encode`."""
        part = self.intra if frame.key else self.predicted
        index = part.index(found.z, frame.quality, (header.width, header.height), None if frame.key else previous)
        motion = None if found.motion is None else dense(found.motion, z_grid(header.width, header.height))
        return FrameSymbols(motion, TileSymbols(found.z.astype(np.int32), found.y.astype(np.int32), index))


load_model = cache(Model)


def dense(motion: Motion, grid: tuple[int, int]) -> MotionSymbols:
    """A motion field of the second parser in the product's form; grid: rows and columns of blocks of 64."""
    sizes = [(grid[0] << level, grid[1] << level) for level in range(LEVELS)]
    differences = tuple(np.zeros((2, *size), np.int32) for size in sizes)
    splits = tuple(np.zeros(size, np.bool_) for size in sizes[:-1])
    for (level, row, column), difference in motion.differences.items():
        differences[level][:, row, column] = difference
    for level, row, column in motion.splits:
        splits[level][row, column] = True
    return MotionSymbols(differences, splits)


# Streams


class Recipe(NamedTuple):
    """How a stream is made, whether the samples of its frames are recorded, and the folder of its weights."""

    make: Callable[[Model], bytes]
    samples: bool = True
    folder: Path = TINY_VIDEO


def encode(
    frames: Sequence[Planes | Frame], keys: Sequence[int] = (), folder: Path = TINY_VIDEO, **options: Any
) -> bytes:
    """The stream of frames, with intra frames where `keys` say so beside those that options ask for."""
    height, width = (frames[0].planes if isinstance(frames[0], Frame) else frames[0]).luma.shape
    file = io.BytesIO()
    with VideoEncoder(file, width, height, 25, weights=folder, profile="tiny", threads=1, **options) as encoder:
        for number, frame in enumerate(frames):
            encoder.write(frame, key=number in keys)
    return file.getvalue()


def _moving(width: int, height: int, frames: int, folder: Path = TINY_VIDEO, **options: Any) -> Recipe:
    def make(model: Model) -> bytes:
        moving = [scene(time, width, height) for time in range(frames)]
        return encode(moving, folder=model.folder, scene_cut=False, **options)

    return Recipe(make, folder=folder)


def _changing(_: Model) -> bytes:
    """A rate that makes the quality change from frame to frame, and an intra frame that was asked for."""
    frames = [scene(0.7 * time, 70, 50) for time in range(8)]
    return encode(frames, keys=(5,), bitrate=40_000, scene_cut=False)


def _without_live_channels(model: Model) -> bytes:
    """Predicted frames of motion and z alone, the last of z alone."""
    header, items = units_of(encode([scene(time, 80, 64) for time in range(4)], quality=20, scene_cut=False))
    grid = z_grid(header.width, header.height)
    coded: list[FrameUnit] = []
    previous: Previous | None = None
    for unit, (motion, latent) in zip(items, model.symbols(written(header, items)), strict=True):
        assert isinstance(unit, FrameUnit)
        if unit.key:
            coded.append(unit)
            continue
        if unit.number == 3:
            motion = to_symbols(np.zeros((2, 8 * grid[0], 8 * grid[1]), np.int16))
        symbols = FrameSymbols(motion, latent._replace(y=np.zeros_like(latent.y)))
        coded.append(model.encode(replace(unit, live_channels=0), symbols, previous, header))
        previous = symbols.previous
    return written(header, coded)


def _times(_: Model) -> bytes:
    """Frames that are shown for different times, from before 0 on, with a pause."""
    times = [(-40, 40), (0, 7), (7, 1), (8, 1992), (2500, 40), (2540, 33)]
    info = ClipInfo(width=49, height=35, time_base=Fraction(1, 1000), frame_rate=Fraction(0), rotation=3,
                    chroma_location=1, sample_aspect_ratio=Fraction(16, 11))  # fmt: skip
    frames = [Frame(scene(number, 49, 35), *time) for number, time in enumerate(times)]
    return encode(frames, clip=info, gop=3, quality=60, scene_cut=False)


def units_of(data: bytes) -> tuple[SequenceHeader, list[Item]]:
    """Header, frames and packets."""
    reader = SequenceReader(io.BytesIO(data))
    items = list(reader)
    return reader.header, [item for item in items if isinstance(item, FrameUnit | PacketUnit)]


def written(header: SequenceHeader, items: Sequence[Item], *, index: bool = True, full: bool = False) -> bytes:
    """The stream of these units; full: with tracks, metadata and HDR side data."""
    file = io.BytesIO()
    with SequenceWriter(file, header, METADATA if full else None, HDR if full else None, index) as writer:
        for track in TRACKS if full else ():
            writer.track(track)
        for item in items:
            if isinstance(item, FrameUnit):
                writer.frame(item)
            else:
                writer.packet(item)
    return file.getvalue()


def _with_tracks(_: Model) -> bytes:
    """Tracks, packets of all kinds between the frames, HDR side data, metadata."""
    header, frames = units_of(encode([scene(time, 64, 48) for time in range(4)], gop=2, scene_cut=False))
    items: list[Item] = [PacketUnit(track=0, pts=None, dts=None, duration=0, data=b"", discard=True)]
    for number, frame in enumerate(frames):
        items += [
            frame,
            PacketUnit(track=0, pts=1920 * number, dts=1920 * number - 3, duration=1920, data=bytes(range(number, 30)),
                       trim=(0, 300) if number == 3 else (0, 0)),
            PacketUnit(track=1, pts=40 * number, dts=None, duration=40, data=b"Hello", key=False),
        ]  # fmt: skip
    return written(header, items, full=True)


def _without_index(_: Model) -> bytes:
    """No seek index; numbers that predicted frames tell modulo 65536."""
    header, items = units_of(encode([scene(time, 66, 20) for time in range(6)], gop=6, scene_cut=False))
    header = replace(header, first_frame=65533)
    numbered = [replace(item, number=65533 + item.number) for item in items if isinstance(item, FrameUnit)]
    return written(header, numbered, index=False)


def _of_an_unknown_minor_version(_: Model) -> bytes:
    """More fields behind the header's, and new optional units."""
    data = encode([scene(time, 33, 17) for time in range(3)], scene_cut=False)
    units = [(int(unit.type), unit.payload) for unit in UnitReader(io.BytesIO(data))]
    plain = [unit for unit in units if unit[0] != UnitType.SEEK_INDEX]
    units = [(plain[0][0], plain[0][1] + b"\1\2\3"), (0x98, b"new"), plain[1], (0xFF, b""), *plain[2:]]
    return stream(units, 200)


def _extreme(largest: Sequence[int], keys: Sequence[int] = (), folder: Path = TINY_VIDEO) -> Recipe:
    """Symbols of every size up to the largest; vectors in blocks of all sizes, up to the largest of each frame."""
    width, height = 130, 70

    def make(model: Model) -> bytes:
        frames = [scene(0, width, height)] * len(largest)
        header, items = units_of(encode(frames, keys, model.folder, scene_cut=False))
        header = replace(header, skip_threshold=7)
        coded: list[FrameUnit] = []
        previous: Previous | None = None
        random = np.random.default_rng(3)
        for unit, longest in zip(items, largest, strict=True):
            assert isinstance(unit, FrameUnit)
            frame = replace(unit, live_channels=19 if unit.key else 11, quality=random.integers(MAX_QUALITY).item())
            motion = None if unit.key else to_symbols(make_field(random, z_grid(width, height), longest))
            symbols = FrameSymbols(motion, make_latent(model, frame, header, random, previous))
            coded.append(model.encode(frame, symbols, previous, header))
            previous = symbols.previous
        return written(header, coded)

    return Recipe(make, samples=False, folder=folder)


def make_field(random: np.random.Generator, grid: tuple[int, int], largest: int) -> NDArray[np.int16]:
    """A field of a grid of blocks of 64: leaves of all sizes, vectors up to `largest`, which occurs."""
    field = random.integers(-largest, largest + 1, (2, *grid))
    for level in range(1, LEVELS):
        field = field.repeat(2, axis=1).repeat(2, axis=2)
        new = random.integers(-largest, largest + 1, field.shape)
        field = np.where(random.random(field.shape[1:]) < 0.3 / level, new, field)
    field[:, 0, 0], field[:, -1, -1] = largest, -largest
    return field.astype(np.int16)


def make_latent(
    model: Model, frame: FrameUnit, header: SequenceHeader, random: np.random.Generator, previous: Previous | None
) -> TileSymbols:
    """Wide symbols of z, y of every size up to the largest where scales let it be coded; previous as in `encode`."""
    part, size = model.intra if frame.key else model.predicted, (header.width, header.height)
    z = np.rint(random.laplace(0, 64.0, (part.weights.hyper_channels, *z_grid(*size))))
    z = np.clip(z, -127, 127).astype(np.int32)
    index = part.index(z, frame.quality, size, None if frame.key else previous)
    y = np.exp2(random.uniform(0, 14, index.shape)).astype(np.int32) * (random.random(index.shape) < 0.4)
    y *= random.choice([-1, 1], index.shape)
    y[index < header.skip_threshold] = 0
    y[frame.live_channels :] = 0
    coded = np.argwhere(y)
    for (c, i, j), value in zip(coded[[0, -1]].tolist(), (-16383, 16383), strict=True):
        y[c, i, j] = value
    return TileSymbols(z, y.astype(np.int32), index)


RECIPES: Mapping[str, Recipe] = {
    "1x1": _moving(1, 1, 3, quality=0),
    "17x33-gops": _moving(17, 33, 7, gop=3, quality=90),
    "64x64": _moving(64, 64, 4, quality=100, gop=2),
    "150x90": _moving(150, 90, 4, quality=25),
    "quality-changes": Recipe(_changing),
    "no-live-channels": Recipe(_without_live_channels),
    "times": Recipe(_times),
    "tracks": Recipe(_with_tracks),
    "no-index": Recipe(_without_index),
    "minor-version-200": Recipe(_of_an_unknown_minor_version),
    "extreme-symbols": _extreme((0, 512, 60)),
    "prior-66x34": _moving(66, 34, 6, TINY_VIDEO_PRIOR, gop=4, quality=40),
    "prior-extreme-symbols": _extreme((0, 30, 512, 0, 100, 8), (3,), TINY_VIDEO_PRIOR),
}


# What is recorded


def sha256(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def symbols_hash(symbols: NDArray[Any]) -> str:
    """SHA-256 of symbols as 16-bit little-endian integers."""
    return sha256(symbols.astype("<i2").tobytes())


def product_hashes(found: Sequence[FrameSymbols]) -> list[dict[str, str]]:
    """SHA-256 of the numbers of motion, z and y of each frame, motion in the order of coding, the others in C order."""
    arrays = [
        (np.zeros(0) if symbols.motion is None else symbols.motion.in_order(), symbols.latent.z, symbols.latent.y)
        for symbols in found
    ]
    return [_hashes(*frame) for frame in arrays]


def second_hashes(found: Sequence[second_frames.FrameSymbols]) -> list[dict[str, str]]:
    """The same as the second decoder reads it."""
    return [_hashes(symbols.numbers, symbols.z, symbols.y) for symbols in found]


def _hashes(motion: NDArray[Any], z: NDArray[Any], y: NDArray[Any]) -> dict[str, str]:
    return {"motion": symbols_hash(motion), "z": symbols_hash(z), "y": symbols_hash(y)}


def product_fields(data: bytes) -> str:
    """SHA-256 of the fields of header, tracks, frames and packets, as the product reads them."""
    reader = SequenceReader(io.BytesIO(data))
    items = [asdict(item) for item in reader]  # type: ignore[arg-type]  # no LostFrames: it does not keep going
    for item in items:
        if "payload" in item:
            item["code"] = item.pop("payload")
    header = asdict(reader.header)
    header["colour"] = tuple(header["colour"].values())
    tracks = [asdict(track) for _, track in sorted(reader.tracks.items())]
    return _fields_hash([header, *tracks, *items])


def second_fields(found: second_frames.Sequence) -> str:
    """The same as the second parser reads it."""
    return _fields_hash([asdict(unit) for unit in (found.header, *found.tracks, *found.items)])


def _fields_hash(units: Sequence[Mapping[str, Any]]) -> str:
    """JSON with sorted names and without blanks; bytes in hexadecimal, fractions as Python writes them."""

    def plain(value: object) -> str:
        return value.hex() if isinstance(value, bytes) else str(value)

    return sha256(json.dumps(units, sort_keys=True, separators=(",", ":"), default=plain).encode())


def sheet(frames: Sequence[DecodedFrame]) -> NDArray[np.uint8]:
    """All samples as one grey picture: frame below frame, each its luma and below it cb beside cr."""
    rows = [row for frame in frames for row in _rows(frame.planes)]
    return np.concatenate(rows)


def _rows(planes: Planes) -> Iterator[NDArray[np.uint8]]:
    width = 2 * planes.cb.shape[1]
    yield np.pad(planes.luma, ((0, 0), (0, width - planes.luma.shape[1])))
    yield np.concatenate([planes.cb, planes.cr], axis=1)


def _entry(model: Model, data: bytes) -> dict[str, Any]:
    """What the index says of a stream; RuntimeError where the two readers differ."""
    parsed, found = second_frames.decode(data, model.folder)
    symbols, fields = product_hashes(model.symbols(data)), product_fields(data)
    if symbols != second_hashes(found) or fields != second_fields(parsed):
        msg = "the product and the second parser read different things"
        raise RuntimeError(msg)
    return {"sha256": sha256(data), "fields": fields, "frames": symbols}


def add_missing() -> list[str]:
    """Make the streams that are not there yet, and give their names; RuntimeError where a stream lacks its entry."""

    def make(name: str) -> Made:
        recipe = RECIPES[name]
        model = load_model(recipe.folder)
        data = recipe.make(model)
        picture = sheet(model.frames(data)) if recipe.samples else None
        return Made(data, _entry(model, data) | {"samples": recipe.samples}, picture)

    return golden_folder.add_missing(GOLDEN, RECIPES, make)


if __name__ == "__main__":
    added = add_missing()
    sys.stdout.write(f"added {len(added)}: {', '.join(added) or '-'}\n")
