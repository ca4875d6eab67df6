"""Video frames of PyAV as planes of 8-bit YUV 4:2:0, whatever samples they have, and planes as frames and as RGB.

FFmpeg's scale filter converts, told everything that it would otherwise guess; nothing is dithered. RGB becomes BT.709
of limited range with chroma at the left.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import InputError
from nacre.clip import ClipInfo
from nacre.compensation import Planes

LOCATIONS = {1: "left", 2: "center", 3: "topleft", 4: "top", 5: "bottomleft", 6: "bottom"}
"""FFmpeg's names of chroma locations."""
LEFT = 1
"""The chroma location of converted frames that had more chroma than 4:2:0."""

_PLAIN = frozenset(("yuv420p", "yuvj420p"))
_UNSPECIFIED = 2
_SRGB, _BT709 = 13, 1
_LIMITED, _FULL = 1, 2  # AVColorRange
_FLAGS = "accurate_rnd+full_chroma_inp+full_chroma_int"
_HIGH_DEFINITION = 720  # rows from which BT.709 is taken where a clip names no matrix
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}


class Sampling(NamedTuple):
    """What a pixel format of FFmpeg is beside 8-bit YUV 4:2:0."""

    rgb: bool
    grey: bool
    full: bool  # its samples span the full range whatever a frame says
    more_chroma: tuple[bool, bool]  # than 4:2:0 has, in width and in height
    losses: tuple[str, ...]


def sampling(format_: Any) -> Sampling:
    """What there is to know of an av.VideoFormat."""
    components = format_.components
    rgb = format_.is_rgb or format_.has_palette or format_.is_bayer or format_.name.startswith("xyz")
    alpha = any(part.is_alpha for part in components)
    grey = not rgb and len(components) - alpha == 1
    across, down = format_.chroma_width(64) > 32, format_.chroma_height(64) > 32
    more = (not grey and (rgb or across), not grey and (rgb or down))
    bits = max((part.bits for part in components), default=8)
    losses = []
    if rgb:
        losses.append("RGB becomes YCbCr of limited range")
    if any(more):
        where = {(True, True): "width and height", (True, False): "width", (False, True): "height"}[more]
        losses.append(f"chroma is halved in {where}")
    if bits > 8:
        losses.append(f"{bits}-bit samples are reduced to 8 bits")
    if alpha:
        losses.append("alpha is dropped")
    return Sampling(rgb, grey, format_.name.startswith("yuvj") or grey, more, tuple(losses))


def frame_colour(frame: Any, kind: Sampling) -> Colour:
    """The CICP numbers of a frame's planes after conversion."""
    primaries, transfer, matrix = frame.color_primaries, frame.color_trc, frame.colorspace
    if kind.rgb:
        primaries = _BT709 if primaries == _UNSPECIFIED else primaries
        return Colour(primaries, _SRGB if transfer == _UNSPECIFIED else transfer, _BT709, 0)
    full = frame.color_range == _FULL or (kind.full and frame.color_range != _LIMITED)
    return Colour(primaries, transfer, matrix, int(full))


class Converter:
    """Frames of PyAV to planes, of one pixel format and size after another."""

    def __init__(self) -> None:
        self._graph: Any = None
        self._made_for: tuple[str, int, int, bool] | None = None

    def planes(self, frame: Any) -> Planes:
        """The planes of a frame: copies. Raises InputError where its samples cannot be converted."""
        import av

        if frame.format.name not in _PLAIN:
            kind = sampling(frame.format)
            full = kind.rgb or kind.full or frame.color_range == _FULL
            wanted = (frame.format.name, frame.width, frame.height, full)
            try:
                if wanted != self._made_for:
                    self._graph = _graph(frame, "yuv420p", _to_420(kind, full))
                    self._made_for = wanted
                self._graph.vpush(frame)
                frame = self._graph.vpull()
            except (av.FFmpegError, ValueError) as error:
                msg = f"its samples are {frame.format.name}, which cannot be converted to 8-bit 4:2:0"
                raise InputError(msg) from error
        return Planes(
            *(np.ascontiguousarray(_view(plane)[: plane.height, : plane.width]) for plane in frame.planes[:3])
        )


class RgbConverter:
    """Planes of a clip to RGB."""

    def __init__(self, info: ClipInfo) -> None:
        guess = _BT709 if info.height >= _HIGH_DEFINITION else 6
        matrix = _MATRICES.get(info.colour.matrix, _MATRICES[guess])
        location = LOCATIONS[info.chroma_location or LEFT]
        span = "full" if info.colour.full_range else "limited"
        self._options = (
            f"flags=bilinear+{_FLAGS}:in_color_matrix={matrix}:in_range={span}:in_chroma_loc={location}:out_range=full"
        )
        self._graph: Any = None

    def rgb(self, planes: Planes) -> NDArray[np.uint8]:
        """The picture (H, W, 3) of a frame; chroma is interpolated linearly."""
        frame = make_frame(planes)
        if self._graph is None:
            self._graph = _graph(frame, "rgb24", self._options)
        self._graph.vpush(frame)
        (plane,) = self._graph.vpull().planes
        picture = _view(plane)[: plane.height, : 3 * plane.width]
        return np.ascontiguousarray(picture).reshape(plane.height, plane.width, 3)


def make_frame(planes: Planes) -> Any:
    """An av.VideoFrame of the planes."""
    return fill_frame("yuv420p", planes.luma.shape, planes)


def fill_frame(format_: str, size: tuple[int, ...], planes: Any) -> Any:
    """An av.VideoFrame of `size` (H, W) with the samples of some planes, uint8 or uint16."""
    import av

    frame: Any = av.VideoFrame(size[1], size[0], format_)
    for plane, samples in zip(frame.planes, planes, strict=True):
        height, width = samples.shape
        _view(plane, samples.dtype)[:height, :width] = samples
    return frame


def _view(plane: Any, sample: Any = np.uint8) -> NDArray[Any]:
    """The samples of a plane of PyAV with what stands behind each row."""
    flat = np.frombuffer(plane, sample)
    columns = plane.line_size // flat.itemsize
    return flat[: len(flat) // columns * columns].reshape(-1, columns)


def _to_420(kind: Sampling, full: bool) -> str:
    options = f"flags=area+{_FLAGS}"
    if any(kind.more_chroma):
        options += f":in_chroma_loc={LOCATIONS[LEFT]}:out_chroma_loc={LOCATIONS[LEFT]}"
    if kind.rgb:
        return f"{options}:in_range=full:out_range=limited:out_color_matrix=bt709"
    span = "full" if full else "limited"
    return f"{options}:in_range={span}:out_range={span}"


def _graph(frame: Any, output: str, options: str) -> Any:
    """A filter graph that converts frames like this one; options: those of the scale filter."""
    from av.filter import Graph

    graph: Any = Graph()
    nodes = [
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)),
        graph.add("scale", f"{options}:sws_dither=none"),
        graph.add("format", f"pix_fmts={output}"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes)
    graph.configure()
    return graph
