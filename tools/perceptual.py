"""Perceptual metrics of others, by packages and programs that bring their parameters; nacre.tools.metrics lists them.

Everything is looked for when it is first used: `find_...` raise InputError with what is missing and how to get it.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nacre.bitstream.errors import InputError
from nacre.tools.clips import Clip
from nacre.tools.extras import require
from nacre.tools.pictures import Picture
from nacre.tools.yuv import Frames

CVVDP_DISPLAY = "standard_4k"
VMAF_MODEL = "vmaf_v0.6.1"

_BUTTERAUGLI = "butteraugli_main"
_PROGRAM_SECONDS = 600.0
_NORM = re.compile(r"^3-norm: (\S+)$", re.MULTILINE)
_ALEXNET = "alexnet-owt-7be5be79.pth"
_VGG16 = "vgg16-397923af.pth"


def ssimulacra2(reference: Picture, picture: Picture) -> float:
    """SSIMULACRA2: 100 identical, 90 hardly distinguishable, 70 high, 50 medium, 30 low quality; may be below 0."""
    files = []
    for pixels in (reference, picture):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "BMP")
        files.append(file)
    return float(require("ssimulacra2").compute_ssimulacra2(*files))


def _run(arguments: list[str], folder: str | None = None) -> str:
    """What a program prints, run in a folder; InputError where it fails or takes too long."""
    try:
        done = subprocess.run(
            arguments, capture_output=True, text=True, timeout=_PROGRAM_SECONDS, check=True, cwd=folder
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["no message"]
        msg = f"{arguments[0]} failed ({error.returncode}): {lines[-1]}"
        raise InputError(msg) from error
    except subprocess.TimeoutExpired as error:
        msg = f"{arguments[0]} took more than {_PROGRAM_SECONDS:g} seconds"
        raise InputError(msg) from error
    return done.stdout


def find_butteraugli() -> str:
    """The path of libjxl's program."""
    found = shutil.which(_BUTTERAUGLI)
    if found is None:
        msg = f"the program {_BUTTERAUGLI} of libjxl is not on the path (Debian and Ubuntu: libjxl-devtools)"
        raise InputError(msg)
    return found


def butteraugli(reference: Picture, picture: Picture) -> float:
    """Butteraugli's 3-norm for a display of 80 nits, 0 is identical, below 1 hardly visible."""
    with tempfile.TemporaryDirectory() as folder:
        names = ("reference.ppm", "picture.ppm")
        for name, pixels in zip(names, (reference, picture), strict=True):
            Image.fromarray(pixels).save(Path(folder, name))
        printed = _run([find_butteraugli(), *names], folder)
    found = _NORM.search(printed)
    if found is None:
        msg = f"{_BUTTERAUGLI} printed no 3-norm: {printed.strip()!r}"
        raise InputError(msg)
    return float(found[1])


@cache
def _cvvdp() -> Any:
    return require("pycvvdp", "cvvdp").cvvdp(display_name=CVVDP_DISPLAY, quiet=True)


def cvvdp(reference: Picture, picture: Picture) -> float:
    """ColorVideoVDP of a still on the display CVVDP_DISPLAY, in JOD: 10 is identical."""
    return float(_cvvdp().predict(picture, reference, dim_order="HWC")[0])


def cvvdp_of_clip(reference: Clip, frames: Frames) -> float:
    """ColorVideoVDP of a clip shown at its frame rate on the display CVVDP_DISPLAY, in JOD: 10 is identical."""
    numbers = range(len(frames))
    shown = [np.stack([reference.picture(k, source) for k in numbers]) for source in (frames, reference.frames)]
    rate = float(reference.rate)
    return float(_cvvdp().predict(*shown, dim_order="FHWC", frames_per_second=rate)[0])


@cache
def find_vmaf() -> str:
    """The path of an FFmpeg with the filter libvmaf: on the path, or that of the package imageio-ffmpeg."""
    candidates = [shutil.which("ffmpeg")]
    try:
        candidates.append(require("imageio_ffmpeg").get_ffmpeg_exe())
    except (InputError, RuntimeError):  # RuntimeError: the package has no program for this machine
        candidates.append(None)
    for candidate in filter(None, candidates):
        if " libvmaf " in _run([candidate, "-hide_banner", "-filters"]):
            return candidate
    msg = "there is no ffmpeg with the filter libvmaf on the path: pip install imageio-ffmpeg"
    raise InputError(msg)


def vmaf(reference: Clip, frames: Frames) -> float:
    """VMAF, mean over frames, 0..100, of the planes as they are."""
    size, rate = f"{reference.width}x{reference.height}", str(reference.rate)
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-r", rate]
    filters = f"libvmaf=model=version={VMAF_MODEL}:n_threads=1:log_fmt=json:log_path=vmaf.json"
    with tempfile.TemporaryDirectory() as folder:
        arguments = [find_vmaf(), "-v", "error", "-nostdin"]
        for name, samples in (("clip", frames), ("reference", reference.frames)):
            Path(folder, name).write_bytes(np.ascontiguousarray(samples).tobytes())
            arguments += [*raw, "-i", name]
        _run([*arguments, "-lavfi", filters, "-f", "null", "-"], folder)
        result = json.loads(Path(folder, "vmaf.json").read_bytes())
    return float(result["pooled_metrics"]["vmaf"]["mean"])


def _downloaded(name: str) -> None:
    """Raise InputError where torchvision's weights are not on this machine: nothing is downloaded here."""
    path = Path(require("torch.hub", "torch").get_dir()) / "checkpoints" / name
    if not path.exists():
        msg = f"{path} does not exist (torchvision downloads it on first use of that network)"
        raise InputError(msg)


def find_alexnet() -> None:
    """Raise InputError where LPIPS lacks its features."""
    _downloaded(_ALEXNET)


def find_vgg16() -> None:
    """Raise InputError where DISTS lacks its features."""
    _downloaded(_VGG16)


@cache
def _network(module: str, name: str, **arguments: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both packages call torchvision the old way
        return getattr(require(module), name)(**arguments).eval()


def _distance(network: Any, reference: Picture, picture: Picture, low: float) -> float:
    """What a network says of two pictures whose samples span low..1."""
    torch = require("torch")
    arrays = [
        pixels.transpose(2, 0, 1).astype(np.float32) / 255.0 * (1.0 - low) + low for pixels in (reference, picture)
    ]
    with torch.inference_mode():
        return float(network(*(torch.from_numpy(array)[None] for array in arrays)))


def lpips(reference: Picture, picture: Picture) -> float:
    """LPIPS with AlexNet features, 0 is identical."""
    return _distance(_network("lpips", "LPIPS", net="alex", verbose=False), reference, picture, -1.0)


def dists(reference: Picture, picture: Picture) -> float:
    """DISTS, 0 is identical."""
    return _distance(_network("DISTS_pytorch", "DISTS"), reference, picture, 0.0)
