"""The sizes and switches of a profile: everything that a checkpoint needs besides its parameters."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

Conditional = Literal["gaussian", "mixture", "generalized"]

_FORMER = {"light_blocks", "light_hidden"}  # entries of configurations that versions before have written

LAMBDA_MIN = 0.0005
LAMBDA_MAX = 0.3


def quality_to_lambda(quality: float) -> float:
    """Lagrangian multiplier of a quality in 0..100, log-spaced 0.0005 to 0.3 (squared error on the 0..255 scale)."""
    return float(LAMBDA_MIN * (LAMBDA_MAX / LAMBDA_MIN) ** (quality / 100.0))


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Widths of the image networks; channel counts at the resolution that the name says (1/8, 1/16, ...)."""

    name: str = "fast"
    latent_channels: int = 320  # y at 1/16
    hyper_channels: int = 128  # z at 1/64
    hyper_hidden: int = 96  # at 1/16
    hyper_magnitudes: bool = False  # what the hyper-analysis sees of the latent: magnitudes, or signs as well
    analysis_width: int = 112  # at 1/8
    analysis_hidden: int = 128
    analysis_blocks: int = 2
    analysis_latent_hidden: int = 160  # at 1/16
    analysis_latent_blocks: int = 1
    heavy_blocks: int = 0  # that a heavier analysis for the same decoder has more; 0 with heavy_latent_blocks 0: none
    heavy_hidden: int = 448  # at 1/8
    heavy_latent_blocks: int = 0
    heavy_latent_hidden: int = 640  # at 1/16
    synthesis_width: int = 160  # at 1/8
    synthesis_hidden: int = 320
    synthesis_blocks: int = 4
    synthesis_latent_hidden: int = 320  # at 1/16
    synthesis_latent_blocks: int = 2
    context_width: int = 192  # at 1/32
    context_hidden: int = 256  # at 1/64
    scale_hidden: int = 128  # at 1/64 and 1/32
    scale_upsampled: int = 64  # at 1/32
    scale_fine: int = 80  # at 1/16
    scale_prior: int = 0  # at 1/16, made of the symbols of the frame before; 0: these are not looked at
    anchors: int = 9  # qualities between which gains are interpolated
    rows: int = 51  # entropy rows: qualities for which the integer tables and biases are stored
    conditional: Conditional = "mixture"
    step_width: bool = False  # predict a step width beside the mean

    @property
    def has_heavy_analysis(self) -> bool:
        """Whether there is a heavier analysis beside the ordinary one."""
        return self.heavy_blocks > 0 or self.heavy_latent_blocks > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a manifest or a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The configuration of ``to_dict``; a name that this version does not know raises ValueError."""
        values = {name: entry for name, entry in values.items() if name not in _FORMER}
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            msg = f"configuration has unknown entries {sorted(unknown)}"
            raise ValueError(msg)
        return cls(**values)
