"""Publishing networks of video: what is chosen for the encoder, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_VIDEO

torch = pytest.importorskip("torch")
pytest.importorskip("compressai")
pytest.importorskip("numba")

from nacre.bitstream.errors import WeightsError  # noqa: E402
from nacre.models.tables import symbol_tables  # noqa: E402
from nacre.tools import export_video, tiny_video  # noqa: E402
from nacre.tools.export import EncoderChoice, rounding_offsets  # noqa: E402
from nacre.tools.export_video import Coding, choose_coding, live_channels, measure, publish_video  # noqa: E402
from nacre.tools.rollouts import Rollout  # noqa: E402
from nacre.tools.tiny_model import smooth_noise  # noqa: E402
from nacre.tools.train_video import VideoModel, load_video  # noqa: E402
from nacre.weights.sequence import load_sequence  # noqa: E402


@pytest.fixture(scope="module")
def model() -> VideoModel:
    torch.set_num_threads(1)
    return load_video(TINY_VIDEO).eval()


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    """Two frames of one sequence that move by two samples, and a field that knows it."""
    torch.manual_seed(0)
    noise = (255 * smooth_noise(1, 128)[0]).round().to(torch.uint8).numpy()
    both = np.stack([noise, np.roll(noise, 2, axis=2)])
    fields = np.zeros((1, 2, 16, 16), np.int16)
    fields[:, 1] = -8
    return Rollout(both[None, :, 0], both[None, :, 1:, ::2, ::2].copy(), fields[None])


def coding(model: VideoModel, strength: float, threshold: int) -> Coding:
    parts = (model.intra, model.predicted)
    return Coding(*(EncoderChoice(rounding_offsets(symbol_tables(p.conditional), strength), threshold) for p in parts))


def test_the_choice_has_the_least_cost(model: VideoModel, rollout: Rollout) -> None:
    said: list[str] = []
    chosen = choose_coding(model, [rollout], said.append)
    costs = [float(line.rpartition(" ")[2]) for line in said]
    assert len(costs) == len(set(said)) == 7  # nothing is measured twice
    assert measure(model, [rollout], chosen)["J"] == pytest.approx(min(costs), abs=1e-4)
    assert chosen.intra.skip_threshold == chosen.predicted.skip_threshold
    assert chosen.intra.offsets.shape == chosen.predicted.offsets.shape == (64,)


def test_skipping_everything_costs_more(model: VideoModel, rollout: Rollout) -> None:
    plain, skipped = (measure(model, [rollout], coding(model, 0.0, threshold)) for threshold in (0, 63))
    assert skipped["J"] > plain["J"]
    assert plain["J"] == pytest.approx((plain["intra"] + 31 * plain["predicted"]) / 32)
    assert measure(model, [rollout], None)["J"] == pytest.approx(plain["J"], rel=0.01)


def test_live_channels_hold_all_symbols(model: VideoModel, rollout: Rollout) -> None:
    choices = coding(model, 0.2, 4)
    live = live_channels(model, [rollout], choices)
    for counts, part, choice in zip(live, (model.intra, model.predicted), choices, strict=True):
        assert len(counts) == part.config.rows
        assert counts == sorted(counts)
        assert 1 <= counts[0] <= counts[-1] <= part.config.latent_channels
        assert choice.skip_threshold == 4
    # a row that is measured: nothing that is coded lies in other channels
    seen: list[int] = []
    handle = model.intra.context.register_forward_hook(
        lambda _module, _inputs, output: seen.append(int((output[0] != 0).any(0).flatten(1).any(1).nonzero().max()))
    )
    for _ in export_video.steps(model, [rollout], choices, 50.0):
        pass
    handle.remove()
    assert len(seen) == 1
    assert seen[0] < live[0][5]


def test_published_weights_are_published_again(model: VideoModel, rollout: Rollout, tmp_path: Path) -> None:
    choices, folder = coding(model, 0.2, 4), tmp_path / "again"
    motion = export_video.motion_tables(TINY_VIDEO)
    folder.mkdir()
    (folder / "old").touch()

    def publish(model: VideoModel) -> int:
        return publish_video(
            model, folder, profile="tiny", coding=choices, live=([24] * 11, [16] * 11), motion=motion,
            version="0.2.0", notes={},
        )  # fmt: skip

    size = publish(model)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]
    assert not (folder / "old").exists()
    weights = load_sequence("tiny", tmp_path)
    assert weights.version == "0.2.0"
    assert weights.size == size
    arrays = weights.predicted.arrays("entropy.npz")
    assert all(np.array_equal(arrays[name], array) for name, array in motion.items())
    assert not [name for name in weights.intra.arrays("entropy.npz") if name.startswith("m.")]
    again = load_video(folder)
    assert again.config() == model.config()
    first = measure(again, [rollout], choices)
    assert first == pytest.approx(measure(model, [rollout], choices), rel=0.01)  # matrices of 8 bits, from now on
    publish(again)
    assert measure(load_video(folder), [rollout], choices) == first


def test_nothing_is_left_where_it_fails(model: VideoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(*_arguments: object, **_keywords: object) -> object:
        return tiny_video.build().intra

    monkeypatch.setattr(export_video, "load_published_frames", other)
    with torch.no_grad():
        changed = load_video(TINY_VIDEO).eval()
        changed.intra.scale_decoder.layers[0].weight.neg_()
    with pytest.raises(WeightsError, match="gives other integers"):
        publish_video(
            changed, tmp_path / "new", profile="tiny", coding=coding(model, 0.0, 4), live=([24] * 11, [16] * 11),
            motion=export_video.motion_tables(TINY_VIDEO), version="0.2.0", notes={},
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_bad_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error(run: Path, folder: Path, *more: str) -> str:
        arguments = [str(run), str(folder), "--data", str(tmp_path), "--cache", str(tmp_path), *more]
        assert export_video.main([*arguments, "--threads", "1"]) == 1
        return capsys.readouterr().err

    assert "holds no published weights: it is not replaced" in error(TINY_VIDEO, tmp_path)
    missing = ("--motion", str(tmp_path / "none.npz"))
    assert "No such file" in error(TINY_VIDEO, tmp_path / "new", *missing)
    assert "manifest.csv" in error(TINY_VIDEO, tmp_path / "new")  # with the tables of the installed weights
    np.savez(tmp_path / "other.npz", x=np.zeros(1))
    assert "holds no motion tables" in error(TINY_VIDEO, tmp_path / "new", "--motion", str(tmp_path / "other.npz"))
    motion = ("--motion", str(TINY_VIDEO))
    assert "holds neither a run state nor published weights" in error(tmp_path, tmp_path / "new", *motion)
    assert "manifest.csv" in error(TINY_VIDEO, tmp_path / "new", *motion)
    assert not (tmp_path / "new").exists()
