"""Published weights back into modules: what a later leg of training, or ``nacre.models.load``, starts from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from nacre.bitstream.errors import WeightsError, WeightsNotFoundError
from nacre.entropy.network import IntegerLayer, IntegerNetwork
from nacre.models.config import ImageConfig
from nacre.models.image import ImageModel
from nacre.models.latent import LatentModel
from nacre.models.scale_decoder import IntegerConv
from nacre.models.storage import initializers
from nacre.models.video import FrameModel
from nacre.weights.store import ANALYSIS, HEAVY_ANALYSIS, SYNTHESIS

GRAPHS = (ANALYSIS, "context.onnx", SYNTHESIS)
SCALE_PREFIX = "scale."

Model = TypeVar("Model", bound=LatentModel)


def training_arrays(model: LatentModel) -> dict[str, NDArray[Any]]:
    """What no graph holds: the prior's and the conditional's parameters, the scale decoder's interpolated biases."""
    arrays = {}
    for name, parameter in model.named_parameters():
        exact = name.startswith(("prior.", "conditional."))
        if exact or (name.startswith("scale_decoder.") and name.endswith(".bias") and parameter.shape[0] > 1):
            arrays[name] = parameter.detach().cpu().float().numpy()
    return arrays


def _integer_layers(model: LatentModel, network: IntegerNetwork) -> Iterator[tuple[str, IntegerConv, IntegerLayer]]:
    """Names and modules of the scale decoder with their integers."""
    decoder = model.scale_decoder
    for number, (module, layer) in enumerate(zip(decoder.layers, network.layers, strict=True)):
        assert isinstance(module, IntegerConv)
        yield f"scale_decoder.layers.{number}", module, layer
    if decoder.prior is not None:
        if network.prior is None:
            msg = "the scale network has no prior"
            raise ValueError(msg)
        yield "scale_decoder.prior", decoder.prior, network.prior


def _float_layer(layer: IntegerLayer, module: IntegerConv) -> dict[str, Tensor]:
    """Float weights and, where all rows share it, bias that quantize to the integer layer."""
    exponent = torch.from_numpy(layer.shift.astype(np.float32)) - module.in_fraction + module.out_fraction
    outputs, inputs, kernel, _ = module.weight.shape
    weight = torch.from_numpy(layer.weight.astype(np.float32)).view(outputs, kernel, kernel, inputs)
    parameters = {"weight": weight.permute(0, 3, 1, 2) * torch.exp2(-exponent)[:, None, None, None]}
    if module.anchors == 1:
        bias = torch.from_numpy(layer.bias.astype(np.float32))
        parameters["bias"] = bias * torch.exp2(-exponent - module.in_fraction)
    return parameters


def _stored_network(folder: Path) -> IntegerNetwork:
    with np.load(folder / "entropy.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files if name.startswith(SCALE_PREFIX)}
    return IntegerNetwork.from_arrays({name.removeprefix(SCALE_PREFIX): array for name, array in arrays.items()})


def read_published(
    folder: Path, build: Callable[[ImageConfig], LatentModel] = ImageModel
) -> tuple[ImageConfig, dict[str, Tensor]]:
    """Configuration and parameters, as they ship, of a folder of published weights; build: what model they are of.

    Raises WeightsNotFoundError where a file is missing, WeightsError where one cannot be understood.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        config = ImageConfig.from_dict(manifest["config"])
        model = build(config)
        shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        parameters: dict[str, Tensor] = {}
        for file in (*GRAPHS, *([HEAVY_ANALYSIS] if config.has_heavy_analysis else [])):
            for name, array in initializers(onnx.load(folder / file)).items():
                if name in shapes:
                    parameters[name] = torch.from_numpy(array).view(shapes[name])
        with np.load(folder / "training.npz", allow_pickle=False) as archive:
            parameters |= {name: torch.from_numpy(archive[name]) for name in archive.files}
        network = _stored_network(folder)
        for name, module, layer in _integer_layers(model, network):
            parameters |= {f"{name}.{kind}": values for kind, values in _float_layer(layer, module).items()}
    except FileNotFoundError as error:
        msg = f"published weights: {error.filename} is missing"
        raise WeightsNotFoundError(msg) from error
    except (ValueError, KeyError, RuntimeError) as error:
        msg = f"published weights in {folder} cannot be read: {error}"
        raise WeightsError(msg) from error
    return config, parameters


def load_published(folder: Path) -> ImageModel:
    """The model of a folder of published weights, in evaluation mode; raises as ``read_published``."""
    return _load(folder, ImageModel)


def load_published_frames(folder: Path, *, predicted: bool) -> FrameModel:
    """The model of intra or of predicted frames of such a folder; see ``load_published``."""
    return _load(folder, lambda config: FrameModel(config, predicted=predicted))


def _load(folder: Path, build: Callable[[ImageConfig], Model]) -> Model:
    config, parameters = read_published(folder, build)
    model = build(config)
    missing = [
        name
        for name in model.load_state_dict(parameters, strict=False).missing_keys
        if name in dict(model.named_parameters())
    ]
    if missing:
        msg = f"published weights in {folder} lack {', '.join(missing)}"
        raise WeightsError(msg)
    model.eval()
    for _, module, layer in _integer_layers(model, _stored_network(folder)):
        if len(layer.bias) > 1:
            module.stored_bias = torch.from_numpy(layer.bias.astype(np.float32))
    return model
