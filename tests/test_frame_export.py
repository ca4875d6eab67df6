"""Networks of frames: the published form against the modules it was made of, and the way there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from conftest import TINY_VIDEO, TINY_VIDEO_PRIOR
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("compressai")

from torch import Tensor  # noqa: E402

from nacre.backend import scale_executor  # noqa: E402
from nacre.bitstream.errors import WeightsError  # noqa: E402
from nacre.compensation import Planes as ArrayPlanes  # noqa: E402
from nacre.entropy.network import IntegerNetwork, known_answer  # noqa: E402
from nacre.framepatches import to_patches as array_patches  # noqa: E402
from nacre.models.complexity import mac_per_luma_sample  # noqa: E402
from nacre.models.context import NOT_CODED  # noqa: E402
from nacre.models.frames import CHROMA_SCALE, LUMA_CHANNELS, Planes, to_patches  # noqa: E402
from nacre.models.published import load_published_frames, read_published  # noqa: E402
from nacre.models.tables import integer_network  # noqa: E402
from nacre.models.transforms import PIXEL_CENTRE, PIXEL_SCALE  # noqa: E402
from nacre.models.video import INTRA, PREDICTED, FrameModel  # noqa: E402
from nacre.tools.tiny_model import smooth_noise  # noqa: E402
from nacre.weights.sequence import load_sequence  # noqa: E402

KINDS = pytest.mark.parametrize("kind", ["intra", "predicted"])
PRIORS = {TINY_VIDEO: 0, TINY_VIDEO_PRIOR: 8}  # channels of the scales' prior
FOLDERS = pytest.mark.parametrize("folder", PRIORS, ids=lambda folder: folder.name)
POSITION = torch.tensor([0.7])


def built(kind: str, folder: Path = TINY_VIDEO) -> FrameModel:
    torch.set_num_threads(1)
    return load_published_frames(folder / kind, predicted=kind == "predicted")


def frame(seed: int) -> tuple[NDArray[np.uint8], Tensor]:
    """A frame of 128 x 192 samples as the graphs and as the modules see it, by codes that share nothing."""
    torch.manual_seed(seed)
    noise = (255 * smooth_noise(1, 192)[0, :, :128]).round().to(torch.uint8)
    luma, chroma = noise[:1], noise[1:, ::2, ::2]
    arrays = array_patches(ArrayPlanes(*(np.ascontiguousarray(plane.numpy()) for plane in (luma[0], *chroma))))
    return arrays, to_patches(Planes(luma[None], chroma[None]))


def to_samples(patches: Tensor) -> NDArray[np.float32]:
    """Normalized patches on the 0..255 scale."""
    scale = torch.full((1, patches.shape[1], 1, 1), PIXEL_SCALE)
    scale[:, LUMA_CHANNELS:] /= CHROMA_SCALE
    samples: NDArray[np.float32] = (patches * scale + PIXEL_CENTRE).numpy()
    return samples


class Ends:
    """The graphs and the modules of one kind of frames, with one frame and, for predicted ones, its prediction."""

    def __init__(self, kind: str, folder: Path = TINY_VIDEO) -> None:
        self.folder, self.model = folder / kind, built(kind, folder)
        self.patches, self.x = frame(1)
        self.known: Tensor | None = None
        self.feed: dict[str, NDArray[np.uint8]] = {}
        if kind == "predicted":
            other, known = frame(2)
            # a mixture, so that prediction and frame belong to each other
            mixed = (0.8 * self.patches + 0.2 * other).round().astype(np.uint8)
            self.known, self.feed = known * 0.2 + self.x * 0.8, {"prediction": mixed}
            rounded = torch.from_numpy(mixed.astype(np.float32) - to_samples(self.known))
            assert rounded.abs().max() < 0.51
            scale = torch.from_numpy(to_samples(torch.ones_like(self.x)) - PIXEL_CENTRE)
            self.known = self.known + rounded / scale

    def run(self, name: str, feed: dict[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
        session = onnxruntime.InferenceSession(self.folder / name, providers=["CPUExecutionProvider"])
        outputs: list[NDArray[np.float32]] = session.run(None, {**feed, **self.feed})
        return outputs

    def latent(self) -> tuple[Tensor, Tensor]:
        """y and z by the modules."""
        x = self.x if self.known is None else torch.cat([self.x - self.known, self.known], 1)
        y = self.model.analysis(x, POSITION)
        return y, self.model.hyper_analysis(y).round().clamp(-127, 127)

    def decode(self, target: Tensor, z: Tensor, rounding: Tensor, encoding: float) -> tuple[Tensor, Tensor]:
        """Symbols and y_hat by the modules."""
        condition = None if self.known is None else self.model.condition(self.known)
        _, *result = self.model.context(target, z, rounding, encoding, condition)
        return result[0], result[1]


@FOLDERS
@KINDS
@torch.no_grad()
def test_analysis(kind: str, folder: Path) -> None:
    ends = Ends(kind, folder)
    y, z = ends.latent()
    y_graph, z_graph = ends.run("analysis.onnx", {"patches": ends.patches, "position": POSITION.numpy()})
    assert y_graph.shape == (1, ends.model.config.latent_channels, 8, 12)
    assert z_graph.shape == (1, ends.model.config.hyper_channels, 2, 3)
    assert np.allclose(y_graph, y.numpy(), rtol=1e-4, atol=1e-3)
    assert np.mean(z_graph != z.numpy()) < 0.01
    assert len(np.unique(z_graph)) > 3


@KINDS
@torch.no_grad()
def test_context_serves_both_ends(kind: str) -> None:
    ends = Ends(kind)
    y, z = ends.latent()
    rounding = torch.full_like(y, 0.4)
    rounding[:, ::5] = NOT_CODED
    symbols, y_hat = ends.decode(y, z, rounding, 1.0)

    def graph(target: Tensor, rounding: Tensor, encoding: float) -> list[NDArray[np.float32]]:
        names = ("target", "z_hat", "rounding", "encoding")
        values = (target, z, rounding, torch.tensor([encoding]))
        return ends.run("context.onnx", {name: part.numpy() for name, part in zip(names, values, strict=True)})

    found, y_hat_encoder = graph(y, rounding, 1.0)
    assert np.mean(found != symbols.numpy()) < 0.001
    assert np.any(found != 0)
    assert not found[:, ::5].any()
    same = found == symbols.numpy()
    assert np.abs(y_hat_encoder - y_hat.numpy())[same].max() < 0.01
    again, y_hat_decoder = graph(torch.from_numpy(found), torch.full_like(y, 0.5), 0.0)
    assert np.array_equal(again, found)
    assert np.array_equal(y_hat_decoder, y_hat_encoder)


@torch.no_grad()
def test_context_sees_the_prediction() -> None:
    ends = Ends("predicted")
    y, z = ends.latent()
    feed = {"target": y, "z_hat": z, "rounding": torch.full_like(y, 0.5), "encoding": torch.ones(1)}
    arrays = {name: value.numpy() for name, value in feed.items()}
    first, _ = ends.run("context.onnx", arrays)
    ends.feed["prediction"] = 255 - ends.feed["prediction"]
    other, _ = ends.run("context.onnx", arrays)
    assert np.any(first != other)


@KINDS
@torch.no_grad()
def test_synthesis(kind: str) -> None:
    ends = Ends(kind)
    y, z = ends.latent()
    _, y_hat = ends.decode(y, z, torch.full_like(y, 0.5), 1.0)
    (found,) = ends.run("synthesis.onnx", {"y_hat": y_hat.numpy(), "position": POSITION.numpy()})
    assert found.dtype == np.uint8
    expected = to_samples(ends.model.synthesis.frame(y_hat, POSITION, ends.known)).clip(0, 255)
    assert found.shape == expected.shape == ends.patches.shape
    assert np.abs(found - expected).max() <= 0.51
    error = np.square(found.astype(float) - ends.patches).mean()
    assert error < 0.5 * ends.patches.astype(float).var()  # it is the frame that comes back


@FOLDERS
@KINDS
@torch.no_grad()
def test_scale_decoder_is_exact(kind: str, folder: Path) -> None:
    weights = getattr(load_sequence(folder=folder), kind)
    model = built(kind, folder)
    arrays = weights.arrays("entropy.npz").items()
    network = IntegerNetwork.from_arrays({name[6:]: array for name, array in arrays if name.startswith("scale.")})
    fast = scale_executor(weights, network, 1)
    assert fast is not network  # it passed the known-answer test
    assert (network.prior is not None) == (PRIORS[folder] > 0 and kind == "predicted")
    random = np.random.default_rng(3)
    for row in range(weights.rows):
        z = random.integers(-127, 128, (weights.hyper_channels, 2, 3)).astype(np.int32)
        before = random.integers(0, 16, (weights.latent_channels, 8, 12)).astype(np.uint8)
        position = torch.tensor([row / (weights.rows - 1)])
        for seen in (before, None):
            expected = network.forward(z, row, seen)
            assert np.array_equal(fast(z, row, seen), expected)
            known = None if seen is None else torch.from_numpy(seen[None]).float()
            index = model.scale_decoder(torch.from_numpy(z[None]).float(), position, known)
            assert np.array_equal(index[0].numpy().astype(np.uint8), expected)


@FOLDERS
@KINDS
def test_published_parameters_come_back(kind: str, folder: Path) -> None:
    pytest.importorskip("numba")
    from nacre.tools import tiny_video

    written: FrameModel = getattr(tiny_video.build(PRIORS[folder]), kind)
    config, parameters = read_published(folder / kind, lambda config: FrameModel(config, predicted=kind == "predicted"))
    assert config == written.config
    expected = dict(written.named_parameters())
    assert set(parameters) == set(expected)
    for name, parameter in expected.items():
        if not name.startswith("scale_decoder."):  # these come back as integers, see the next lines
            assert torch.allclose(parameters[name], parameter, rtol=2e-3, atol=1e-4), name
    read = integer_network(built(kind, folder).scale_decoder, config.rows)
    assert known_answer(read) == json.loads((folder / kind / "manifest.json").read_text())["known_answer"]


def test_the_other_kind_is_not_read() -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        load_published_frames(TINY_VIDEO / "predicted", predicted=False)
    with pytest.raises(WeightsError, match=r"lack|cannot be read"):
        load_published_frames(TINY_VIDEO / "intra", predicted=True)


@FOLDERS
def test_tiny_video_is_made_again(folder: Path, tmp_path: Path) -> None:
    """The same arrays, whatever version of the exporter writes the graphs."""
    pytest.importorskip("numba")
    from nacre.tools import tiny_video

    prior = [str(PRIORS[folder])] if PRIORS[folder] else []
    assert tiny_video.main([str(tmp_path / "tiny"), *prior]) == 0
    for name in ("intra/entropy.npz", "predicted/entropy.npz"):
        with np.load(folder / name) as kept, np.load(tmp_path / "tiny" / name) as made:
            assert {key: array.tolist() for key, array in kept.items()} == {
                key: array.tolist() for key, array in made.items()
            }
    assert not list(tmp_path.glob("*.part"))
    made_again, kept_weights = load_sequence(folder=tmp_path / "tiny"), load_sequence(folder=folder)
    assert made_again.intra.live_channels[0] == 8
    for kind in ("intra", "predicted"):
        assert getattr(made_again, kind).known_answer == getattr(kept_weights, kind).known_answer


@pytest.mark.parametrize("arguments", [[], [""], ["a", "b"], ["a", "-1"], ["a", "1", "2"]])
def test_wrong_arguments_of_tiny_video(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("numba")
    from nacre.tools import tiny_video

    assert tiny_video.main(arguments) == 2
    assert capsys.readouterr().err == f"{tiny_video.USAGE}\n"


def test_networks_keep_their_budget() -> None:
    totals = {}
    for config, predicted in ((INTRA, False), (PREDICTED, True)):
        totals[predicted] = sum(mac_per_luma_sample(FrameModel(config, predicted=predicted)).values())
    assert totals[False] < 12500
    assert totals[True] < 5300
