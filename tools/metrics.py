"""Distortion metrics of 8-bit pictures and clips, with their definitions.

Those of pictures take two (H, W, 3) uint8 RGB arrays, reference first, exactly as a user gets them from the decoder. Of
a clip they are means over frames, converted to RGB by nacre.tools.yuv, unless the table says otherwise.

| name | definition |
| --- | --- |
| psnr | 10 log10(255^2 / MSE), MSE over all R, G and B samples; dB; a frame of a clip without error counts 100 dB |
| psnr-yuv | 6:1:1 PSNR: (6 Y + U + V) / 8 of the planes' PSNRs; of pictures BT.709 full range, unrounded, without \
subsampling; of clips the planes as coded, mean over frames, a plane without error counting 100 dB; dB |
| ssim | Wang et al. 2004, window 11 with sigma 1.5, no padding, mean over R, G and B |
| ms-ssim | Wang et al. 2003, five scales, on R, G and B, as pytorch-msssim (CompressAI) computes it |
| ms-ssim-db | -10 log10(1 - MS-SSIM); of several pictures or frames, of their mean MS-SSIM, as CompressAI plots it; \
dB |
| ssimulacra2 | SSIMULACRA 2.1 (Sneyers, Cloudinary 2023) by the package ssimulacra2; 100 is identical |
| butteraugli | Butteraugli (Alakuijala et al. 2017), 3-norm at 80 nits, by libjxl's program butteraugli_main |
| cvvdp | ColorVideoVDP (Mantiuk et al. 2024), display standard_4k, by the package cvvdp, which looks at a clip as a \
whole; JOD, 10 is identical |
| vmaf | VMAF (Netflix, model vmaf_v0.6.1), clips only, on the planes as coded, mean over frames, by FFmpeg's libvmaf |
| lpips | LPIPS 0.1 (Zhang et al. 2018), AlexNet, by the package lpips; needs torchvision's AlexNet weights |
| dists | DISTS (Ding et al. 2020) by the package dists-pytorch; needs torchvision's VGG-16 weights |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nacre.bitstream.errors import InputError
from nacre.metrics import psnr
from nacre.tools import perceptual
from nacre.tools.clip_metrics import PICTURE_MAXIMUM, decibel_of_mean, mean_over_frames, psnr_yuv_of_clip
from nacre.tools.clips import Clip
from nacre.tools.curves import decibel
from nacre.tools.extras import require
from nacre.tools.pictures import Picture
from nacre.tools.structural import ms_ssim, psnr_yuv, ssim
from nacre.tools.yuv import Frames

_EVAL = "'nacre[eval]'"


def _of_clips_alone(*_: Picture) -> float:
    msg = "is a metric of clips, not of pictures"
    raise InputError(msg)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and what tables and plots need of it.

    function: of two pictures. clips: of two clips, by default the mean of `function` over frames. packages: the modules
    it needs; install: what pip must install for them. find: raises InputError where something else is missing, with how
    to get it; needs: the same for a list of metrics, in short.
    """

    name: str
    label: str
    function: Callable[[Picture, Picture], float]
    clips: Callable[[Clip, Frames], float] | None = None
    higher_is_better: bool = True
    minimum_side: int = 1
    packages: tuple[str, ...] = ()
    install: str = _EVAL
    find: Callable[[], object] | None = None
    needs: str = ""

    def check(self, *, clips: bool = False) -> None:
        """Raise InputError where the metric cannot be computed of pictures, or of clips, on this machine."""
        try:
            if not clips and self.function is _of_clips_alone:
                _of_clips_alone()
            for package in self.packages:
                require(package, self.install)
            if self.find is not None:
                self.find()
        except InputError as error:
            msg = f"{self.name}: {error}"
            raise InputError(msg) from error

    def __call__(self, reference: Picture, picture: Picture) -> float:
        """The metric's value. Raises InputError where the shapes differ or a side is too short for the metric."""
        self._check_shapes(reference.shape, picture.shape, reference.shape[1], reference.shape[0])
        return self.function(reference, picture)

    def of_clip(self, reference: Clip, frames: Frames) -> float:
        """The metric's value for frames (F, 3 H / 2, W) made of a clip; raises as for pictures."""
        self._check_shapes(reference.frames.shape, frames.shape, reference.width, reference.height)
        return (self.clips or mean_over_frames(self.function))(reference, frames)

    def _check_shapes(self, reference: tuple[int, ...], other: tuple[int, ...], width: int, height: int) -> None:
        if reference != other:
            msg = f"{self.name}: shapes {reference} and {other}, must be equal"
            raise InputError(msg)
        if min(width, height) < self.minimum_side:
            msg = f"{self.name}: {width}x{height}, must be at least {self.minimum_side} pixels on each side"
            raise InputError(msg)


_SCIPY = ("scipy.ndimage",)
METRICS = {
    metric.name: metric
    for metric in (
        Metric("psnr", "PSNR (RGB), dB", psnr, mean_over_frames(psnr, PICTURE_MAXIMUM)),
        Metric("psnr-yuv", "PSNR (YUV 6:1:1), dB", psnr_yuv, psnr_yuv_of_clip),
        Metric("ssim", "SSIM", ssim, minimum_side=11, packages=_SCIPY, needs=_EVAL),
        Metric("ms-ssim", "MS-SSIM", ms_ssim, minimum_side=161, packages=_SCIPY, needs=_EVAL),
        Metric(
            "ms-ssim-db",
            "MS-SSIM, dB",
            lambda a, b: decibel(ms_ssim(a, b)),
            decibel_of_mean(ms_ssim),
            minimum_side=161,
            packages=_SCIPY,
            needs=_EVAL,
        ),
        Metric(
            "ssimulacra2",
            "SSIMULACRA2",
            perceptual.ssimulacra2,
            minimum_side=8,
            packages=("ssimulacra2",),
            needs=_EVAL,
        ),
        Metric(
            "butteraugli",
            "Butteraugli (3-norm)",
            perceptual.butteraugli,
            higher_is_better=False,
            minimum_side=8,
            find=perceptual.find_butteraugli,
            needs="libjxl's program butteraugli_main",
        ),
        Metric(
            "cvvdp",
            f"ColorVideoVDP ({perceptual.CVVDP_DISPLAY}), JOD",
            perceptual.cvvdp,
            perceptual.cvvdp_of_clip,
            minimum_side=8,
            packages=("pycvvdp",),
            install="cvvdp",
            needs="cvvdp",
        ),
        Metric(
            "vmaf",
            "VMAF",
            _of_clips_alone,
            perceptual.vmaf,
            minimum_side=16,
            find=perceptual.find_vmaf,
            needs="an ffmpeg with libvmaf, or imageio-ffmpeg",
        ),
        Metric(
            "lpips",
            "LPIPS (AlexNet)",
            perceptual.lpips,
            higher_is_better=False,
            minimum_side=32,
            packages=("lpips", "torch"),
            install="lpips",
            find=perceptual.find_alexnet,
            needs="lpips and AlexNet's weights",
        ),
        Metric(
            "dists",
            "DISTS",
            perceptual.dists,
            higher_is_better=False,
            minimum_side=32,
            packages=("DISTS_pytorch", "torch"),
            install="dists-pytorch",
            find=perceptual.find_vgg16,
            needs="dists-pytorch and VGG-16's weights",
        ),
    )
}
DEFAULT_METRICS = ("psnr", "ms-ssim-db")
DEFAULT_CLIP_METRICS = ("psnr-yuv",)


def described_metrics() -> str:
    """The metrics' names for a help text, those in brackets that need more than nacre does."""
    parts = (f"{metric.name} ({metric.needs})" if metric.needs else metric.name for metric in METRICS.values())
    return ", ".join(parts)
