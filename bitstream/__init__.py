"""The file format and nothing else: units, header, limits, errors, tile geometry, CICP numbers (see SPEC.md)."""

from __future__ import annotations

from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import (
    BackendError,
    ChecksumError,
    FormatError,
    InputError,
    LimitError,
    NacreError,
    TruncatedError,
    UnsupportedVersionError,
    WeightsError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from nacre.bitstream.geometry import Rectangle, Tile, padded_size, tile_count, tile_grid, tiles, y_grid, z_grid
from nacre.bitstream.header import GREY, MAX_QUALITY, RGB, PictureHeader
from nacre.bitstream.limits import Limits
from nacre.bitstream.picture import (
    METADATA_TYPES,
    PictureStream,
    TileUnit,
    read_header,
    read_picture,
    write_picture,
)
from nacre.bitstream.units import (
    RESERVED,
    SIGNATURE,
    VERSION_MAJOR,
    VERSION_MINOR,
    BinaryReader,
    BinaryWriter,
    Unit,
    UnitReader,
    UnitType,
    unit_name,
    write_signature,
    write_unit,
)

__all__ = [
    "GREY",
    "MAX_QUALITY",
    "METADATA_TYPES",
    "RESERVED",
    "RGB",
    "SIGNATURE",
    "VERSION_MAJOR",
    "VERSION_MINOR",
    "BackendError",
    "BinaryReader",
    "BinaryWriter",
    "ChecksumError",
    "Colour",
    "FormatError",
    "InputError",
    "LimitError",
    "Limits",
    "NacreError",
    "PictureHeader",
    "PictureStream",
    "Rectangle",
    "Tile",
    "TileUnit",
    "TruncatedError",
    "Unit",
    "UnitReader",
    "UnitType",
    "UnsupportedVersionError",
    "WeightsError",
    "WeightsMismatchError",
    "WeightsNotFoundError",
    "padded_size",
    "read_header",
    "read_picture",
    "tile_count",
    "tile_grid",
    "tiles",
    "unit_name",
    "write_picture",
    "write_signature",
    "write_unit",
    "y_grid",
    "z_grid",
]
