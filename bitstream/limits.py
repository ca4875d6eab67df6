"""What a caller is willing to read: checked before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from nacre.bitstream.errors import LimitError


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper limits, all inclusive, on what a stream may ask of its reader.

    max_pixels: width * height of a picture. max_dimension: width or height in pixels. max_unit_bytes: payload of one
    unit. max_stream_bytes: a whole picture, signature to END. max_units: units of a picture; one of max_pixels has
    fewer, however small its tiles. Of sequences, which may be of any length: max_frame_bytes: payload of one frame.
    max_packet_bytes: payload of one other unit. max_tracks: audio and subtitle tracks. max_index_entries: intra frames
    in the seek index.
    """

    max_pixels: int = 400_000_000
    max_dimension: int = 65535
    max_unit_bytes: int = 1 << 28
    max_stream_bytes: int = 1 << 30
    max_units: int = 1 << 18
    max_frame_bytes: int = 1 << 26
    max_packet_bytes: int = 1 << 24
    max_tracks: int = 32
    max_index_entries: int = 1 << 17

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

    def check_frame(self, length: int, place: str) -> None:
        """Raise LimitError when the frame at `place` announces a payload longer than the limits allow (bytes)."""
        if length > self.max_frame_bytes:
            msg = f"{place} announces {length} bytes, the limit max_frame_bytes is {self.max_frame_bytes}"
            raise LimitError(msg)

    def check_packet(self, length: int, place: str) -> None:
        """Raise LimitError when a unit of a sequence, no frame, announces more than the limits allow (bytes)."""
        if length > self.max_packet_bytes:
            msg = f"{place} announces {length} bytes, the limit max_packet_bytes is {self.max_packet_bytes}"
            raise LimitError(msg)

    def check_tracks(self, count: int) -> None:
        """Raise LimitError when a sequence of at least `count` tracks has more than the limits allow."""
        if count > self.max_tracks:
            msg = f"the sequence has at least {count} tracks, the limit max_tracks is {self.max_tracks}"
            raise LimitError(msg)

    def check_index(self, count: int) -> None:
        """Raise LimitError when a seek index of `count` entries has more than the limits allow."""
        if count > self.max_index_entries:
            msg = f"the seek index has {count} entries, the limit max_index_entries is {self.max_index_entries}"
            raise LimitError(msg)
