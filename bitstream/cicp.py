"""Colour description by code points: ITU-T H.273 (CICP). The numbers are the standard's and never change."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nacre.bitstream.errors import InputError

PRIMARIES: Mapping[int, str] = MappingProxyType(
    {
        1: "BT.709 / sRGB",
        2: "unspecified",
        4: "BT.470 System M",
        5: "BT.470 System B, G",
        6: "BT.601 525",
        7: "SMPTE ST 240",
        8: "generic film",
        9: "BT.2020",
        10: "CIE 1931 XYZ",
        11: "DCI-P3",
        12: "Display P3",
        22: "EBU Tech 3213-E",
    }
)
TRANSFER: Mapping[int, str] = MappingProxyType(
    {
        1: "BT.709",
        2: "unspecified",
        4: "gamma 2.2",
        5: "gamma 2.8",
        6: "BT.601",
        7: "SMPTE ST 240",
        8: "linear",
        9: "logarithmic 100:1",
        10: "logarithmic 316.2:1",
        11: "IEC 61966-2-4",
        12: "BT.1361",
        13: "sRGB",
        14: "BT.2020 10 bit",
        15: "BT.2020 12 bit",
        16: "PQ",
        17: "SMPTE ST 428-1",
        18: "HLG",
    }
)
MATRIX: Mapping[int, str] = MappingProxyType(
    {
        0: "identity (RGB)",
        1: "BT.709",
        2: "unspecified",
        4: "FCC",
        5: "BT.470 System B, G",
        6: "BT.601",
        7: "SMPTE ST 240",
        8: "YCgCo",
        9: "BT.2020 non-constant luminance",
        10: "BT.2020 constant luminance",
        11: "SMPTE ST 2085",
        12: "chromaticity-derived non-constant luminance",
        13: "chromaticity-derived constant luminance",
        14: "ICtCp",
        15: "IPT-C2",
        16: "YCgCo-Re",
        17: "YCgCo-Ro",
    }
)


@dataclass(frozen=True, slots=True)
class Colour:
    """Code points of a picture's samples; the default is sRGB. Numbers without a name are carried unchanged.

    primaries, transfer, matrix: 0..255. full_range: 1 when samples span 0..255, 0 when 16..235. Raises InputError for
    a number out of range.
    """

    primaries: int = 1
    transfer: int = 13
    matrix: int = 0
    full_range: int = 1

    def __post_init__(self) -> None:
        for name, high in (("primaries", 255), ("transfer", 255), ("matrix", 255), ("full_range", 1)):
            value = getattr(self, name)
            try:
                number = operator.index(value)
            except TypeError:
                msg = f"colour {name} is {value!r}, must be an integer"
                raise InputError(msg) from None
            if not 0 <= number <= high:
                msg = f"colour {name} is {number}, must be 0..{high}"
                raise InputError(msg)
            object.__setattr__(self, name, number)

    def describe(self) -> str:
        """The description in words: primaries, transfer, matrix and range."""
        names = (
            PRIMARIES.get(self.primaries, f"primaries {self.primaries}"),
            TRANSFER.get(self.transfer, f"transfer {self.transfer}"),
            MATRIX.get(self.matrix, f"matrix {self.matrix}"),
            "full range" if self.full_range else "limited range",
        )
        return ", ".join(names)

    def to_dict(self) -> dict[str, int | bool | str]:
        """Plain values for JSON: the numbers and their description."""
        return {
            "primaries": self.primaries,
            "transfer": self.transfer,
            "matrix": self.matrix,
            "full_range": bool(self.full_range),
            "description": self.describe(),
        }
