"""Publish a checkpoint, graphs, tables and manifest: ``python -m nacre.tools.export RUN FOLDER --data FOLDER``."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nacre.bitstream.errors import NacreError
from nacre.entropy.network import IntegerNetwork, known_answer
from nacre.models.complexity import mac_per_pixel
from nacre.models.export import export_graphs, export_scale_decoder
from nacre.models.image import ImageModel
from nacre.models.published import SCALE_PREFIX, load_published, training_arrays
from nacre.models.tables import hyper_tables, integer_network, symbol_tables
from nacre.models.transforms import normalize
from nacre.tools.data import centre_crops, load_pictures
from nacre.tools.train import load_weights, measure
from nacre.version import __version__

FORMAT = 1
DECODER_FILES = ("context.onnx", "entropy.npz", "synthesis.onnx")
CANDIDATE_THRESHOLDS = (0, 4, 6, 8, 10, 12)
LIVE_STEP = 16  # live channels are counted in multiples of this
LIVE_SHARE = 2e-5  # a channel of which fewer symbols are not zero is dead


def decoder_digest(hashes: dict[str, str]) -> str:
    """The digest that streams name: SHA-256 over the decoder side's files' own."""
    return hashlib.sha256(b"".join(bytes.fromhex(hashes[name]) for name in DECODER_FILES)).hexdigest()


@torch.no_grad()
def live_channels(model: ImageModel, crops: Tensor, skip_threshold: int) -> list[int]:
    """For each entropy row, how many leading latent channels hold symbols, measured on crops (N, 3, H, W) uint8."""
    rows = model.config.rows
    counts: list[int] = []
    x = normalize(crops.float())
    for row in range(rows):
        position = torch.full((len(x),), row / (rows - 1))
        y = model.analysis(x, position)
        z_hat = torch.round(model.hyper_analysis(y)).clamp(-127, 127)
        mask = (model.scale_decoder(z_hat, position) >= skip_threshold).float()
        symbols, _ = model.context(y, z_hat, mask)
        share = (symbols != 0).float().mean((0, 2, 3))
        alive = torch.nonzero(share > LIVE_SHARE).flatten()
        highest = int(alive.max()) + 1 if len(alive) else 1
        counts.append(min(-(-highest // LIVE_STEP) * LIVE_STEP, model.config.latent_channels))
    # more quality never has fewer channels
    return np.maximum.accumulate(counts).tolist()


def choose_skip_threshold(model: ImageModel, crops: Tensor) -> tuple[int, dict[int, float]]:
    """The highest threshold that costs less than 0.05 % of J beside no skipping, and J at every candidate."""
    costs = {threshold: measure(model, crops, threshold).cost for threshold in CANDIDATE_THRESHOLDS}
    allowed = [threshold for threshold, cost in costs.items() if cost <= costs[0] * 1.0005]
    return max(allowed), costs


def entropy_arrays(model: ImageModel, network: IntegerNetwork) -> dict[str, NDArray[Any]]:
    """The arrays of entropy.npz."""
    arrays = {f"{SCALE_PREFIX}{name}": array for name, array in network.to_arrays().items()}
    arrays |= {f"y.{name}": array for name, array in symbol_tables(model.conditional).to_arrays().items()}
    arrays |= {f"z.{name}": array for name, array in hyper_tables(model.prior, model.config.rows).to_arrays().items()}
    return arrays


def publish(
    model: ImageModel, folder: Path, *, skip_threshold: int, live: list[int], version: str, notes: dict[str, Any]
) -> dict[str, Any]:
    """Write the folder of published weights (replacing it as a whole) and return its manifest."""
    temporary = folder.with_name(folder.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    network = integer_network(model.scale_decoder, model.config.rows)
    graphs = export_graphs(model) | {"scale_decoder.onnx": export_scale_decoder(network)}
    for name, graph in graphs.items():
        (temporary / name).write_bytes(graph.SerializeToString(deterministic=True))
    np.savez_compressed(temporary / "entropy.npz", **entropy_arrays(model, network))
    np.savez_compressed(temporary / "training.npz", **training_arrays(model))
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(temporary.iterdir())}
    manifest = {
        "format": FORMAT,
        "profile": model.config.name,
        "version": version,
        "digest": decoder_digest(hashes),
        "known_answer": known_answer(network),
        "skip_threshold": skip_threshold,
        "live_channels": live,
        "mac_per_pixel": {name: round(count, 1) for name, count in mac_per_pixel(model).items()},
        "config": model.config.to_dict(),
        "files": {
            name: {"sha256": value, "bytes": (temporary / name).stat().st_size} for name, value in hashes.items()
        },
        "training": notes,
    }
    (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
    return manifest


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
        model, missing = load_weights(options.run)
        if missing:
            msg = f"{options.run} lacks {', '.join(missing)}"
            raise ValueError(msg)
        training, validation = load_pictures(options.data, minimum=384, limit=32)
        crops = torch.from_numpy(centre_crops(validation, 384))
        threshold, costs = choose_skip_threshold(model, crops)
        live = live_channels(model.eval(), torch.from_numpy(centre_crops(training, 256)), threshold)
        manifest = publish(
            model, options.folder, skip_threshold=threshold, live=live, version=options.version,
            notes={"note": options.note},
        )  # fmt: skip
        shipped = measure(load_published(options.folder), crops, threshold)
    except (ValueError, OSError, NacreError) as error:
        print(f"nacre.tools.export: {error}", file=sys.stderr)
        return 1
    for candidate, cost in costs.items():
        print(f"skip threshold {candidate:2d}: J {cost:.4f}")
    total = sum(entry["bytes"] for entry in manifest["files"].values())
    print(f"{options.folder}: {total / 1e6:.2f} MB, digest {manifest['digest'][:16]}, threshold {threshold}")
    print(f"MAC/pixel {manifest['mac_per_pixel']}; live channels {live[0]}..{live[-1]}")
    print(f"J as shipped {shipped.cost:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
