"""One frame of video: planes to symbols to bytes, and back.

                       search                    compensate
    frame, reference ---------> motion symbols -----------> prediction
                                      |                        |
                                      v            +-----------+----------+
                                 range coder       v           v          v
    frame ------------------------------------> analysis -> context -> synthesis --> frame as decoded, next reference

An intra frame has neither motion nor prediction. Decoding reads the motion, z and y of a frame in integers alone; only
then it turns to floating point, and rounds what comes of it to the 8-bit samples that the next frame refers to. So the
range coder works beside networks: on the same frame when encoding, on the next one when decoding. It has the calling
thread, for it is Python; the networks, in another, need the interpreter for a moment only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.backend import Graph
from nacre.bitstream.errors import ChecksumError, WeightsError
from nacre.bitstream.geometry import padded_size, y_grid, z_grid
from nacre.bitstream.header import MAX_QUALITY
from nacre.compensation import Field, Planes, compensate
from nacre.entropy.coder import SymbolDecoder, SymbolEncoder
from nacre.entropy.latent import TileSymbols, symbols_check
from nacre.entropy.motion import MOTION_TABLES, MotionSymbols, decode_motion, encode_motion
from nacre.entropy.network import prior_of
from nacre.entropy.tables import MAX_SYMBOL, IntArray, TableSet
from nacre.framepatches import Patches, to_patches, to_planes
from nacre.latentcoder import Conditions, Float32Array, LatentCoder, part, position
from nacre.motion_field import to_field, to_symbols
from nacre.motion_search import search
from nacre.parallel import timed_at_once
from nacre.stopwatch import Stopwatch
from nacre.weights.sequence import SequenceWeights
from nacre.weights.store import ANALYSIS, SYNTHESIS, Weights

_ROOT_BLOCK = 64  # of a motion field's quadtree, luma samples


class Motion(NamedTuple):
    """The motion of a predicted frame: vectors, how they are coded, and the prediction that they give."""

    field: Field
    symbols: MotionSymbols
    prediction: Planes


class Previous(NamedTuple):
    """What the coding of a predicted frame knows of the predicted frame before: motion, and y (Cy, h, w)."""

    motion: MotionSymbols
    y: IntArray


class CodedFrame(NamedTuple):
    """A coded frame: the range coder's bytes, the check of its symbols, live channels, its planes as decoded.

    previous: what the frame behind knows of it; None of an intra frame.
    """

    payload: bytes
    check: int
    live: int
    planes: Planes
    previous: Previous | None


class FrameSymbols(NamedTuple):
    """The symbols of a frame; motion: None in an intra frame."""

    motion: MotionSymbols | None
    latent: TileSymbols

    @property
    def previous(self) -> Previous | None:
        """What the frame behind knows of it."""
        return None if self.motion is None else Previous(self.motion, self.latent.y)


class FrameCoding(NamedTuple):
    """How a frame is coded: luma samples of the clip, quality in steps, live channels, skip threshold."""

    width: int
    height: int
    quality: int
    live: int
    skip: int


class FrameCoder:
    """Encodes and decodes frames with one set of weights. Graphs are loaded when first needed; threads may share it.

    Planes are those of `framepatches.pad`. Qualities are in the stream's steps, 0..25600. Raises WeightsError where the
    weights' parts do not fit each other, BackendError where ONNX Runtime fails.
    """

    def __init__(self, weights: SequenceWeights, threads: int) -> None:
        self.weights, self._threads = weights, threads
        self._intra = _Networks(weights.intra, threads)
        self._predicted = _Networks(weights.predicted, threads)
        self._motion_tables = TableSet.from_arrays(part(weights.predicted.arrays("entropy.npz"), "m."))
        if len(self._motion_tables) != MOTION_TABLES:
            msg = (
                f"weights '{weights.profile}' in {weights.folder}: motion has {len(self._motion_tables)} tables, must"
                f" have {MOTION_TABLES}"
            )
            raise WeightsError(msg)

    def move(
        self, frame: Planes, reference: Planes, previous: Field | None, quality: int, stopwatch: Stopwatch
    ) -> Motion:
        """The motion from a frame to its reference; previous: that of the frame before, None where it has none."""
        with stopwatch.part("motion"):
            field = search(reference.luma, frame.luma, _motion_lambda(quality), previous, self._threads)
            return Motion(field, to_symbols(field), compensate(reference, field, self._threads))

    def encode(
        self,
        frame: Planes,
        motion: Motion | None,
        previous: Previous | None,
        size: tuple[int, int],
        quality: int,
        stopwatch: Stopwatch,
    ) -> CodedFrame:
        """Code a frame of a clip of `size` (width, height) luma samples, without motion as an intra frame.

        previous: of the frame before, None behind an intra frame.
        """
        networks = self._networks(motion is not None)
        latent = networks.latent
        rows, columns = y_grid(*size)
        with stopwatch.part("colour"):
            patches = to_patches(frame)
            prediction = None if motion is None else to_patches(motion.prediction)
        conditions = _conditions(prediction)
        with stopwatch.part("analysis"):
            y, z = networks.analysis.run(["y", "z"], {"patches": patches, "position": position(quality), **conditions})
        with stopwatch.part("entropy networks"):
            z_symbols = z[0].astype(np.int32)
            prior = None if previous is None or motion is None else prior_of(previous.y, *y.shape[2:])
            index = latent.scale(z_symbols, latent.row(quality), prior)
            rounding = latent.rounding(index, latent.live_channels(quality), rows, columns)
            symbols, y_hat = latent.choose(["symbols", "y_hat"], y, z, rounding, conditions)
        np.clip(symbols, -MAX_SYMBOL, MAX_SYMBOL, out=symbols)
        coded = symbols[0, :, :rows, :columns].astype(np.int16)
        live = _live(coded, intra=motion is None)

        def synthesize(clock: Stopwatch) -> Planes:
            return networks.synthesize(y_hat, quality, conditions, clock)

        def code(clock: Stopwatch) -> tuple[bytes, int]:
            with clock.part("coder"):
                encoder = SymbolEncoder()
                if motion is not None:
                    encode_motion(encoder, motion.symbols, self._motion_tables, previous and previous.motion)
                latent.encode(encoder, z_symbols, coded, index[:, :rows, :columns], quality, live)
                check = _check(z_symbols, coded[:live], None if motion is None else motion.symbols)
                return encoder.finish(), check

        planes, (payload, check) = timed_at_once(self._threads, stopwatch, synthesize, code)
        return CodedFrame(payload, check, live, planes, motion and Previous(motion.symbols, coded))

    def decode_symbols(
        self,
        payload: bytes,
        check: int,
        coding: FrameCoding,
        previous: Previous | None,
        stopwatch: Stopwatch,
        *,
        intra: bool,
    ) -> FrameSymbols:
        """The symbols of a frame, in integers alone; previous: of the frame before, of no use to an intra frame.

        Raises FormatError where the bytes are no code of symbols, ChecksumError where the symbols are not those that
        were encoded.
        """
        latent = self._networks(not intra).latent
        size = coding.width, coding.height
        with stopwatch.part("coder"):
            decoder = SymbolDecoder(payload)
            motion = before = None
            if not intra:
                padded = padded_size(*size)
                blocks = padded[1] // _ROOT_BLOCK, padded[0] // _ROOT_BLOCK
                motion = decode_motion(decoder, blocks, self._motion_tables, previous and previous.motion)
                before = previous and previous.y
            symbols = latent.decode(
                decoder, z_grid(*size), y_grid(*size), coding.quality, coding.live, coding.skip, before
            )
            decoder.finish()
            found = _check(symbols.z, symbols.y[: coding.live], motion)
        if found != check:
            msg = f"the check of the symbols is 0x{found:08X}, the stream says 0x{check:08X}"
            raise ChecksumError(msg)
        return FrameSymbols(motion, symbols)

    def reconstruct(
        self,
        symbols: FrameSymbols,
        reference: Planes | None,
        coding: FrameCoding,
        stopwatch: Stopwatch,
        meanwhile: Callable[[Stopwatch], object] | None = None,
    ) -> Planes:
        """The planes, padded, of decoded symbols; reference: those of the frame before, of no use to an intra frame.

        meanwhile: further work, which raises nothing and is done beside the networks where there are threads for it.

        Raises FormatError: motion vectors outside the legal range.
        """
        networks = self._networks(symbols.motion is not None)
        prediction = None
        if symbols.motion is not None:
            assert reference is not None
            with stopwatch.part("motion"):
                prediction = to_patches(compensate(reference, to_field(symbols.motion), self._threads))
        conditions = _conditions(prediction)
        rows, columns = y_grid(*padded_size(coding.width, coding.height))

        def synthesize(clock: Stopwatch) -> Planes:
            with clock.part("entropy networks"):
                y_hat = networks.latent.latent(symbols.latent, rows, columns, conditions)
            return networks.synthesize(y_hat, coding.quality, conditions, clock)

        if meanwhile is None:
            return synthesize(stopwatch)
        planes: Planes = timed_at_once(self._threads, stopwatch, synthesize, meanwhile)[0]
        return planes

    def _networks(self, predicted: bool) -> _Networks:
        return self._predicted if predicted else self._intra


class _Networks:
    """What codes frames of one kind."""

    def __init__(self, weights: Weights, threads: int) -> None:
        self.latent = LatentCoder(weights, threads)
        self.analysis = Graph(weights, ANALYSIS, threads)
        self._synthesis = Graph(weights, SYNTHESIS, threads)

    def synthesize(self, y_hat: Float32Array, quality: int, conditions: Conditions, stopwatch: Stopwatch) -> Planes:
        with stopwatch.part("synthesis"):
            inputs = {"y_hat": y_hat, "position": position(quality)}
            (patches,) = self._synthesis.run(["patches"], inputs | dict(conditions))
        with stopwatch.part("colour"):
            return to_planes(patches)


def _conditions(prediction: Patches | None) -> Conditions:
    return {} if prediction is None else {"prediction": prediction}


def _live(coded: NDArray[np.int16], *, intra: bool) -> int:
    """The channels up to the last one that holds a symbol; at least one in an intra frame."""
    alive = np.flatnonzero(coded.any(axis=(1, 2)))
    return max(int(alive[-1]) + 1 if len(alive) else 0, int(intra))


def _check(z: IntArray, y_live: IntArray, motion: MotionSymbols | None) -> int:
    return symbols_check(z, y_live, None if motion is None else motion.in_order())


def _motion_lambda(quality: int) -> float:
    """Sum of squared differences that a bit of motion may cost.

    The networks are trained for R + lambda D with lambda = 0.0005 * 600^(quality / 100), D the squared error, so a bit
    is worth 1 / lambda of it; twice that proved best on validation shots, since what motion leaves is still coded
    (weights/STUDY.md). The motion that training is given has one quality.
    """
    return 2.0 / (0.0005 * math.pow(600.0, quality / MAX_QUALITY))
