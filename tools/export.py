"""Publish a checkpoint, graphs, tables and manifest: ``python -m nacre.tools.export RUN FOLDER --data FOLDER``."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from nacre.bitstream.errors import NacreError, WeightsError
from nacre.entropy.network import IntegerNetwork, known_answer
from nacre.models.complexity import mac_per_pixel
from nacre.models.context import NOT_CODED
from nacre.models.export import export_encoder_context, export_graphs, export_scale_decoder
from nacre.models.image import ImageModel
from nacre.models.latent import LatentModel
from nacre.models.published import SCALE_PREFIX, load_published, training_arrays
from nacre.models.quantized import (
    export_linear_analysis,
    export_linear_synthesis,
    export_quantized_hyper_analysis,
    fit_analysis,
    fit_synthesis,
    linear_latents,
)
from nacre.models.scale_decoder import Z_MAX
from nacre.models.tables import hyper_tables, integer_network, symbol_tables
from nacre.models.transforms import normalize
from nacre.tools.data import centre_crops, load_pictures
from nacre.tools.graph_analysis import extra_rates, with_graph_analysis, with_graph_synthesis
from nacre.tools.rounding_offsets import rounding_offsets
from nacre.tools.train import load_weights, measure
from nacre.version import __version__
from nacre.weights.store import (
    FASTEST_FILES,
    INT8_ANALYSIS,
    INT8_HYPER_ANALYSIS,
    LIGHT_SYNTHESIS,
    MANIFEST,
    MANIFEST_FORMAT,
    decoder_digest,
)

CANDIDATE_STRENGTHS = (0.0, 0.2, 0.4)
CANDIDATE_THRESHOLDS = (8, 11, 14)
LIVE_STEP = 16  # live channels are counted in multiples of this
LIVE_CROPS = 32
FITTED_CROPS = 400
COLOURS = 3


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """How symbols are rounded and which are skipped."""

    offsets: Tensor
    skip_threshold: int


def choose_rounding(model: ImageModel, crops: Tensor, report: Callable[[str], None]) -> EncoderChoice:
    """The strength of rounding towards zero and then the skip threshold that have the least J on crops."""
    tables = symbol_tables(model.conditional)

    def best(candidates: Iterable[tuple[float, int]]) -> tuple[float, float, int]:
        tried = []
        for strength, threshold in candidates:
            cost = measure(model, crops, rounding_offsets(tables, strength), threshold).cost
            report(f"rounding strength {strength:.1f}, skip threshold {threshold:2d}: J {cost:.4f}")
            tried.append((cost, strength, threshold))
        return min(tried)

    _, strength, _ = best((strength, CANDIDATE_THRESHOLDS[0]) for strength in CANDIDATE_STRENGTHS)
    _, _, threshold = best((strength, threshold) for threshold in CANDIDATE_THRESHOLDS)
    return EncoderChoice(rounding_offsets(tables, strength), threshold)


@torch.no_grad()
def live_channels(model: ImageModel, crops: Tensor, choice: EncoderChoice) -> list[int]:
    """For each entropy row, how many leading latent channels hold symbols, measured on crops (N, 3, H, W) uint8."""
    rows = model.config.rows
    counts: list[int] = []
    x = normalize(crops.float())
    analyses = [model.analysis, *([model.heavy_analysis] if model.config.has_heavy_analysis else [])]
    for row in range(rows):
        position = torch.full((len(x),), row / (rows - 1))
        highest = 1
        for analysis in analyses:
            y = analysis(x, position)
            z_hat = torch.round(model.hyper_analysis(y)).clamp(-Z_MAX, Z_MAX)
            index = model.scale_decoder(z_hat, position)
            rounding = torch.where(index >= choice.skip_threshold, choice.offsets[index.long()], NOT_CODED)
            _, symbols, _ = model.context(y, z_hat, rounding)
            alive = torch.nonzero((symbols != 0).any(0).flatten(1).any(1)).flatten()
            highest = max(highest, int(alive.max()) + 1 if len(alive) else 1)
        counts.append(min(-(-highest // LIVE_STEP) * LIVE_STEP, model.config.latent_channels))
    # more quality never has fewer channels
    return list(itertools.accumulate(counts, max))


def entropy_arrays(model: LatentModel, network: IntegerNetwork) -> dict[str, NDArray[Any]]:
    """The arrays of entropy.npz."""
    arrays = {f"{SCALE_PREFIX}{name}": array for name, array in network.to_arrays().items()}
    arrays |= {f"y.{name}": array for name, array in symbol_tables(model.conditional).to_arrays().items()}
    arrays |= {f"z.{name}": array for name, array in hyper_tables(model.prior, model.config.rows).to_arrays().items()}
    return arrays


def publish(
    model: ImageModel,
    folder: Path,
    *,
    choice: EncoderChoice,
    live: list[int],
    version: str,
    notes: dict[str, Any],
    calibration: Tensor | None = None,
) -> dict[str, Any]:
    """Write the folder of published weights (replacing it as a whole) and return its manifest.

    ``calibration``: crops (N, 3, H, W) uint8 that the graphs of effort 1 are fitted to; without them, or with a step
    width, there are none.
    """
    graphs = export_graphs(model)
    if calibration is not None and not model.config.step_width:
        graphs |= export_fastest(model, calibration, choice)
    macs = mac_per_pixel(model)
    if LIGHT_SYNTHESIS in graphs:
        macs |= dict.fromkeys(("linear_analysis", "light_synthesis"), float(COLOURS * model.config.latent_channels))
    with replaced(folder) as temporary:
        manifest = write_weights(
            model, temporary, graphs, choice=choice, live=live, version=version, notes=notes, macs=macs
        )
        check_read_back(model, load_published(temporary), temporary)
    return manifest


def export_fastest(model: ImageModel, calibration: Tensor, choice: EncoderChoice) -> dict[str, onnx.ModelProto]:
    """The graphs of effort 1 and the light synthesis by file name, fitted to crops (N, 3, H, W) uint8."""
    light = fit_synthesis(model, calibration, choice.offsets, choice.skip_threshold)
    linear = fit_analysis(model.analysis, calibration)
    latents = linear_latents(model.analysis, linear, calibration[: len(calibration) // 4 or None])
    return {
        INT8_ANALYSIS: export_linear_analysis(model.analysis, linear),
        INT8_HYPER_ANALYSIS: export_quantized_hyper_analysis(model.hyper_analysis, latents),
        LIGHT_SYNTHESIS: export_linear_synthesis(model.synthesis, light),
        **export_encoder_context(model),
    }


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """A folder to write to, which takes the place of ``folder`` when the body ends well.

    The old one is moved aside before the new one takes its name, and goes then: whatever happens, one of them is whole.
    """
    temporary, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    for left in (temporary, old):
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.exists():
            os.replace(folder, old)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def write_weights(
    model: LatentModel,
    folder: Path,
    graphs: dict[str, onnx.ModelProto],
    *,
    choice: EncoderChoice,
    live: list[int],
    version: str,
    notes: dict[str, Any],
    macs: dict[str, float],
    tables: dict[str, NDArray[Any]] | None = None,
) -> dict[str, Any]:
    """Write a model's graphs, arrays and manifest, which is returned; ``tables``: what entropy.npz has besides."""
    network = integer_network(model.scale_decoder, model.config.rows)
    for name, graph in (graphs | {"scale_decoder.onnx": export_scale_decoder(network)}).items():
        (folder / name).write_bytes(graph.SerializeToString(deterministic=True))
    np.savez_compressed(folder / "entropy.npz", **(entropy_arrays(model, network) | (tables or {})))
    np.savez_compressed(folder / "training.npz", **training_arrays(model))
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    manifest = {
        "format": MANIFEST_FORMAT,
        "profile": model.config.name,
        "version": version,
        "digest": decoder_digest(hashes),
        "known_answer": known_answer(network),
        "skip_threshold": choice.skip_threshold,
        "rounding_offsets": [round(offset, 4) for offset in choice.offsets.tolist()],
        "live_channels": live,
        "mac_per_pixel": {name: round(count, 1) for name, count in macs.items()},
        "config": model.config.to_dict(),
        "files": {name: {"sha256": value, "bytes": (folder / name).stat().st_size} for name, value in hashes.items()},
        "training": notes,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def check_read_back(model: LatentModel, read: LatentModel, folder: Path) -> None:
    """Raise WeightsError unless the model that was read from a folder has the integers of the one written there."""
    answers = [known_answer(integer_network(each.scale_decoder, each.config.rows)) for each in (model, read)]
    if answers[0] != answers[1]:
        msg = f"{folder}: the scale decoder read back gives other integers than the one written"
        raise WeightsError(msg)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="nacre.tools.export", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder, state.pt, or published weights to write again")
    parser.add_argument("folder", type=Path, help="folder of the profile, for instance weights/fast")
    parser.add_argument(
        "--data", type=Path, required=True, help="training data: its validation files choose the threshold"
    )
    parser.add_argument("--version", default=__version__)
    parser.add_argument("--note", default="", help="one line for the manifest: data, hardware, minutes")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        if options.folder.exists() and not (options.folder / MANIFEST).exists():
            msg = f"{options.folder} exists and holds no published weights: it is not replaced"
            raise ValueError(msg)
        model, missing = load_weights(options.run)
        if missing:
            msg = f"{options.run} lacks {', '.join(missing)}"
            raise ValueError(msg)
        training, validation = load_pictures(options.data, minimum=384, limit=FITTED_CROPS)
        crops = torch.from_numpy(centre_crops(validation, 384))
        choice = choose_rounding(model, crops, print)
        calibration = torch.from_numpy(centre_crops(training, 256))
        live = live_channels(model.eval(), calibration[:LIVE_CROPS], choice)
        manifest = publish(
            model, options.folder, choice=choice, live=live, version=options.version, notes={"note": options.note},
            calibration=calibration,
        )  # fmt: skip
        final = load_published(options.folder)
        shipped = measure(final, crops, choice.offsets, choice.skip_threshold)
        heavy = None
        if final.config.has_heavy_analysis:
            heavy = measure(final, crops, choice.offsets, choice.skip_threshold, heavy=True)
        linear = None
        if LIGHT_SYNTHESIS in manifest["files"]:
            files = {name: (options.folder / name).read_bytes() for name in (*FASTEST_FILES, LIGHT_SYNTHESIS)}
            changed = with_graph_analysis(final, files), with_graph_synthesis(final, files[LIGHT_SYNTHESIS])
            linear = [measure(each, crops, choice.offsets, choice.skip_threshold) for each in changed]
    except (ValueError, OSError, NacreError) as error:
        print(f"nacre.tools.export: {error}", file=sys.stderr)
        return 1
    total = sum(entry["bytes"] for entry in manifest["files"].values())
    print(f"{options.folder}: {total / 1e6:.2f} MB, digest {manifest['digest'][:16]}")
    print(f"MAC/pixel {manifest['mac_per_pixel']}; live channels {live[0]}..{live[-1]}")
    print(f"J as shipped {shipped.cost:.4f}" + (f", heavier analysis {heavy.cost:.4f}" if heavy else ""))
    if linear:
        int8, light = linear
        rates = " ".join(f"{100 * extra:.1f}" for extra in extra_rates(shipped, int8))
        print(f"J with the linear analysis in 8 bits {int8.cost:.4f}, % of rate lost at the six lambdas {rates}")
        losses = " ".join(f"{a - b:.2f}" for a, b in zip(shipped.psnrs, light.psnrs, strict=True))
        print(f"J with the light synthesis {light.cost:.4f}, dB lost at the six lambdas {losses}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
