"""The written-out adjoint of the synthesis against autograd, and the graph that ships of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("compressai")
from nacre.models.adjoint import DistortionGradient  # noqa: E402
from nacre.models.config import ImageConfig, quality_to_lambda  # noqa: E402
from nacre.models.image import ImageModel  # noqa: E402
from nacre.models.published import load_published  # noqa: E402
from nacre.models.transforms import denormalize  # noqa: E402

CONFIG = ImageConfig(
    name="small", latent_channels=6, hyper_channels=4, hyper_hidden=4, analysis_width=6, analysis_hidden=4,
    synthesis_width=5, synthesis_hidden=7, synthesis_blocks=2, synthesis_latent_hidden=9, synthesis_latent_blocks=2,
    context_width=4, context_hidden=4, scale_hidden=4, scale_upsampled=4, scale_fine=4, anchors=3, rows=3,
)  # fmt: skip


def _inputs(channels: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """y_hat (1, C, 8, 4), samples of which some are clipped, and which count."""
    generator = torch.Generator().manual_seed(seed)
    y_hat = 3 * torch.randn(1, channels, 8, 4, generator=generator)
    patches = torch.randint(0, 256, (1, 192, 16, 8), generator=generator, dtype=torch.uint8)
    counted = torch.randint(0, 2, (1, 192, 16, 8), generator=generator, dtype=torch.uint8)
    return y_hat, patches, counted


def _by_autograd(
    model: ImageModel, y_hat: torch.Tensor, patches: torch.Tensor, counted: torch.Tensor, quality: float
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Gradient, distortion, and the share of samples that are clipped."""
    variable = y_hat.clone().requires_grad_()
    samples = denormalize(model.synthesis(variable, torch.tensor([quality / 100])))
    wanted = torch.nn.functional.pixel_shuffle(patches.double(), 8)
    weight = torch.nn.functional.pixel_shuffle(counted.double(), 8)
    distortion = quality_to_lambda(quality) * ((samples.clamp(0, 255) - wanted).square() * weight).sum() / 3
    (gradient,) = torch.autograd.grad(distortion, variable)
    return gradient, distortion.detach(), float(((samples < 0) | (samples > 255)).float().mean())


@pytest.mark.parametrize("quality", [0.0, 37.0, 100.0])
def test_adjoint_is_what_autograd_gives(quality: float) -> None:
    torch.manual_seed(3)
    model = ImageModel(CONFIG)
    with torch.no_grad():
        for parameter in model.synthesis.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    inputs = _inputs(CONFIG.latent_channels, 1)
    gradient, distortion = DistortionGradient(model)(*inputs, torch.tensor([quality / 100]))
    expected, value, clipped = _by_autograd(model, *inputs, quality)
    assert 0.01 < clipped < 0.9
    assert distortion.item() == pytest.approx(value.item(), rel=1e-4)
    assert (gradient - expected).abs().max() < 1e-4 * expected.abs().max()


def test_published_graph_is_that_of_the_published_synthesis(tiny_folder: Path) -> None:
    model = load_published(tiny_folder)
    inputs = _inputs(model.config.latent_channels, 2)
    expected, value, _ = _by_autograd(model, *inputs, 50.0)
    session = onnxruntime.InferenceSession(tiny_folder / "refine.onnx", providers=["CPUExecutionProvider"])
    names = ("y_hat", "patches", "counted", "position")
    feed = dict(zip(names, (*(part.numpy() for part in inputs), np.array([0.5], np.float32)), strict=True))
    gradient, distortion = session.run(["gradient", "distortion"], feed)
    assert distortion[0] == pytest.approx(value.item(), rel=1e-4)
    assert np.abs(gradient - expected.numpy()).max() < 1e-4 * np.abs(expected.numpy()).max()
