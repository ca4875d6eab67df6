"""The tables of motion fields, counted on shots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nacre.entropy import SymbolDecoder, SymbolEncoder, TableSet, quantize_pmf
from nacre.entropy.motion import MOTION_TABLES, MotionSymbols, decode_motion, encode_motion
from nacre.motion_field import to_symbols
from nacre.tools.motion_tables import RATES, Counts, coded, count, fields, main
from nacre.tools.shots import VALIDATION_SOURCES, Shot, load_shots


def symbols(seed: int) -> MotionSymbols:
    random = np.random.default_rng(seed)
    field = np.round(random.laplace(0, 2, (2, 16, 24))).astype(np.int16)
    large = np.kron(random.random((4, 6)) < 0.7, np.ones((4, 4), bool))
    return to_symbols(np.where(large, np.int16(3), field))


def size(given: MotionSymbols, tables: TableSet) -> int:
    encoder = SymbolEncoder()
    encode_motion(encoder, given, tables, None)
    data = encoder.finish()
    decoder = SymbolDecoder(data)
    again = decode_motion(decoder, given.splits[0].shape, tables, None)
    decoder.finish()
    assert np.array_equal(again.in_order(), given.in_order())
    return len(data)


def test_tables_fit_what_was_counted() -> None:
    counts = Counts()
    for seed in range(6):
        counts.add(symbols(seed), symbols(seed + 100))
    flat = TableSet.stack([quantize_pmf(np.ones(22))] * MOTION_TABLES)
    assert size(symbols(50), counts.tables()) < 0.7 * size(symbols(50), flat)


def test_a_table_that_nothing_was_counted_for_codes_what_comes() -> None:
    tables = Counts().tables()
    assert len(tables) == MOTION_TABLES
    field = np.random.default_rng(0).integers(-512, 513, (2, 8, 8)).astype(np.int16)
    assert size(to_symbols(field), tables) > 0


def test_fields_of_a_shot() -> None:
    pytest.importorskip("numba")
    y, x = np.mgrid[0:64, 0:96]
    wide = (120 + 60 * np.sin(x / 5 + y / 9) + 40 * np.sin(y / 4 - x / 23)).astype(np.uint8)
    frames = np.full((4, 96, 96), 128, np.uint8)
    for number in range(4):
        frames[number, :64] = np.roll(wide, 2 * number, axis=1)
    assert coded(frames, 20).shape == (4, 64, 96)
    found = list(fields([Shot("a.mp4", "a", frames)], 4))
    assert [follows for _, follows, _ in found] == [False, True, True] * len(RATES)
    assert all((field[1, :, 2:8] == -8).mean() > 0.8 for field, _, _ in found[:6])  # the finer references
    weights = [weight for _, _, weight in found]
    assert weights == sorted(weights)
    assert weights[0] == 1 < weights[-1]
    counted = sum(weight * to_symbols(field).in_order().size for field, _, weight in found)
    assert count(found).values.sum() == pytest.approx(counted)


def test_shots_are_told_apart_by_source(tmp_path: Path) -> None:
    import io
    import tarfile

    import av

    held_out = sorted(VALIDATION_SOURCES)[0]
    rows = [("a.mp4", "one", 1), ("b.mp4", "two", 0), ("c.mp4", held_out, 0), ("d.mp4", "three", 1)]
    (tmp_path / "manifest.csv").write_text(
        "file,source_file,w,h,ship\n" + "".join(f"{name},{source},64,64,{ship}\n" for name, source, ship in rows)
    )
    with tarfile.open(tmp_path / "train-000.tar", "w") as archive:
        for name, _, _ in rows:
            clip = io.BytesIO()
            with av.open(clip, "w", format="mp4") as container:
                stream = container.add_stream("libx264", rate=25)
                stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
                frame = av.VideoFrame.from_ndarray(np.full((96, 64), 90, np.uint8), format="yuv420p")
                container.mux(stream.encode(frame))
                container.mux(stream.encode())
            member = tarfile.TarInfo(name)
            member.size = len(clip.getvalue())
            archive.addfile(member, io.BytesIO(clip.getvalue()))
    training, validation = load_shots(tmp_path, minimum=64)
    assert [shot.name for shot in training] == ["a.mp4", "d.mp4"]
    assert [shot.source for shot in validation] == [held_out]
    assert training[0].frames.shape == (1, 96, 64)
    assert training[0].luma.shape == (1, 64, 64)
    assert [shot.name for shot in load_shots(tmp_path, minimum=64, limit=1)[0]] == ["a.mp4"]
    with pytest.raises(ValueError, match="0 training and 0 validation shots of at least 65"):
        load_shots(tmp_path, minimum=65)
    (tmp_path / "manifest.csv").write_text("file,w\n")
    with pytest.raises(ValueError, match="lacks the column h and ship and source_file"):
        load_shots(tmp_path, minimum=64)
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path)])
