"""Trainer of video: rollouts of training shots, a run that saves and goes on."""

from __future__ import annotations

import csv
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("compressai")
pytest.importorskip("numba")

import av  # noqa: E402

from nacre.compensation import Planes, compensate  # noqa: E402
from nacre.models.image import ImageModel  # noqa: E402
from nacre.tools import leg, train_video  # noqa: E402
from nacre.tools.rollouts import crop, mirror, predict, sequence, stack  # noqa: E402
from nacre.tools.rounding_offsets import training_offsets  # noqa: E402
from nacre.tools.shots import VALIDATION_SOURCES, load_shots  # noqa: E402

FRAMES = 9
SIDE = 256


def moving(seed: int) -> NDArray[np.uint8]:
    """Frames (F, 3 H / 2, W) of texture that moves by two samples a frame to the right."""
    random = np.random.default_rng(seed)
    texture = random.integers(40, 200, (SIDE // 8, SIDE // 8 + 4)).repeat(8, 0).repeat(8, 1).astype(np.float64)
    for axis in (0, 1):
        texture = sum(np.roll(texture, shift, axis) for shift in range(-3, 4)) / 7
    frames = np.full((FRAMES, SIDE * 3 // 2, SIDE), 120, np.uint8)
    for number in range(FRAMES):
        frames[number, :SIDE] = texture[:, 2 * (FRAMES - number) :][:, :SIDE]
    return frames


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shard with two shots, one of which is for validation."""
    folder = tmp_path_factory.mktemp("shots")
    rows = [("a.mp4", "one"), ("b.mp4", sorted(VALIDATION_SOURCES)[0])]
    text = "file,source_file,w,h,ship\n" + "".join(f"{name},{source},{SIDE},{SIDE},1\n" for name, source in rows)
    (folder / "manifest.csv").write_text(text)
    with tarfile.open(folder / "train-000.tar", "w") as archive:
        for number, (name, _) in enumerate(rows):
            clip = io.BytesIO()
            with av.open(clip, "w", format="mp4") as container:
                stream = container.add_stream("libx264", rate=25, options={"crf": "10", "preset": "ultrafast"})
                stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
                for frame in moving(number):
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="yuv420p")))
                container.mux(stream.encode())
            member = tarfile.TarInfo(name)
            member.size = len(clip.getvalue())
            archive.addfile(member, io.BytesIO(clip.getvalue()))
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that take no time."""
    widths = {
        "latent_channels": 32,
        "hyper_channels": 8,
        "hyper_hidden": 8,
        "analysis_width": 16,
        "analysis_hidden": 8,
        "analysis_blocks": 1,
        "analysis_latent_hidden": 8,
        "synthesis_width": 16,
        "synthesis_hidden": 8,
        "synthesis_blocks": 1,
        "synthesis_latent_hidden": 8,
        "synthesis_latent_blocks": 1,
        "context_width": 8,
        "context_hidden": 8,
        "scale_hidden": 8,
        "scale_upsampled": 8,
        "scale_fine": 8,
        "rows": 5,
    }
    for name in ("INTRA", "PREDICTED"):
        monkeypatch.setattr(train_video, name, replace(getattr(train_video, name), **widths))
    monkeypatch.setattr(leg, "MAX_STEP_SECONDS", 0.2)
    monkeypatch.setattr(
        train_video, "load_weights", lambda _: (ImageModel(replace(train_video.INTRA, name="fast")), [])
    )


def test_motion_is_searched_once_and_predicts(shards: Path, tmp_path: Path) -> None:
    shot = load_shots(shards, minimum=SIDE)[0][0]
    first = sequence(shot, tmp_path)
    assert first.luma.shape == (FRAMES, SIDE, SIDE)
    assert first.chroma.shape == (FRAMES, 2, SIDE // 2, SIDE // 2)
    assert first.fields.shape == (FRAMES - 1, 2, SIDE // 8, SIDE // 8)
    stored = np.load(tmp_path / "a.mp4.npy")
    np.save(tmp_path / "a.mp4.npy", stored + 4)
    assert np.array_equal(sequence(shot, tmp_path).fields, first.fields + 4)
    rollout = stack([crop(first, 1, 2, 64, 64, 128)] * 2)
    predicted = predict(rollout.planes(0, torch.device("cpu")), rollout.fields[:, 0])
    error = (predicted.luma - rollout.planes(1, torch.device("cpu")).luma)[:, :, 16:-16, 16:-16]
    still = rollout.luma[:, 0].astype(float) - rollout.luma[:, 1]
    assert error.square().mean().item() < 0.2 * np.square(still).mean()


def test_a_mirrored_rollout_moves_the_other_way(shards: Path, tmp_path: Path) -> None:
    shot = sequence(load_shots(shards, minimum=SIDE)[0][0], tmp_path)
    plain = crop(shot, 0, 2, 0, 0, SIDE)
    turned = mirror(plain)
    references = [Planes(part.luma[0], part.chroma[0, 0], part.chroma[0, 1]) for part in (plain, turned)]
    arrays = [Planes(*(np.ascontiguousarray(plane) for plane in planes)) for planes in references]
    expected, found = (
        compensate(planes, np.ascontiguousarray(part.fields[0]))
        for planes, part in zip(arrays, (plain, turned), strict=True)
    )
    inner = (slice(32, -32), slice(32, -32))
    difference = expected.luma[inner].astype(int) - found.luma[:, ::-1][inner]
    assert np.abs(difference).max() <= 2


@pytest.mark.usefixtures("small")
def test_training_saves_and_goes_on(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    arguments = ["--data", str(shards), "--out", str(out), "--batch", "2", "--crop", "128", "--threads", "1"]
    arguments += ["--frames", "3", "--motion", str(tmp_path / "motion")]
    start = ["--stills", "not-read", "--only", "predicted."]
    assert train_video.main([*arguments, *start, "--minutes", "0.03"]) == 0
    state = torch.load(out / "state.pt")
    assert state["step"] > 2
    assert train_video.main([*arguments, "--only", "predicted.", "--minutes", "0.05"]) == 0
    later = torch.load(out / "state.pt")
    assert later["step"] > state["step"]
    for name, value in later["model"].items():
        if name.startswith("intra."):
            assert torch.equal(value, state["model"][name]), name
    with (out / "log.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2
    assert float(rows[1]["J predicted"]) > 0
    second = tmp_path / "second"
    more = ["--data", str(shards), "--out", str(second), "--batch", "2", "--crop", "128", "--threads", "1"]
    more += ["--motion", str(tmp_path / "motion"), "--frames", "2"]
    assert train_video.main([*more, "--start", str(out), "--minutes", "0.02"]) == 0
    parameters = torch.load(second / "state.pt")["model"]
    assert not torch.equal(parameters["intra.analysis.embed.weight"], later["average"]["intra.analysis.embed.weight"])
    third = train_video.parse(
        [*more[:2], "--out", str(tmp_path / "y"), "--intra", str(out), "--minutes", "1", *more[4:]]
    )
    fresh = train_video.VideoLeg(third).model
    assert torch.equal(fresh.intra.analysis.embed.weight, later["average"]["intra.analysis.embed.weight"])
    expected = later["average"]["predicted.analysis.down.weight"]
    assert not torch.equal(fresh.predicted.analysis.down.weight, expected)
    capsys.readouterr()
    assert train_video.main([*more[:2], "--out", str(tmp_path / "x"), "--start", str(tmp_path), "--minutes", "1"]) == 1
    assert "holds neither a run state nor published weights" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_a_prior_is_added(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A leg whose scales look at the frame before begins where one whose scales do not has ended."""
    out = tmp_path / "run"
    arguments = ["--data", str(shards), "--motion", str(tmp_path / "motion"), "--batch", "2", "--crop", "128"]
    arguments += ["--threads", "1", "--frames", "2"]
    with_prior = train_video.PREDICTED
    monkeypatch.setattr(train_video, "PREDICTED", replace(with_prior, scale_prior=0))
    first = [*arguments, "--out", str(out), "--stills", "not-read", "--only", "predicted.", "--minutes", "0.03"]
    assert train_video.main(first) == 0
    old = train_video.load_video(out).eval()
    monkeypatch.setattr(train_video, "PREDICTED", with_prior)
    second = [*arguments, "--out", str(tmp_path / "prior"), "--start", str(out), "--minutes", "1"]
    new = train_video.VideoLeg(train_video.parse(second)).average.eval()
    assert new.predicted.config.scale_prior > 0
    shot = sequence(load_shots(shards, minimum=SIDE)[0][0], tmp_path / "motion")
    rollout, cpu = stack([crop(shot, 0, 3, 0, 0, 128)]), torch.device("cpu")
    quality, lmbda = torch.tensor([100.0]), torch.tensor([0.3])

    def code(model: train_video.VideoModel) -> list[float]:
        before: train_video.Decoded | None = None
        costs = []
        offsets = training_offsets(0.3)
        for time in range(3):
            before = before and before.moved(rollout.fields[:, time - 1])
            before, cost, _, _ = model.code(rollout.planes(time, cpu), before, quality, lmbda, offsets, hard=True)
            assert (before.prior is None) is (time == 0)
            costs.append(cost.item())
        return costs

    with torch.no_grad():
        assert code(new) == pytest.approx(code(old), rel=1e-5)
        torch.nn.init.normal_(new.predicted.scale_decoder.layers[-1].weight)
        changed, expected = code(new), code(old)
    assert changed[0] == pytest.approx(expected[0], rel=1e-5)
    assert changed[1:] != pytest.approx(expected[1:], rel=1e-3)
    monkeypatch.setattr(train_video, "PREDICTED", replace(with_prior, hyper_magnitudes=False))
    assert train_video.main(second) == 1
    assert "has networks of other widths" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_a_cascade_tells_a_frame_what_it_costs_its_successor(shards: Path, tmp_path: Path) -> None:
    rollout = stack([crop(sequence(load_shots(shards, minimum=SIDE)[0][0], tmp_path), 0, 2, 0, 0, 128)])
    model = train_video.VideoModel(train_video.INTRA, train_video.PREDICTED)
    cpu, quality, lmbda = torch.device("cpu"), torch.tensor([50.0]), torch.tensor([0.01])
    offsets = training_offsets(0.3)
    first, _, _, _ = model.code(rollout.planes(0, cpu), None, quality, lmbda, offsets, hard=False)
    weight = model.intra.synthesis.head.weight
    for reference, told in ((first, True), (first.detached(), False)):
        moved = reference.moved(rollout.fields[:, 0])
        _, cost, _, _ = model.code(rollout.planes(1, cpu), moved, quality, lmbda, offsets, hard=False)
        (gradient,) = torch.autograd.grad(cost.sum(), [weight], allow_unused=True, retain_graph=True)
        assert (gradient is not None and bool(gradient.abs().max() > 0)) is told
    exact = first.detached().moved(rollout.fields[:, 0]).planes
    assert all(torch.equal(*pair) for pair in zip(first.moved(rollout.fields[:, 0]).planes, exact, strict=True))


@pytest.mark.usefixtures("small")
def test_steps_of_two_frames(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["--data", str(shards), "--out", str(out), "--batch", "1", "--crop", "128", "--threads", "1"]
    arguments += ["--frames", "3", "--motion", str(tmp_path / "motion"), "--cascade", "2", "--stills", "not-read"]
    assert train_video.main([*arguments, "--minutes", "0.03"]) == 0
    assert torch.load(out / "state.pt")["step"] > 1


def test_a_new_run_says_where_it_begins(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_video.parse(["--data", str(shards), "--out", str(tmp_path / "run"), "--minutes", "1"])
    assert "--stills, --intra or --start" in capsys.readouterr().err
