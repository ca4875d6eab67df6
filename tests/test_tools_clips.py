"""Clips: read, found, told from pictures; planes and RGB."""

from __future__ import annotations

import math
from pathlib import Path

import av
import numpy as np
import pytest
from clips import RATE, make_clip, write_clip
from PIL import Image

pytest.importorskip("scipy")

from nacre.bitstream.errors import InputError
from nacre.tools.clip_metrics import frame_kinds, mean_psnr, plane_psnrs
from nacre.tools.clips import are_clips, find_clips, read_clip
from nacre.tools.yuv import Matrix, from_rgb, split, to_rgb


def test_a_file_gives_back_its_frames(tmp_path: Path) -> None:
    clip = make_clip()
    path = write_clip(tmp_path / "a.mkv", clip.frames)
    read = read_clip(path)
    assert np.array_equal(read.frames, clip.frames)
    assert (read.width, read.height, read.pixels, read.rate) == (96, 80, 5 * 96 * 80, RATE)
    assert (read.matrix, read.full_range) == ("bt601", False)
    assert read.digest() == clip.digest()
    short = read_clip(path, 3)
    assert np.array_equal(short.frames, clip.frames[:3])
    assert short.digest() != clip.digest()


def test_what_is_no_clip_to_measure(tmp_path: Path) -> None:
    frames = make_clip(frames=2).frames
    (tmp_path / "broken.mkv").write_bytes(b"no clip")
    with pytest.raises(InputError, match=r"broken\.mkv: cannot be read as a clip"):
        read_clip(tmp_path / "broken.mkv")
    with pytest.raises(InputError, match=r"none\.mkv: cannot be read as a clip"):
        read_clip(tmp_path / "none.mkv")
    with pytest.raises(InputError, match="yuv444p, must be 8-bit YUV 4:2:0"):
        read_clip(write_clip(tmp_path / "444.mkv", frames, "yuv444p"))
    with pytest.raises(InputError, match="yuv420p10le, must be 8-bit"):
        read_clip(write_clip(tmp_path / "ten.mkv", frames, "yuv420p10le"))
    with av.open(str(tmp_path / "odd.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 33, 20, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(33, 20, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="33x20, must have even sides"):
        read_clip(tmp_path / "odd.mkv")


def test_clips_are_told_from_pictures(tmp_path: Path) -> None:
    folder, pictures, empty = tmp_path / "clips", tmp_path / "pictures", tmp_path / "empty"
    for place in (folder, pictures, empty):
        place.mkdir()
    clip = write_clip(folder / "b.mkv", make_clip(frames=1).frames)
    (folder / "notes.txt").write_text("no clip")
    Image.new("RGB", (8, 8)).save(pictures / "a.png")
    assert are_clips([str(folder), str(clip), "missing.mp4"])
    assert not are_clips([str(pictures), str(empty), "missing.png"])
    with pytest.raises(InputError, match="pictures and clips are measured apart"):
        are_clips([str(folder), str(pictures)])
    assert find_clips([str(folder), str(clip)]) == ([clip], [])
    found, missing = find_clips([str(empty), str(tmp_path / "none.mkv")])
    assert found == []
    assert "no clips found" in missing[0]
    assert "does not exist" in missing[1]


def test_planes_are_views_in_the_order_of_the_file() -> None:
    frames = np.arange(2 * 9 * 4, dtype=np.uint8).reshape(2, 9, 4)  # two frames of 4x6
    y, u, v = split(frames)
    assert (y.shape, u.shape, v.shape) == ((2, 6, 4), (2, 3, 2), (2, 3, 2))
    assert [int(plane[1, 0, 0]) for plane in (y, u, v)] == [36, 60, 66]
    assert all(np.shares_memory(plane, frames) for plane in (y, u, v))


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_rgb_and_back(matrix: Matrix, full_range: bool) -> None:
    flat = np.zeros((4, 4, 3), np.uint8)
    white = from_rgb(np.full_like(flat, 255), matrix, full_range)
    assert split(white[np.newaxis])[0].min() == (255 if full_range else 235)
    assert all(int(plane.min()) == int(plane.max()) == 128 for plane in split(white[np.newaxis])[1:])
    assert int(from_rgb(flat, matrix, full_range)[0, 0]) == (0 if full_range else 16)
    for colour in ((200, 30, 90), (12, 240, 7)):
        picture = flat + np.array(colour, np.uint8)
        back = to_rgb(from_rgb(picture, matrix, full_range), matrix, full_range)
        assert np.abs(back.astype(int) - picture).max() <= 2
    blue = split(from_rgb(flat + np.array((0, 0, 255), np.uint8), matrix, full_range)[np.newaxis])[1]
    assert int(blue.max()) == (255 if full_range else 240)  # the end of the range


def test_smooth_chroma_survives_its_halving() -> None:
    y, x = np.mgrid[:48, :64]
    picture = np.stack([2 * x + 60, 2 * y + 80, 200 - x - y], axis=-1).astype(np.uint8)
    back = to_rgb(from_rgb(picture, "bt709", False), "bt709", False)
    inside = (slice(2, -2), slice(2, -2))  # at the edges chroma is continued as it is
    assert np.abs(back.astype(int) - picture)[inside].max() <= 3


def test_psnr_of_planes_and_of_kinds_of_frames() -> None:
    frames = make_clip(frames=5).frames
    worse = frames.copy()
    split(worse)[0][0] ^= 1  # every luma sample of the first frame is off by one
    split(worse)[1][3] ^= 2
    psnrs = plane_psnrs(frames, worse)
    one, two = 20 * math.log10(255), 20 * math.log10(255 / 2)
    assert psnrs[0].tolist() == pytest.approx([one, 100.0, 100.0])
    assert psnrs[3].tolist() == pytest.approx([100.0, two, 100.0])
    kinds = frame_kinds(frames, worse, [bytes(9), b"", bytes(2), bytes(5), b""], 4)
    assert (kinds["I"]["frames"], kinds["I"]["bytes"]) == (2, 9)
    assert (kinds["P"]["frames"], kinds["P"]["bytes"]) == (3, 7)
    assert kinds["I"]["psnr-yuv"] == pytest.approx(((6 * one + 200) / 8 + 100) / 2)
    assert kinds["P"]["psnr-u"] == pytest.approx((two + 200) / 3)
    assert mean_psnr(kinds) == pytest.approx(float((psnrs @ (0.75, 0.125, 0.125)).mean()))
    assert set(frame_kinds(frames, worse, [b""] * 5, 1)) == {"I"}
