"""Time a profile's graphs with random weights: ``python -m nacre.tools.graph_timing [--size 768x512] [--threads 2]``.

Widths are chosen by what a machine really does before anything is trained: every float graph runs through ONNX Runtime
in float32 and, its convolutions quantized statically to 8 bits with weights in -64..63, in INT8; below them stand those
of effort 1 and the scale decoder, as they ship.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static  # type: ignore[import-untyped]
from onnxruntime.quantization.shape_inference import quant_pre_process  # type: ignore[import-untyped]

from nacre.models.complexity import mac_per_pixel
from nacre.models.config import ImageConfig
from nacre.models.export import export_graphs, export_scale_decoder
from nacre.models.image import ImageModel
from nacre.models.tables import integer_network
from nacre.tools.export import EncoderChoice, export_fastest
from nacre.weights.store import (
    ANALYSIS,
    FIRST_CONTEXT,
    INT8_ANALYSIS,
    INT8_HYPER_ANALYSIS,
    LIGHT_SYNTHESIS,
    NEXT_CONTEXT,
)

RUNS = 15
SCALE_DECODER = "scale_decoder.onnx"
PARTS = {
    ANALYSIS: ("analysis", "hyper_analysis"),
    "context.onnx": ("context",),
    "synthesis.onnx": ("synthesis",),
}
Feed = dict[str, NDArray[Any]]


class _OneFeed(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feed: Feed) -> None:
        self._feeds = iter([feed])

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def feeds(config: ImageConfig, width: int, height: int) -> dict[str, Feed]:
    """Random inputs of every graph for a picture whose sides are multiples of 64."""
    random = np.random.default_rng(0)
    grid = (1, config.latent_channels, height // 16, width // 16)
    y = random.normal(0, 2, grid).astype(np.float32)
    z = random.integers(-3, 4, (1, config.hyper_channels, height // 64, width // 64)).astype(np.float32)
    position = np.array([0.5], np.float32)
    image = random.integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    state = random.normal(size=(height // 32, width // 32, config.context_width)).astype(np.float32)
    rounding, encoding = np.full(grid, 0.5, np.float32), np.ones(1, np.float32)
    return {
        ANALYSIS: {"image": image, "position": position},
        "context.onnx": {"target": y, "z_hat": z, "rounding": rounding, "encoding": encoding},
        "synthesis.onnx": {"y_hat": y, "position": position},
        SCALE_DECODER: {"z": z, "row": np.array([config.rows // 2])},
        INT8_ANALYSIS: {"patches": image.reshape(-1, 768), "position": position},
        INT8_HYPER_ANALYSIS: {"levels": random.integers(0, 256, (1, *grid[2:], grid[1]), dtype=np.uint8)},
        LIGHT_SYNTHESIS: {"y_hat": y.reshape(-1, grid[1]), "position": position},
        FIRST_CONTEXT: {"z_hat": z},
        NEXT_CONTEXT: {"state": state, "y_hat": y.reshape(-1, grid[1])[::4], "step": np.array(1)},
    }


def quantized(graph: Path, feed: Feed) -> Path:
    """The graph with its convolutions in INT8, written beside it."""
    prepared, target = graph.with_suffix(".prepared.onnx"), graph.with_suffix(".int8.onnx")
    quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared), str(target), _OneFeed(feed), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8, per_channel=True, reduce_range=True, op_types_to_quantize=["Conv"],
    )  # fmt: skip
    return target


def milliseconds(graph: Path, feed: Feed, threads: int) -> float:
    """Median time of a run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    times = []
    for _ in range(RUNS + 3):
        started = time.perf_counter()
        session.run(None, feed)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[3:])


def _kmac(counts: dict[str, float], parts: tuple[str, ...]) -> float:
    return sum(counts[part] for part in parts) / 1000


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="nacre.tools.graph_timing", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--size", default="768x512", help="WIDTHxHEIGHT, multiples of 64")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    width, height = (int(side) for side in options.size.split("x"))
    model = ImageModel(ImageConfig()).eval()
    counts = mac_per_pixel(model)
    inputs = feeds(model.config, width, height)
    print(
        f"{options.size}, {options.threads} threads, onnxruntime {onnxruntime.__version__}, torch {torch.__version__}"
    )
    print(f"{'graph':28}{'kMAC/pixel':>12}{'float32 ms':>12}{'INT8 ms':>10}")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graphs = export_graphs(model)
        for name, parts in PARTS.items():
            path = Path(folder) / name
            onnx.save(graphs[name], path)
            exact = milliseconds(path, inputs[name], options.threads)
            integer = milliseconds(quantized(path, inputs[name]), inputs[name], options.threads)
            print(f"{name:28}{_kmac(counts, parts):12.2f}{exact:12.1f}{integer:10.1f}")
        crops = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8)
        written = export_fastest(model, crops, EncoderChoice(torch.full((64,), 0.5), 11))
        written[SCALE_DECODER] = export_scale_decoder(integer_network(model.scale_decoder, model.config.rows))
        for name, graph in written.items():
            path = Path(folder) / name
            onnx.save(graph, path)
            print(f"{name:28}{milliseconds(path, inputs[name], options.threads):26.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
