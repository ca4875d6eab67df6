"""Networks of video: patches of YUV 4:2:0, and where intra and predicted frames begin."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("compressai")

from dataclasses import replace  # noqa: E402

from nacre.models.config import ImageConfig  # noqa: E402
from nacre.models.frame_start import intra_from_stills, predicted_start  # noqa: E402
from nacre.models.frames import Planes, round_planes, to_patches, to_planes  # noqa: E402
from nacre.models.image import ImageModel  # noqa: E402
from nacre.models.transforms import HyperAnalysis, normalize  # noqa: E402
from nacre.models.video import FrameModel  # noqa: E402

SMALL = ImageConfig(
    latent_channels=64,
    hyper_channels=16,
    hyper_hidden=16,
    analysis_width=48,
    analysis_hidden=16,
    analysis_latent_hidden=16,
    synthesis_width=48,
    synthesis_hidden=16,
    synthesis_blocks=1,
    synthesis_latent_hidden=16,
    synthesis_latent_blocks=1,
    context_width=16,
    context_hidden=16,
    scale_hidden=16,
    scale_upsampled=8,
    scale_fine=8,
    rows=5,
)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def planes(*, batch: int = 2, height: int = 64, width: int = 128) -> Planes:
    """Smooth frames with some noise."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    luma = 128 + 60 * torch.sin(y / 9.0) * torch.cos(x / 13.0)
    luma = (luma + torch.randn(batch, 1, height, width) * 4).round().clamp(16, 235)
    chroma = (128 + 20 * torch.randn(batch, 2, 1, 1)).expand(batch, 2, height // 2, width // 2)
    return Planes(luma, (chroma + torch.randn(batch, 2, height // 2, width // 2)).round().clamp(16, 240))


def test_patches_hold_the_planes() -> None:
    frame = planes()
    patches = to_patches(frame)
    assert patches.shape == (2, 96, 8, 16)
    back = round_planes(to_planes(patches))
    assert torch.equal(back.luma, frame.luma)
    assert torch.equal(back.chroma, frame.chroma)


def test_error_of_patches_weights_the_planes_as_stated() -> None:
    frame = planes()
    other = Planes(frame.luma + 3, torch.stack([frame.chroma[:, 0] + 2, frame.chroma[:, 1] - 5], 1))
    error = (to_patches(other) - to_patches(frame)).square().mean() * 64**2
    assert error.item() == pytest.approx((6 * 9 + 2 * 4 + 2 * 25) / 9, rel=1e-4)


def test_intra_frames_begin_with_the_stills_latent() -> None:
    stills, model = ImageModel(SMALL), FrameModel(SMALL, predicted=False)
    intra_from_stills(model, stills.state_dict())
    frame = planes()
    luma, chroma = frame.luma - 16, frame.chroma.repeat_interleave(2, 2).repeat_interleave(2, 3) - 128
    u, v = chroma[:, :1], chroma[:, 1:]
    red, blue = 1.164384 * luma + 1.596027 * v, 1.164384 * luma + 2.017232 * u
    rgb = torch.cat([red, 1.164384 * luma - 0.391762 * u - 0.812968 * v, blue], 1)
    position = torch.tensor([0.2, 0.7])
    expected = stills.analysis(normalize(rgb), position)
    assert torch.allclose(
        model.analysis(to_patches(frame), position), expected, atol=1e-3 * expected.abs().max().item()
    )
    # the synthesis of a grey picture has no detail of chroma that half the resolution would lose
    y_hat = torch.zeros(1, 64, 4, 8)
    grey = to_planes(model.synthesis.frame(y_hat, position[:1], None))
    pixels = stills.synthesis(y_hat, position[:1]) * 64 + 127.5
    expected_luma = 16 + (0.299 * pixels[:, :1] + 0.587 * pixels[:, 1:2] + 0.114 * pixels[:, 2:]) / 1.164384
    assert (grey.luma - expected_luma).abs().mean() < 1.0


def test_further_forms_of_stills_are_left_out() -> None:
    model = FrameModel(SMALL, predicted=False)
    stills = ImageModel(replace(SMALL, heavy_blocks=1)).state_dict()  # as published ones may be
    intra_from_stills(model, stills)
    assert torch.equal(model.analysis.down.weight, stills["analysis.down.weight"])


def test_shapes_that_differ_from_the_stills_are_refused() -> None:
    model = FrameModel(replace(SMALL, latent_channels=48), predicted=False)
    with pytest.raises(RuntimeError):
        intra_from_stills(model, ImageModel(SMALL).state_dict())


def test_predicted_frames_begin_as_a_codec_of_the_residual() -> None:
    model = FrameModel(SMALL, predicted=True).eval()
    before, frame = planes(batch=4), planes(batch=4)
    x, prediction = to_patches(frame), to_patches(before)
    predicted_start(model, x - prediction)
    errors = []
    for quality in (10.0, 90.0):
        with torch.no_grad():
            output = model.code(x, prediction, torch.full((4,), quality), hard=True)
        assert output["x_hat"].shape == x.shape
        errors.append((output["x_hat"] - x).square().mean().item())
    assert errors[1] < errors[0] < (prediction - x).square().mean().item() * 1.001
    # what is not there to be coded costs nothing in pixels: prediction and frame the same
    with torch.no_grad():
        output = model.code(prediction, prediction, torch.full((4,), 50.0), hard=True)
    assert (output["x_hat"] - prediction).abs().max().item() < 0.05


def test_a_residual_stays_where_it_is() -> None:
    """At the start one 4x4 block of luma meets latent channels of its own quarter alone, and comes back."""
    config = replace(SMALL, latent_channels=384, analysis_width=96, synthesis_width=96)
    model = FrameModel(config, predicted=True).eval()
    predicted_start(model, torch.randn(256, 96, 4, 4))
    frame = planes(batch=1)
    prediction = to_patches(frame)
    seen: set[int] = set()
    for y, x in [(0, 4), (4, 8), (8, 4), (12, 12), (12, 8)]:
        luma = frame.luma.clone()
        luma[..., 16 + y : 20 + y, 32 + x : 36 + x] += 32 * torch.randn(4, 4)
        changed = to_patches(Planes(luma, frame.chroma))
        best = torch.tensor([1.0])
        with torch.no_grad():
            latent = model.analysis(torch.cat([changed - prediction, prediction], 1), best)
            x_hat = model.synthesis.frame(latent, best, prediction)
        touched = torch.nonzero(latent.abs() > 1e-3)
        assert {(row, column) for _, _, row, column in touched.tolist()} == {(1, 2)}
        assert len(touched) == 16
        assert seen.isdisjoint(touched[:, 1].tolist())
        seen.update(touched[:, 1].tolist())
        assert torch.allclose(x_hat, changed, atol=1e-4)


@pytest.mark.parametrize("magnitudes", [True, False])
def test_what_the_hyper_analysis_sees_of_signs(magnitudes: bool) -> None:
    analysis = HyperAnalysis(replace(SMALL, hyper_magnitudes=magnitudes))
    y = 3 * torch.randn(2, 64, 4, 8)
    assert torch.equal(analysis(y), analysis(-y)) is magnitudes
    assert not torch.allclose(analysis(y), analysis(2 * y))


def test_every_parameter_of_predicted_frames_is_used() -> None:
    model = FrameModel(SMALL, predicted=True)
    for block in model.modules():
        if isinstance(block, torch.nn.Conv2d):
            torch.nn.init.normal_(block.weight, std=0.1)
    x, prediction = to_patches(planes()), to_patches(planes())
    output = model.code(x, prediction, torch.tensor([30.0, 60.0]), hard=False)
    rate = sum(-torch.log2(part).mean() for part in output["likelihoods"].values())
    ((output["x_hat"] - x).square().mean() + rate).backward()
    unused = [name for name, part in model.named_parameters() if part.grad is None and "bottleneck" not in name]
    assert unused == []
