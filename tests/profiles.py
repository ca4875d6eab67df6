"""ICC profiles made on the spot, of version 2 and as small as may be."""

from __future__ import annotations

import itertools
import struct

# CIE XYZ of the primaries, adapted to D50: columns sum to the white of D50.
SRGB_PRIMARIES = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
WIDE_PRIMARIES = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
WHITE = (0.9642, 1.0, 0.8249)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def _srgb_curve() -> bytes:
    levels = [index / 1023 for index in range(1024)]
    values = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *(round(value * 65535) for value in values))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"made for a test"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" * 79,
        b"cprt": b"text\0\0\0\0" + text + b"\0",
        b"wtpt": _xyz(WHITE),
        **tags,
    }
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", offset + len(body), b"lcms", 0x02400000, kind, space, connection)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    head += b"".join(map(_fixed, WHITE))
    return head.ljust(128, b"\0") + table + body


def rgb_profile(primaries: tuple[tuple[float, ...], ...] = WIDE_PRIMARIES, gamma: float | None = 2.2) -> bytes:
    """A display profile of three primaries; gamma None is the curve of sRGB."""
    curve = _srgb_curve() if gamma is None else _gamma(gamma)
    tags = {name: _xyz(values) for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def grey_profile(gamma: float | None) -> bytes:
    """A profile of grey samples; gamma None is the curve of sRGB."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _srgb_curve() if gamma is None else _gamma(gamma)})


def cmyk_profile() -> bytes:
    """A profile of a press: Lab of the 16 combinations of full inks, linear between them."""
    table = bytearray()
    for cyan, magenta, yellow, black in itertools.product((0, 1), repeat=4):
        lightness = (95 - 33 * cyan - 45 * magenta - 7 * yellow) * (1 - 0.85 * black)
        a = (-36 * cyan + 72 * magenta - 6 * yellow) * (1 - black)
        b = (-48 * cyan - 3 * magenta + 88 * yellow) * (1 - black)
        table += bytes(max(0, min(255, round(value))) for value in (max(lightness, 4) * 2.55, a + 128, b + 128))
    identity = b"".join(_fixed(float(value)) for value in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + bytes(table) + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut, b"A2B1": lut})
