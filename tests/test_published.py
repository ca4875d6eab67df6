"""The published weights, on photographs that come inside scikit-image; slow ones on Kodak where it is at hand."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nacre
from nacre.bitstream import read_picture
from nacre.entropy.latent import decode_tile
from nacre.entropy.network import IntegerNetwork
from nacre.entropy.tables import TableSet
from nacre.weights import store

skdata = pytest.importorskip("skimage.data")
KODAK = Path(os.environ.get("NACRE_DATA", Path(__file__).parents[2] / "shared" / "data")) / "images" / "kodak"


@pytest.fixture(scope="module")
def codec() -> nacre.ImageCodec:
    # the tests' conftest points NACRE_WEIGHTS at the tiny model: these are the package's own
    return nacre.ImageCodec(profile="fast", weights=Path(store.__file__).parent)


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
    assert sizes[-1] >= 2.0


def test_smaller_than_jpeg_and_webp(codec: nacre.ImageCodec, photographs: list[np.ndarray]) -> None:
    """At the quality of the default, JPEG and WebP need more bytes for no more PSNR."""
    for picture in photographs:
        stream = codec.encode(picture, 60)
        ours = psnr(codec.decode_array(stream), picture)
        for kind in ("JPEG", "WEBP"):
            for quality in range(20, 101):
                buffer = io.BytesIO()
                Image.fromarray(picture).save(buffer, kind, quality=quality)
                if psnr(np.asarray(Image.open(buffer).convert("RGB")), picture) >= ours:
                    assert buffer.tell() > len(stream), kind
                    break


def estimated_and_coded_bits(codec: nacre.ImageCodec, picture: np.ndarray, quality: float) -> tuple[float, int, int]:
    """Bits that the model's likelihoods give the symbols of a stream, bits of its payload, bytes around the payload."""
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("nacre.models")
    data = codec.encode(picture, quality)
    stream = read_picture(io.BytesIO(data))
    header, tile = stream.header, stream.tiles[0]
    weights = store.load("fast", Path(store.__file__).parent)
    arrays = weights.arrays("entropy.npz")

    def part(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    row = (header.quality * (weights.rows - 1) + 12800) // 25600
    grid = [-(-side // 16) for side in (header.height, header.width)]
    coarse = [-(-side // 64) for side in (header.height, header.width)]
    symbols = decode_tile(
        tile.payload, (weights.hyper_channels, *coarse), (weights.latent_channels, *grid), row,
        TableSet.from_arrays(part("z.")), TableSet.from_arrays(part("y.")),
        IntegerNetwork.from_arrays(part("scale.")), header.live_channels, header.skip_threshold,
    )  # fmt: skip
    model = models.load("fast", Path(store.__file__).parent)
    index = torch.from_numpy(symbols.scale_index[: header.live_channels].astype(np.float32))
    y = torch.from_numpy(symbols.y[: header.live_channels].astype(np.float32))
    z = torch.from_numpy(symbols.z.astype(np.float32))
    with torch.no_grad():
        bits = -torch.log2(model.conditional(y, index)[index >= header.skip_threshold]).sum()
        bits -= torch.log2(model.prior(z[None], torch.tensor([row / (weights.rows - 1)]))).sum()
    return float(bits), 8 * len(tile.payload), len(data) - len(tile.payload)


@pytest.mark.parametrize("quality", [20, 50, 80])
def test_estimated_bits_are_the_coded_bits(
    codec: nacre.ImageCodec, photographs: list[np.ndarray], quality: float
) -> None:
    for picture in photographs:
        estimated, coded, around = estimated_and_coded_bits(codec, picture, quality)
        assert coded == pytest.approx(estimated, rel=0.005)
        assert around <= 96


@pytest.mark.slow
@pytest.mark.skipif(not KODAK.exists(), reason=f"no Kodak pictures in {KODAK}")
@pytest.mark.parametrize("quality", [20, 50, 80])
def test_estimated_bits_on_kodak(codec: nacre.ImageCodec, quality: float) -> None:
    worst = 0.0
    for path in sorted(KODAK.glob("*.png")):
        estimated, coded, around = estimated_and_coded_bits(codec, np.asarray(Image.open(path).convert("RGB")), quality)
        worst = max(worst, abs(coded / estimated - 1))
        assert around <= 96
    print(f"quality {quality}: coded and estimated bits differ by at most {100 * worst:.2f} %")
    assert worst <= 0.005
