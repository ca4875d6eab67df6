"""The context decoder step by step, for a caller who makes of each mean the latent as decoded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nacre.backend import Graph
from nacre.latentcoder import Float32Array
from nacre.weights.store import FIRST_CONTEXT, NEXT_CONTEXT, Weights

_PLACES = ((0, 0), (1, 1), (0, 1), (1, 0))  # rows and columns of the 2x2 grid in the order in which they are decoded


class StepwiseContext:
    """The graphs of one set of weights, loaded when first needed; threads may share it."""

    def __init__(self, weights: Weights, threads: int) -> None:
        self._first = Graph(weights, FIRST_CONTEXT, threads)
        self._next = Graph(weights, NEXT_CONTEXT, threads)

    def steps(self, z: Float32Array) -> Iterator[tuple[int, int, Float32Array]]:
        """For each place of the 2x2 grid its row and column, and the mean (h/2, w/2, C) of the latent there.

        z (1, Cz, h/4, w/4). Before the next step is asked for, the mean has to be made the latent as decoded, in place.
        """
        state, mean = self._first.run(["state", "mean"], {"z_hat": z})
        for step, (row, column) in enumerate(_PLACES, 1):
            yield row, column, mean.reshape(*state.shape[:2], -1)
            if step < len(_PLACES):
                inputs = {"state": state, "y_hat": mean, "step": np.array(step)}
                state, mean = self._next.run(["next_state", "mean"], inputs)
