"""Whether a frame shows another scene than the one before it: motion finds nothing there that is worth referring to."""

from __future__ import annotations

import numpy as np

from nacre.compensation import Plane

_BLOCK = 8
_SHARE = 0.6  # of what a block's mean leaves, that the best prediction leaves where scenes change
_RISE = 2.0  # times what predictions have left before
_LEAST = 4.0  # mean absolute difference, in steps of 255, below which a prediction is good whatever the blocks are
_FOLLOW = 0.25  # share of a frame that is predicted worse than usual in what is usual


class SceneCuts:
    """Finds the frames of a clip that should begin a GOP, from how badly they are predicted.

    Compared are, over the frame, the mean absolute difference from the motion-compensated prediction, that from each
    8x8 block's own mean, and what was left by the predictions before, since a coarse reference predicts badly, too.
    """

    def __init__(self) -> None:
        self._usual: float | None = None

    def is_cut(self, luma: Plane, prediction: Plane) -> bool:
        """Whether the next frame, luma (H, W), H and W multiples of 8, shows another scene."""
        samples = luma.astype(np.int16)
        missed = float(np.abs(samples - prediction).mean())
        usual = self._usual
        self._usual = missed if usual is None or missed < usual else usual + _FOLLOW * (missed - usual)
        if missed < _LEAST or (usual is not None and missed < _RISE * usual):
            return False
        height, width = luma.shape
        blocks = samples.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).astype(np.float32)
        detail = float(np.abs(blocks - blocks.mean(axis=(1, 3), keepdims=True)).mean())
        cut = missed > _SHARE * detail
        if cut and usual is not None:
            self._usual = usual
        return cut
