"""Whether a frame shows another scene than the one before it: motion finds nothing there that is worth referring to."""

from __future__ import annotations

import numpy as np

from nacre.bitstream.interpolation import ROOT_BLOCK
from nacre.compensation import Field, Plane, Planes, compensate
from nacre.motion_search import means, search

_BLOCK = 8
_SHARE = 0.6  # of what a block's mean leaves, that the best prediction leaves where scenes change
_RISE = 2.0  # times what predictions have left before
_LEAST = 4.0  # mean absolute difference, in steps of 255, below which a prediction is good whatever the blocks are
_FOLLOW = 0.25  # share of a frame that is predicted worse than usual in what is usual
_ENOUGH = 10_000  # samples of a frame made smaller that motion is searched in
_MOST_HALVINGS = 3  # sides are multiples of 64, and of 8 then
_LAMBDA = 128.0  # of the search: sum of squared differences that a bit of motion may cost


class SceneCuts:
    """Finds the frames of a clip that should begin a GOP, from how badly each is predicted from the one before.

    Both are frames as they come, made smaller: where GOPs begin does not hang on how those before are coded.
    """

    def __init__(self) -> None:
        self._judge = CutJudge()
        self._before: Plane | None = None
        self._field: Field | None = None

    def is_cut(self, luma: Plane) -> bool:
        """Whether the next frame, luma (H, W), H and W multiples of 64, shows another scene; the first shows none."""
        halvings = 0
        while halvings < _MOST_HALVINGS and luma.size >> 2 * (halvings + 1) >= _ENOUGH:
            halvings += 1
        small = means(luma, halvings)
        height, width = small.shape
        margins = [(0, -side % ROOT_BLOCK) for side in small.shape]
        current, before = np.pad(small, margins, mode="edge"), self._before
        self._before = current
        if before is None:
            return False
        self._field = search(before, current, _LAMBDA, self._field)
        no_chroma = np.zeros([side // 2 for side in current.shape], np.uint8)
        prediction = compensate(Planes(before, no_chroma, no_chroma), self._field).luma
        return self._judge.is_cut(small, prediction[:height, :width])


class CutJudge:
    """Tells scene cuts from predictions.

    Compared are, over the frame, the mean absolute difference from the motion-compensated prediction, that from each
    8x8 block's own mean, and what was left by the predictions before.
    """

    def __init__(self) -> None:
        self._usual: float | None = None

    def is_cut(self, luma: Plane, prediction: Plane) -> bool:
        """Whether a frame, luma (H, W) in multiples of 8, shows another scene than the one that predicts it."""
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
