"""The published weights, on photographs that come inside scikit-image; slow ones on Kodak where it is at hand."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nacre
from nacre.bitstream import read_picture
from nacre.stopwatch import Stopwatch
from nacre.tile import TileCoding
from nacre.weights import store

skdata = pytest.importorskip("skimage.data")
WEIGHTS = Path(store.__file__).parent  # the package's own, whatever NACRE_WEIGHTS names


@pytest.fixture(scope="module")
def codec() -> nacre.ImageCodec:
    return nacre.ImageCodec(profile="fast", weights=WEIGHTS)


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    return [skdata.astronaut(), skdata.chelsea(), skdata.coffee()]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_sizes_and_fidelity_rise_with_quality(codec: nacre.ImageCodec, photographs: list[np.ndarray]) -> None:
    sizes, fidelities = [], []
    for quality in range(0, 101, 5):
        streams = [codec.encode(picture, quality) for picture in photographs]
        sizes.append(np.mean([8 * len(s) / p[..., 0].size for s, p in zip(streams, photographs, strict=True)]))
        decoded = [codec.decode_array(stream) for stream in streams]
        fidelities.append(np.mean([psnr(d, p) for d, p in zip(decoded, photographs, strict=True)]))
    assert np.all(np.diff(sizes) > 0)
    assert np.all(np.diff(fidelities) > 0)
    assert sizes[0] <= 0.10
    assert sizes[-1] >= 1.8  # 2.0 on Kodak, whose pictures have more detail


def test_pytorch_has_the_stored_integers_at_every_row() -> None:
    """One position at a time: interpolated biases once rounded differently from those of all rows together."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("compressai")
    from nacre.entropy.network import IntegerNetwork
    from nacre.models.published import load_published

    model = load_published(WEIGHTS / "fast")
    arrays = store.load("fast", WEIGHTS).arrays("entropy.npz")
    network = IntegerNetwork.from_arrays(
        {name.removeprefix("scale."): array for name, array in arrays.items() if name.startswith("scale.")}
    )
    last = model.config.rows - 1
    random = np.random.default_rng(0)
    for row in range(last + 1):
        z = random.integers(-20, 21, (model.config.hyper_channels, 1, 2)).astype(np.int32)
        with torch.no_grad():
            index = model.scale_decoder(torch.from_numpy(z)[None].float(), torch.tensor([row / last]))
            for layer, module in zip(network.layers, model.scale_decoder.layers, strict=True):
                _, bias, _ = module.integers(torch.tensor([row / last]))
                expected = layer.bias[row] if len(layer.bias) > 1 else layer.bias[0]
                assert np.array_equal(bias.reshape(-1).numpy(), expected), row
        assert np.array_equal(index[0].numpy().astype(np.uint8), network.forward(z, row)), row
    model.train()
    assert model.scale_decoder.layers[0].stored_bias is None


def coded_by_pillow(picture: np.ndarray, kind: str, quality: int) -> tuple[int, float]:
    """Bytes and PSNR of another format at a quality."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, quality=quality)
    return buffer.tell(), psnr(np.asarray(Image.open(buffer).convert("RGB")), picture)


def test_smaller_than_jpeg_and_webp(codec: nacre.ImageCodec, photographs: list[np.ndarray]) -> None:
    """At the quality of the default, JPEG and WebP need more bytes for as much PSNR, if they reach it at all."""
    for picture in photographs:
        stream = codec.encode(picture, 60)
        ours = psnr(codec.decode_array(stream), picture)
        compared = 0
        for kind in ("JPEG", "WEBP"):
            best = 0.0
            for quality in range(20, 101):
                size, theirs = coded_by_pillow(picture, kind, quality)
                best = max(best, theirs)
                if theirs >= ours:
                    assert size > len(stream), kind
                    compared += 1
                    break
            else:
                assert best < ours, kind
        assert compared >= 1


def estimated_and_coded_bits(codec: nacre.ImageCodec, picture: np.ndarray, quality: float) -> tuple[float, int, int]:
    """Bits that the model's likelihoods give the symbols of a stream, bits of its payload, bytes around the payload."""
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("nacre.models")
    data = codec.encode(picture, quality)
    stream = read_picture(io.BytesIO(data))
    header, (tile,) = stream.header, stream.tiles
    coder = codec._coder(header.profile, header.digest, tiles=False)
    coding = TileCoding(header.width, header.height, header.quality, header.live_channels, header.skip_threshold)
    symbols = coder.decode_symbols(tile.payload, tile.check, coding, Stopwatch())
    model = models.load("fast", WEIGHTS)
    position = torch.tensor([coder.row(coding.quality) / (coder.weights.rows - 1)])
    index = torch.from_numpy(symbols.scale_index[: coding.live].astype(np.float32))
    y = torch.from_numpy(symbols.y[: coding.live].astype(np.float32))
    z = torch.from_numpy(symbols.z.astype(np.float32))
    with torch.no_grad():
        bits = -torch.log2(model.conditional(y, index)[index >= coding.skip]).sum()
        bits -= torch.log2(model.prior(z[None], position)).sum()
    payload = len(tile.payload)
    return float(bits), 8 * payload, len(data) - payload


@pytest.mark.parametrize("quality", [20, 50, 80])
def test_estimated_bits_are_the_coded_bits(
    codec: nacre.ImageCodec, photographs: list[np.ndarray], quality: float
) -> None:
    for picture in photographs:
        estimated, coded, around = estimated_and_coded_bits(codec, picture, quality)
        assert coded == pytest.approx(estimated, rel=0.005)
        assert around <= 96


@pytest.mark.slow
@pytest.mark.parametrize("quality", [20, 50, 80])
def test_estimated_bits_on_kodak(codec: nacre.ImageCodec, kodak_pictures: list[Path], quality: float) -> None:
    worst = 0.0
    for path in kodak_pictures:
        estimated, coded, around = estimated_and_coded_bits(codec, np.asarray(Image.open(path).convert("RGB")), quality)
        worst = max(worst, abs(coded / estimated - 1))
        assert around <= 96
    print(f"quality {quality}: coded and estimated bits differ by at most {100 * worst:.2f} %")
    assert worst <= 0.005
