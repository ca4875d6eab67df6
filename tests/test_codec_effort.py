"""Effort levels: the same stream format and decoder, smaller streams at equal squared error, and what is refused."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, make_picture
from PIL import Image

import nacre
from nacre.bitstream.errors import InputError, WeightsError
from nacre.cli import main
from nacre.effort import DEFAULT_EFFORT, MAX_EFFORT, MIN_EFFORT, parse_effort
from nacre.entropy.tables import TOTAL, TableSet
from nacre.metrics import psnr
from nacre.refine import Original, SymbolPrices
from nacre.stopwatch import Stopwatch

Capture = pytest.CaptureFixture[str]

QUALITY = 60.0


@pytest.fixture(scope="module")
def codec() -> nacre.ImageCodec:
    return nacre.ImageCodec(weights=TINY, threads=1)


def _cost(codec: nacre.ImageCodec, picture: np.ndarray, data: bytes) -> float:
    """Bits of a stream, and lambda times its squared error, as docs/DESIGN.md weighs them."""
    error = codec.decode_array(data).astype(np.float64) - picture
    return 8 * len(data) + 0.0005 * 600 ** (QUALITY / 100) * float(np.square(error).sum()) / 3


def test_levels_cost_less_and_less(codec: nacre.ImageCodec) -> None:
    picture = make_picture(96, 130)  # not a multiple of 64
    costs = [_cost(codec, picture, codec.encode(picture, QUALITY, effort=level)) for level in range(2, 8)]
    assert all(later < earlier for earlier, later in itertools.pairwise(costs))
    assert costs[-1] < 0.97 * costs[0]


def test_every_level_decodes_and_repeats(codec: nacre.ImageCodec) -> None:
    picture = make_picture(70, 50, 1)
    for level in range(MIN_EFFORT, MAX_EFFORT + 1):
        data = codec.encode(picture, 40, effort=level)
        assert data == codec.encode(picture, 40, effort=np.int64(level))
        assert codec.verify(data).info.header.quality == 40 * 256
        assert codec.decode_array(data).shape == picture.shape
    assert codec.encode(picture, 40) == codec.encode(picture, 40, effort=DEFAULT_EFFORT.level)


def test_time_goes_to_refinement(codec: nacre.ImageCodec) -> None:
    picture = make_picture(64, 64)
    for level, refined in ((2, False), (3, True)):
        stopwatch = Stopwatch()
        codec.encode(picture, stopwatch=stopwatch, effort=level)
        assert (stopwatch.seconds["refinement"] > 0) is refined


@pytest.mark.parametrize("value", [0, 10, -1, 2.0, "3", True, [4]])
def test_efforts_that_are_refused(codec: nacre.ImageCodec, value: object) -> None:
    with pytest.raises(InputError, match=r"effort is .*, must be a whole number in 1\.\.9"):
        codec.encode(make_picture(8, 8), effort=value)  # type: ignore[arg-type]


def test_levels_that_weights_lack(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(TINY, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["refine.onnx"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "refine.onnx").unlink()
    codec, picture = nacre.ImageCodec(weights=folder, threads=1), make_picture(20, 20)
    assert codec.encode(picture, effort=1)
    assert codec.encode(picture) == nacre.ImageCodec(weights=TINY, threads=1).encode(picture)
    with pytest.raises(WeightsError, match=r"effort is 5, must be 1\.\.2 with the weights 'tiny'.*no refine\.onnx"):
        codec.encode(picture, effort=5)


def test_targets_are_reached_at_an_effort(codec: nacre.ImageCodec) -> None:
    picture = make_picture(128, 128)
    data = codec.encode(picture, psnr=30, effort=5)
    assert 30 <= psnr(picture, codec.decode_array(data)) <= 30.05
    assert len(data) < len(codec.encode(picture, psnr=30))
    small = codec.encode(picture, size=len(data), effort=5)
    assert 0.98 * len(data) <= len(small) <= len(data)


def test_tiles_and_threads(codec: nacre.ImageCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nacre.image.choose_tiling", lambda *_: nacre.tiling.Tiling(64, 16))
    picture = make_picture(150, 130)
    plain, refined = (codec.encode(picture, QUALITY, effort=level) for level in (2, 5))
    assert codec.inspect(refined).header.tile_count == 9
    assert _cost(codec, picture, refined) < _cost(codec, picture, plain)
    assert nacre.ImageCodec(weights=TINY, threads=2).encode(picture, QUALITY, effort=5) == refined


def test_work_stops_between_updates(codec: nacre.ImageCodec) -> None:
    class StopError(Exception):
        pass

    calls = []

    def progress(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) == 3:
            raise StopError

    with pytest.raises(StopError):
        codec.encode_to(make_picture(64, 64), io.BytesIO(), effort=9, progress=progress)
    assert calls == [(0, 1)] * 3


def test_threads_end_early_when_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nacre.image.choose_tiling", lambda *_: nacre.tiling.Tiling(64, 0))
    codec = nacre.ImageCodec(weights=TINY, threads=2)
    codec.encode(make_picture(64, 128), effort=3)
    runs, failed = [], threading.Event()
    graph = codec._coder(None, tiles=True)._refiner._graph
    run = graph.run

    def counted(*arguments: object) -> object:
        runs.append(failed.is_set())
        return run(*arguments)  # type: ignore[arg-type]

    def progress(_done: int, _total: int) -> None:
        failed.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(graph, "run", counted)
    with pytest.raises(KeyboardInterrupt):
        codec.encode_to(make_picture(64, 256), io.BytesIO(), effort=9, progress=progress)
    assert sum(runs) <= 8  # a whole tile has 65


def test_pillow_saves_at_an_effort(tiny_weights: Path) -> None:
    picture = make_picture(64, 96)
    files = [io.BytesIO(), io.BytesIO()]
    for file, level in zip(files, (2, 6), strict=True):
        Image.fromarray(picture).save(file, "NACRE", quality=QUALITY, effort=level)
    assert files[1].getvalue() == nacre.encode(picture, QUALITY, effort=6)
    assert files[0].getvalue() != files[1].getvalue()


def test_command_line(tiny_weights: Path, tmp_path: Path, capsys: Capture) -> None:
    picture = make_picture(40, 60)
    Image.fromarray(picture).save(tmp_path / "a.png")
    source, target = str(tmp_path / "a.png"), tmp_path / "a.ncr"
    assert main(["encode", source, str(target), "-e", "4", "-v"]) == 0
    assert ", refinement " in capsys.readouterr().out
    assert target.read_bytes() == nacre.encode(picture, effort=4)
    assert main(["encode", source, "--out-dir", str(tmp_path / "out"), "--effort", "4"]) == 0
    assert (tmp_path / "out" / "a.ncr").read_bytes() == target.read_bytes()
    for text in ("0", "10", "x", "1.5", ""):
        assert main(["encode", source, str(target), "-e", text]) == 2
        assert f"the effort is {text!r}, must be a whole number in 1..9" in capsys.readouterr().err


def test_only_pixels_of_the_picture_count() -> None:
    padded = np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)
    original = Original.of(padded, 9, 17, np.array([0.5], np.float32))
    assert original.counted.sum() == 9 * 17 * 3
    row, column, colour = 8, 16, 2
    channel = colour * 64 + row % 8 * 8 + column % 8
    assert original.patches[0, channel, row // 8, column // 8] == padded[row, column, colour]
    assert original.counted[0, channel, row // 8, column // 8] == 1
    assert original.counted[0, channel, row // 8, column // 8 + 1] == 0


def test_prices_are_those_of_the_tables() -> None:
    tables = [np.array([TOTAL - 1, 1]), np.array([5, 100, TOTAL - 205, 90, 9, 1]), np.arange(1, 81)]
    tables[2][40] += TOTAL - tables[2].sum()
    prices = SymbolPrices(TableSet.stack(tables))
    index = np.array([0, 0, 1, 1, 1, 2], np.uint8)
    symbols = np.array([0, 3, -2, 1, 3, -39], np.int32)
    frequencies = [TOTAL - 1, 1, 5, 90, 1, 1]
    assert prices.total(symbols, index) == pytest.approx(float(np.sum(16 - np.log2(frequencies))), rel=1e-6)
    rises = prices.rises(np.array([0.0, 1.4, 2.0, 9.0], np.float32), np.ones(4, np.uint8))
    first, second = np.log2((TOTAL - 205) / 90), np.log2(90 / 9)
    assert rises == pytest.approx([first, first, second, second], rel=1e-5)


def test_parsing() -> None:
    assert [parse_effort(level).level for level in range(1, 10)] == list(range(1, 10))
    updates = [parse_effort(level).updates for level in range(2, 10)]
    assert all(more > fewer for fewer, more in itertools.pairwise(updates))
    assert parse_effort(None) is DEFAULT_EFFORT
