"""What a caller is willing to read: checked before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from nacre.bitstream.errors import LimitError


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper limits, all inclusive, on what a stream may ask of its reader.

    max_pixels: width * height of a picture. max_dimension: width or height in pixels. max_unit_bytes: payload of one
    unit. max_stream_bytes: the whole stream, signature to END. max_units: units of a stream; a picture of max_pixels
    has fewer, however small its tiles.
    """

    max_pixels: int = 400_000_000
    max_dimension: int = 65535
    max_unit_bytes: int = 1 << 28
    max_stream_bytes: int = 1 << 30
    max_units: int = 1 << 18

    def check_picture(self, width: int, height: int) -> None:
        """Raise LimitError when a picture of `width` x `height` pixels is larger than the limits allow."""
        for name, value in (("width", width), ("height", height)):
            if value > self.max_dimension:
                msg = f"{name} is {value} pixels, the limit max_dimension is {self.max_dimension}"
                raise LimitError(msg)
        if width * height > self.max_pixels:
            msg = (
                f"the picture has {width} x {height} = {width * height} pixels, the limit max_pixels is"
                f" {self.max_pixels}"
            )
            raise LimitError(msg)

    def check_unit(self, length: int, place: str) -> None:
        """Raise LimitError when the unit at `place` announces a payload longer than the limits allow (bytes)."""
        if length > self.max_unit_bytes:
            msg = f"{place} announces {length} bytes, the limit max_unit_bytes is {self.max_unit_bytes}"
            raise LimitError(msg)

    def check_stream(self, size: int) -> None:
        """Raise LimitError when a stream of at least `size` bytes is longer than the limits allow."""
        if size > self.max_stream_bytes:
            msg = f"the stream has at least {size} bytes, the limit max_stream_bytes is {self.max_stream_bytes}"
            raise LimitError(msg)

    def check_units(self, count: int) -> None:
        """Raise LimitError when a stream of at least `count` units has more than the limits allow."""
        if count > self.max_units:
            msg = f"the stream has at least {count} units, the limit max_units is {self.max_units}"
            raise LimitError(msg)
