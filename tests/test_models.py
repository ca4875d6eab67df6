"""The networks against their exact twins, their published form and CompressAI's conventions."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("compressai")

import nacre  # noqa: E402
from nacre.entropy.latent import symbols_check  # noqa: E402
from nacre.entropy.network import MAX_PRIOR, IntegerNetwork, known_answer, prior_of  # noqa: E402
from nacre.entropy.scales import LOG_SCALE_MIN, LOG_SCALE_STEP, SCALE_LEVELS  # noqa: E402
from nacre.models import load  # noqa: E402
from nacre.models.complexity import mac_per_pixel  # noqa: E402
from nacre.models.conditional import SymbolConditional  # noqa: E402
from nacre.models.config import ImageConfig, quality_to_lambda  # noqa: E402
from nacre.models.context import NOT_CODED  # noqa: E402
from nacre.models.export import export_scale_decoder  # noqa: E402
from nacre.models.image import ImageModel  # noqa: E402
from nacre.models.loss import normalized_cost  # noqa: E402
from nacre.models.published import read_published  # noqa: E402
from nacre.models.scale_decoder import PRIOR_MAX, ScaleDecoder  # noqa: E402
from nacre.models.scale_decoder import prior_of as torch_prior_of  # noqa: E402
from nacre.models.tables import hyper_tables, integer_network, symbol_tables  # noqa: E402
from nacre.models.transforms import denormalize, normalize  # noqa: E402
from nacre.tools.export import EncoderChoice, publish  # noqa: E402
from nacre.tools.rounding_offsets import rounding_offsets  # noqa: E402
from nacre.tools.tiny_model import CONFIG, build, smooth_noise  # noqa: E402
from nacre.tools.train import load_weights  # noqa: E402

TINY = Path(__file__).parent / "data" / "tiny"


@pytest.fixture(scope="module")
def model() -> ImageModel:
    torch.set_num_threads(1)
    return build().eval()


@pytest.fixture(scope="module")
def network(model: ImageModel) -> IntegerNetwork:
    return integer_network(model.scale_decoder, model.config.rows)


def test_forward_has_compressai_form(model: ImageModel) -> None:
    x = smooth_noise(2, 128)
    with torch.no_grad():
        output = model(x, 60.0)
    assert output["x_hat"].shape == x.shape
    assert output["likelihoods"]["y"].shape == (2, CONFIG.latent_channels, 8, 8)
    assert output["likelihoods"]["z"].shape == (2, CONFIG.hyper_channels, 2, 2)
    for likelihood in output["likelihoods"].values():
        assert float(likelihood.min()) > 0
        assert float(likelihood.max()) <= 1
    # an untrained linear start is already a transform codec
    assert float((output["x_hat"] - x).square().mean()) < 0.01


def test_quality_buys_fidelity(model: ImageModel) -> None:
    x = smooth_noise(1, 128)
    with torch.no_grad():
        errors = [float((model(x, quality)["x_hat"] - x).square().mean()) for quality in (0.0, 50.0, 100.0)]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("row", [0, 4, 10])
def test_scale_decoder_equals_its_integers(model: ImageModel, network: IntegerNetwork, row: int) -> None:
    z = torch.from_numpy(np.random.default_rng(row).integers(-127, 128, (1, CONFIG.hyper_channels, 5, 3))).float()
    with torch.no_grad():
        index = model.scale_decoder(z, torch.tensor([row / (CONFIG.rows - 1)]))
    expected = network.forward(z[0].numpy().astype(np.int32), row)
    assert expected.shape == (CONFIG.latent_channels, 20, 12)
    assert np.array_equal(index[0].numpy().astype(np.uint8), expected)
    assert len(np.unique(expected)) > 5


@pytest.fixture(scope="module")
def seeing() -> ScaleDecoder:
    """A scale decoder with a prior that moves its indices by much."""
    torch.manual_seed(4)
    decoder = ScaleDecoder(replace(CONFIG, scale_prior=6)).eval()
    with torch.no_grad():
        assert decoder.prior is not None
        for layer in (decoder.layers[-1], decoder.prior):
            layer.bias.uniform_(2.0, 30.0)
        decoder.layers[-1].weight[:, CONFIG.scale_fine :] *= 4.0
    return decoder


@pytest.mark.parametrize("row", [0, 4, 10])
def test_a_scale_decoder_with_a_prior_equals_its_integers(seeing: ScaleDecoder, row: int) -> None:
    network = integer_network(seeing, CONFIG.rows)
    assert network.prior is not None
    assert network.prior.out_channels == 6
    random = np.random.default_rng(row)
    z = random.integers(-127, 128, (1, CONFIG.hyper_channels, 5, 3)).astype(np.int32)
    y = np.rint(random.laplace(0, 6, (1, CONFIG.latent_channels, 20, 12))).astype(np.int32)
    before = prior_of(y[0], 20, 12)
    assert before.max() == MAX_PRIOR == PRIOR_MAX
    assert np.array_equal(torch_prior_of(torch.from_numpy(y).float())[0].numpy(), before)
    position = torch.tensor([row / (CONFIG.rows - 1)])
    with torch.no_grad():
        index = seeing(torch.from_numpy(z).float(), position, torch_prior_of(torch.from_numpy(y).float()))
        blank = seeing(torch.from_numpy(z).float(), position)
    expected = network.forward(z[0], row, before)
    assert np.array_equal(index[0].numpy(), expected)
    assert np.array_equal(blank[0].numpy(), network.forward(z[0], row))
    assert np.mean(index.numpy() != blank.numpy()) > 0.3


@pytest.mark.parametrize("prior", [False, True])
def test_scale_graph_equals_the_reference(network: IntegerNetwork, seeing: ScaleDecoder, prior: bool) -> None:
    network = integer_network(seeing, CONFIG.rows) if prior else network
    session = onnxruntime.InferenceSession(
        export_scale_decoder(network).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    assert [part.name for part in session.get_inputs()] == ["z", "row", "before"][: 2 + prior]
    calls = 0

    def executor(z: np.ndarray, row: int, before: np.ndarray | None = None) -> np.ndarray:
        nonlocal calls
        calls += 1
        feed = {"z": z[None].astype(np.float32), "row": np.array([row])}
        if prior:
            shape = CONFIG.latent_channels, 4 * z.shape[1], 4 * z.shape[2]
            feed["before"] = (np.zeros(shape, np.uint8) if before is None else before)[None]
        return session.run(None, feed)[0][0]

    assert known_answer(network, executor) == known_answer(network)
    assert calls > 0
    random = np.random.default_rng(1)
    for height, width in ((1, 1), (1, 7), (4, 3)):
        z = random.integers(-127, 128, (CONFIG.hyper_channels, height, width)).astype(np.int32)
        before = random.integers(0, 16, (CONFIG.latent_channels, 4 * height, 4 * width)).astype(np.uint8)
        assert np.array_equal(executor(z, 3, before), network.forward(z, 3, before))


def test_context_graph_serves_both_ends(model: ImageModel) -> None:
    random = torch.Generator().manual_seed(3)
    y = 5 * torch.randn(1, CONFIG.latent_channels, 8, 12, generator=random)
    z = torch.randint(-3, 4, (1, CONFIG.hyper_channels, 2, 3), generator=random).float()
    mask = (torch.rand(y.shape, generator=random) < 0.8).float()
    rounding = torch.where(mask > 0, 0.5 - 0.3 * torch.rand(y.shape, generator=random), NOT_CODED)
    with torch.no_grad():
        _, symbols, y_hat = model.context(y, z, rounding, torch.tensor([1.0]))
        _, again, y_hat_decoder = model.context(symbols, z, torch.full_like(y, 0.5), torch.tensor([0.0]))
    assert torch.equal(symbols, symbols.round())
    assert torch.equal(symbols * (1 - mask), torch.zeros_like(symbols))
    assert torch.equal(symbols, again)
    assert torch.equal(y_hat, y_hat_decoder)
    error = (y_hat - y).abs() * mask
    assert 0.5 < float(error.max()) <= 0.8 + 1e-4


def test_step_width_graph_serves_both_ends() -> None:
    torch.manual_seed(0)
    context = ImageModel(replace(CONFIG, step_width=True)).context
    for layer in context.predict:
        torch.nn.init.normal_(layer.weight, std=0.3)
    y, z = 5 * torch.randn(1, CONFIG.latent_channels, 4, 4), torch.ones(1, CONFIG.hyper_channels, 1, 1)
    nearest = torch.full_like(y, 0.5)
    with torch.no_grad():
        _, symbols, y_hat = context(y, z, nearest, torch.tensor([1.0]))
        _, _, y_hat_decoder = context(symbols, z, nearest, torch.tensor([0.0]))
    assert torch.equal(y_hat, y_hat_decoder)
    assert 0.3 < float((y_hat - y).abs().max()) <= 0.5 * np.exp(0.5) + 1e-4


@pytest.mark.parametrize("family", ["gaussian", "mixture", "generalized"])
def test_conditionals_are_distributions(family: str) -> None:
    conditional = SymbolConditional(family).double()
    for level in (0, 20, 45):
        radius = int(40 * np.exp(LOG_SCALE_MIN + LOG_SCALE_STEP * level)) + 10
        pmf = conditional.pmf(level, radius)
        assert pmf.sum() == pytest.approx(1.0, abs=1e-4)
        assert np.allclose(pmf, pmf[::-1])
        assert pmf.argmax() == radius


@pytest.mark.parametrize("family", ["mixture", "generalized"])
def test_conditional_gradients(family: str) -> None:
    conditional = SymbolConditional(family).double()
    conditional.bound.bound = conditional.bound.bound.double()
    residual = torch.tensor([-2.3, 0.2, 1.4, 5.0], dtype=torch.float64, requires_grad=True)
    index = torch.tensor([20.0, 18.0, 30.0, 40.0], dtype=torch.float64, requires_grad=True)
    value = torch.log(conditional(residual, index)).sum()
    value.backward()
    step = 1e-5
    with torch.no_grad():
        for place in range(4):
            moved = torch.zeros(4, dtype=torch.float64)
            moved[place] = step
            slope = torch.log(conditional(residual + moved, index)) - torch.log(conditional(residual - moved, index))
            assert float(slope.sum()) / (2 * step) == pytest.approx(float(residual.grad[place]), rel=1e-3, abs=1e-6)
        table = conditional.shape.data
        gradient = conditional.shape.grad[0, 20].item()
        before = table[0, 20].item()
        values = []
        for offset in (1e-4, -1e-4):
            table[0, 20] = before + offset
            values.append(float(torch.log(conditional(residual, index)).sum()))
        table[0, 20] = before
    assert (values[0] - values[1]) / 2e-4 == pytest.approx(gradient, rel=2e-2)


@pytest.mark.parametrize("family", ["gaussian", "mixture"])
def test_likelihood_equals_its_chain(family: str) -> None:
    """Value and gradients of the written-out likelihood, that of the scale index included, against autograd's."""
    torch.manual_seed(5)
    conditional = SymbolConditional(family).double()
    if family == "mixture":
        conditional.shape.data += 0.3 * torch.randn_like(conditional.shape)
    index = torch.randint(0, SCALE_LEVELS, (2, 5, 3, 4)).double().requires_grad_()
    sigma = torch.exp(LOG_SCALE_MIN + LOG_SCALE_STEP * index.detach())
    residual = (sigma * torch.randn(2, 5, 3, 4, dtype=torch.float64)).requires_grad_()  # above the likelihood's floor

    def chained(residual: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
        total = torch.zeros_like(residual)
        for weight, ratio in zip(*conditional.components(), strict=True):
            sigma = torch.exp(LOG_SCALE_MIN + LOG_SCALE_STEP * index) * ratio.double()[index.detach().long()]
            lower, upper = (-0.5 - residual.abs()) / sigma, (0.5 - residual.abs()) / sigma
            total = total + weight.double()[index.detach().long()] * (normal.cdf(upper) - normal.cdf(lower))
        return total

    weights = torch.rand_like(residual)
    tensors = [residual, index, *conditional.parameters()]
    written, autograd = (
        torch.autograd.grad((torch.log(function(residual, index)) * weights).sum(), tensors)
        for function in (conditional, chained)
    )
    for found, expected in zip(written, autograd, strict=True):
        assert torch.allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_patches_are_pixels(model: ImageModel) -> None:
    pixels = normalize(smooth_noise(2, 64) * 255)
    quality = torch.tensor([20.0, 70.0])
    patches = torch.nn.functional.pixel_unshuffle(pixels, 8)
    with torch.no_grad():
        expected, found = (model.code(x, quality, hard=True) for x in (pixels, patches))
    moved = torch.nn.functional.pixel_shuffle(found["x_hat"], 8)
    assert torch.allclose(moved, expected["x_hat"], atol=1e-4)
    lmbda = torch.tensor([0.01, 0.1])
    costs = normalized_cost(expected, pixels, lmbda), normalized_cost(found, patches, lmbda)
    for by_pixels, by_patches in zip(*costs, strict=True):
        assert torch.allclose(by_pixels, by_patches, rtol=1e-4)


@pytest.mark.parametrize("family", ["gaussian", "mixture", "generalized"])
def test_integer_tables_cost_what_the_likelihood_says(family: str) -> None:
    conditional = SymbolConditional(family)
    tables = symbol_tables(conditional)
    assert len(tables) == SCALE_LEVELS
    for level in (0, 15, 30, 50, 63):
        cdf = tables.table(level).astype(np.int64)
        radius = (len(cdf) - 3) // 2
        frequencies = np.diff(cdf)
        pmf = SymbolConditional(family).double().pmf(level, radius)
        excess = (pmf * np.log2(pmf / (frequencies[:-1] / 65536))).sum()
        entropy = -(pmf * np.log2(pmf)).sum()
        assert abs(excess) < 0.005 * entropy + 0.001


def test_hyper_tables_follow_the_prior(model: ImageModel) -> None:
    tables = hyper_tables(model.prior, CONFIG.rows)
    assert len(tables) == CONFIG.rows * CONFIG.hyper_channels
    pmf = model.prior.pmf(0.5, 127)
    assert np.allclose(pmf.sum(1), 1, atol=1e-3)
    cdf = tables.table(5 * CONFIG.hyper_channels + 2).astype(np.int64)
    radius = (len(cdf) - 3) // 2
    assert np.abs(np.diff(cdf)[:-1] / 65536 - pmf[2, 127 - radius : 128 + radius]).max() < 1e-3


def test_published_weights_come_back(model: ImageModel) -> None:
    config, parameters = read_published(TINY)
    assert config == CONFIG
    assert set(parameters) == {name for name, _ in model.named_parameters()}
    loaded = load("tiny", weights=TINY)
    again = integer_network(loaded.scale_decoder, CONFIG.rows)
    for layer, expected in zip(again.layers, integer_network(model.scale_decoder, CONFIG.rows).layers, strict=True):
        scale, reference = np.exp2(-layer.shift.astype(float)), np.exp2(-expected.shift.astype(float))
        assert np.allclose(layer.weight * scale[:, None], expected.weight * reference[:, None])
    x = smooth_noise(1, 64)
    with torch.no_grad():
        difference = (loaded(x, 40.0)["x_hat"] - model(x, 40.0)["x_hat"]).abs().max()
    assert float(difference) < 0.05  # half precision may move a symbol, no more


def test_graphs_equal_the_modules() -> None:
    loaded = load("tiny", weights=TINY)
    image = (smooth_noise(1, 128) * 255).round().to(torch.uint8)
    position = torch.tensor([0.7])

    def run(name: str, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        session = onnxruntime.InferenceSession(TINY / name, providers=["CPUExecutionProvider"])
        return session.run(None, feed)

    with torch.no_grad():
        y = loaded.analysis(normalize(image.float()), position)
        z = loaded.hyper_analysis(y).round().clamp(-127, 127)
        y_graph, z_graph = run(
            "analysis.onnx", {"image": image.permute(0, 2, 3, 1).numpy(), "position": position.numpy()}
        )
        assert np.allclose(y_graph, y.numpy(), rtol=1e-4, atol=1e-3)
        assert np.mean(z_graph != z.numpy()) < 0.01
        nearest = torch.full_like(y, 0.5)
        _, symbols, y_hat = loaded.context(y, z, nearest, torch.tensor([1.0]))
        encoding = np.ones(1, np.float32)
        feed = {"target": y.numpy(), "z_hat": z.numpy(), "rounding": nearest.numpy(), "encoding": encoding}
        symbols_graph, _ = run("context.onnx", feed)
        assert np.mean(symbols_graph != symbols.numpy()) < 0.001
        picture = loaded(image.float() / 255, 70.0)["x_hat"] * 255
        decoded = run("synthesis.onnx", {"y_hat": y_hat.numpy(), "position": position.numpy()})[0]
        expected = loaded.synthesis(y_hat, position) * 64 + 127.5
        assert np.abs(decoded[0].transpose(2, 0, 1) - expected[0].clamp(0, 255).numpy()).max() <= 0.51
        assert picture.shape == image.shape


def test_pytorch_decodes_what_the_codec_decodes() -> None:
    """From one stream: the same symbols, and pictures within 2 of 255 through the same float networks."""
    from nacre.bitstream import read_picture
    from nacre.entropy.latent import decode_tile

    image = (smooth_noise(1, 128)[0] * 255).round().byte().permute(1, 2, 0).numpy()
    codec = nacre.ImageCodec(weights=TINY)
    data = codec.encode(image, 70)
    stream = read_picture(io.BytesIO(data))
    header, tile = stream.header, stream.tiles[0]
    loaded = load("tiny", weights=TINY)
    rows = CONFIG.rows
    row = (header.quality * (rows - 1) + 12800) // 25600

    def torch_scale_decoder(z: np.ndarray, row: int, _before: np.ndarray | None = None) -> np.ndarray:
        with torch.no_grad():
            index = loaded.scale_decoder(torch.from_numpy(z[None]).float(), torch.tensor([row / (rows - 1)]))
        return index[0].numpy().astype(np.uint8)

    symbols = decode_tile(
        tile.payload, (CONFIG.hyper_channels, 2, 2), (CONFIG.latent_channels, 8, 8), row,
        hyper_tables(loaded.prior, rows), symbol_tables(loaded.conditional), torch_scale_decoder,
        header.live_channels, header.skip_threshold,
    )  # fmt: skip
    assert symbols_check(symbols.z, symbols.y[: header.live_channels]) == tile.check
    y, z = (torch.from_numpy(part[None]).float() for part in (symbols.y, symbols.z))
    with torch.no_grad():
        _, _, y_hat = loaded.context(y, z, torch.full_like(y, 0.5), torch.tensor([0.0]))
        pixels = denormalize(loaded.synthesis(y_hat, torch.tensor([0.7]))).round().clamp(0, 255)
    difference = np.abs(pixels[0].permute(1, 2, 0).numpy() - codec.decode_array(data))
    assert difference.max() <= 2
    assert np.mean(difference > 0) <= 0.001


@pytest.mark.parametrize("hard", [False, True])
def test_the_rate_pulls_at_the_symbols(model: ImageModel, hard: bool) -> None:
    """Straight through the rounding as well: away from 0, where a likelihood is flat, the pull is towards 0."""
    coded: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: object, output: tuple[torch.Tensor, ...]) -> None:
        output[int(hard)].retain_grad()  # residuals, or symbols
        coded.append(output[int(hard)])

    handle = model.context.register_forward_hook(keep)
    output = model.code(normalize(smooth_noise(1, 64) * 255), torch.tensor([60.0]), hard=hard)
    handle.remove()
    (-torch.log2(output["likelihoods"]["y"]).sum()).backward()
    model.zero_grad()
    gradient = coded[0].grad
    assert gradient is not None
    large = coded[0].abs() > 1.5
    assert int(large.sum()) > 10
    assert bool((gradient[large] * coded[0][large] > 0).all())


def test_fast_keeps_its_budget() -> None:
    counts = mac_per_pixel(ImageModel(ImageConfig()).eval())
    assert sum(count for part, count in counts.items() if part != "synthesis") <= 3500
    assert counts["synthesis"] <= 12000


def test_cost_weighs_rate_and_distortion() -> None:
    x = torch.zeros(1, 3, 64, 64)
    output = {"x_hat": x + 2 / 64, "likelihoods": {"y": torch.full((1, 4, 4, 4), 0.5)}}
    cost, rate, distortion = normalized_cost(output, x, torch.tensor([0.04]))
    assert float(rate) == pytest.approx(64 / 4096)
    assert float(distortion) == pytest.approx(4.0)
    assert float(cost) == pytest.approx(64 / 4096 / 0.2 + 0.2 * 4.0)
    assert quality_to_lambda(0) == pytest.approx(0.0005)
    assert quality_to_lambda(100) == pytest.approx(0.3)


def test_a_heavier_analysis_starts_as_the_light_one_and_is_published(tmp_path: Path) -> None:
    folder, run = tmp_path / "light", tmp_path / "heavy"
    light = build().eval()
    choice = EncoderChoice(rounding_offsets(symbol_tables(light.conditional), 0.5), 4)
    publish(light, folder, choice=choice, live=[24] * 11, version="0", notes={})
    changes = {"heavy_blocks": 2, "heavy_hidden": 32, "heavy_latent_blocks": 1, "heavy_latent_hidden": 24}
    model, missing = load_weights(folder, **changes)
    assert missing
    assert all(name.startswith("heavy_analysis.") for name in missing)
    model.eval()
    x, quality = normalize(smooth_noise(2, 64) * 255), torch.tensor([30.0, 80.0])
    with torch.no_grad():
        by_light, by_heavy = (model.code(x, quality, hard=True, heavy=heavy)["x_hat"] for heavy in (False, True))
        assert torch.equal(by_light, by_heavy)
        model.heavy_analysis.blocks[-1].project.weight.normal_(std=0.1)
        by_heavy = model.code(x, quality, hard=True, heavy=True)["x_hat"]
        assert not torch.allclose(by_light, by_heavy, atol=1e-2)
    publish(model, run, choice=choice, live=[24] * 11, version="0", notes={})
    digests = [(path / "manifest.json").read_text().split('"digest": "')[1][:64] for path in (folder, run)]
    assert digests[0] == digests[1]  # streams of either analysis are for the same decoder
    back, missing = load_weights(run)
    assert not missing
    with torch.no_grad():
        published, trained = (network.eval().heavy_analysis(x, quality / 100) for network in (back, model))
    assert torch.allclose(published, trained, rtol=1e-2, atol=0.02 * float(trained.std()))  # half precision
    assert mac_per_pixel(back)["heavy_analysis"] > mac_per_pixel(back)["analysis"]
