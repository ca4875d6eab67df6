"""PyTorch networks of nacre (extra ``train``): transforms, likelihoods, losses, integer layers."""

from __future__ import annotations

from pathlib import Path

from nacre.models.config import ImageConfig
from nacre.models.image import ImageModel

__all__ = ["ImageConfig", "ImageModel", "load"]


def load(profile: str = "fast", weights: str | Path | None = None) -> ImageModel:
    """The installed model of ``profile`` (or that of the folder ``weights``) as an nn.Module in evaluation mode.

    ``forward(x, quality)`` takes x (B, 3, H, W) in 0..1 with sides that are multiples of 64 and returns {"x_hat",
    "likelihoods": {"y", "z"}}. Raises WeightsNotFoundError or WeightsError.
    """
    from nacre import weights as installed
    from nacre.models.published import load_published

    return load_published(Path(weights) if weights is not None else Path(installed.__file__).parent / profile)
