"""PyTorch networks of nacre (extra ``train``): transforms, likelihoods, losses, integer layers."""

from __future__ import annotations

from pathlib import Path

from nacre.models.config import ImageConfig
from nacre.models.image import ImageModel

__all__ = ["ImageConfig", "ImageModel", "load"]


def load(profile: str = "fast", weights: str | Path | None = None) -> ImageModel:
    """The installed model of ``profile`` (searched in ``weights`` where given) as an nn.Module in evaluation mode.

    ``forward(x, quality)`` takes x (B, 3, H, W) in 0..1 with sides that are multiples of 64 and returns {"x_hat",
    "likelihoods": {"y", "z"}}. Every file is verified by its digest. Raises WeightsNotFoundError or WeightsError.
    """
    from nacre.models.published import load_published
    from nacre.weights import store

    installed = store.load(profile, weights)
    for name in installed.files:
        installed.read(name)
    return load_published(installed.folder)
