"""A scene drawn for the demo: gradients, textures, edges and text, the same at every call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 768, 512
_HORIZON = 300

Field = NDArray[np.float64]


def draw_scene() -> NDArray[np.uint8]:
    """The scene, uint8 (512, 768, 3): sky, hills and sea, a tiled wall, shapes, hair-thin lines, and a printed page."""
    random = np.random.default_rng(7)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    image = _sky(x, y, random)
    image = _hills(image, y, random)
    image = _sea(image, x, y, random)
    image = _wall(image, x, y, random)
    grain = random.normal(0.0, 1.6, (HEIGHT, WIDTH, 1))
    samples = np.clip(image + grain, 0.0, 255.0).astype(np.uint8)
    return np.asarray(_shapes_and_text(Image.fromarray(samples)))


def _noise(random: np.random.Generator, roughness: float, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> Field:
    """A random field of deviation 1 whose amplitude falls with frequency to the power of `roughness`."""
    rows, columns = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(random.normal(size=shape)) / frequency**roughness
    field = np.fft.irfft2(spectrum, shape)
    normalized: Field = field / field.std()
    return normalized


def _blend(image: Field, colour: Field, share: Field) -> Field:
    """`colour`, (3,) or (H, W, 3), over the image where `share` (H, W) in 0..1 says so."""
    blended: Field = image + (colour - image) * share[..., None]
    return blended


def _sky(x: Field, y: Field, random: np.random.Generator) -> Field:
    height = np.clip(y / _HORIZON, 0.0, 1.0)[..., None]
    image: Field = np.array([70.0, 120.0, 200.0]) * (1.0 - height) + np.array([250.0, 205.0, 160.0]) * height
    cover: Field = np.clip(_noise(random, 1.7) * 0.45 - 0.15, 0.0, 1.0)
    thinning: Field = np.clip(1.2 - y / _HORIZON, 0.0, 1.0)
    image = _blend(image, np.array([250.0, 246.0, 240.0]), cover * thinning)
    distance = np.hypot(x - 150.0, y - 190.0)
    image = _blend(image, np.array([255.0, 225.0, 150.0]), 0.6 * np.exp(-((distance / 95.0) ** 2)))
    return _blend(image, np.array([255.0, 244.0, 214.0]), np.clip(34.5 - distance, 0.0, 1.0))


def _hills(image: Field, y: Field, random: np.random.Generator) -> Field:
    """Three ridges, the nearer the lower and the greener."""
    ridges = ((250.0, 24.0, (96, 110, 140)), (275.0, 16.0, (70, 92, 92)), (292.0, 9.0, (50, 74, 54)))
    for base, height, colour in ridges:
        crest = base + height * _noise(random, 1.4, (1, WIDTH))
        texture = 1.0 + 0.09 * _noise(random, 0.8)
        image = _blend(image, np.array(colour) * texture[..., None], np.clip(y - crest + 0.5, 0.0, 1.0))
    return image


def _sea(image: Field, x: Field, y: Field, random: np.random.Generator) -> Field:
    depth = np.clip((y - _HORIZON) / (HEIGHT - _HORIZON), 0.0, 1.0)
    waves = np.sin((np.maximum(y - _HORIZON, 0.0) + 9.0) ** 0.62 * 9.0 + 1.5 * _noise(random, 1.3)) * (0.25 + depth)
    colour = np.array([58.0, 96.0, 122.0]) + waves[..., None] * np.array([16.0, 20.0, 22.0])
    glitter = np.exp(-(((x - 150.0) / (26.0 + 90.0 * depth)) ** 2)) * np.clip(_noise(random, 0.5) - 0.6, 0.0, 1.0)
    colour = colour + glitter[..., None] * np.array([190.0, 165.0, 110.0])
    return _blend(image, colour, (y >= _HORIZON).astype(np.float64))


def _wall(image: Field, x: Field, y: Field, random: np.random.Generator) -> Field:
    """A brick wall at the right, weathered and lit from the left."""
    course = np.floor(y / 22.0)
    across = (x + 24.0 * (course % 2)) % 48.0
    mortar = ((y % 22.0) < 3.0) | (across < 3.0)
    shade = np.sin(course * 12.9898 + np.floor((x + 24.0 * (course % 2)) / 48.0) * 78.233) * 43758.5453
    shade = (shade - np.floor(shade) - 0.5) * 40.0
    brick = np.array([150.0, 82.0, 62.0]) + shade[..., None] * np.array([1.0, 0.7, 0.6])
    colour = np.where(mortar[..., None], np.array([178.0, 170.0, 158.0]), brick)
    light = 1.08 - 0.35 * (x - 520.0) / (WIDTH - 520.0)
    colour = colour * light[..., None] + 9.0 * _noise(random, 0.6)[..., None]
    return _blend(image, colour, (x >= 520.0).astype(np.float64))


def _shapes_and_text(scene: Image.Image) -> Image.Image:
    """Sharp edges and small print, drawn at twice the size and reduced, so that edges are smooth."""
    large = scene.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(large)
    draw.polygon([(420, 800), (560, 420), (700, 800)], fill=(236, 232, 222))
    draw.polygon([(560, 420), (700, 800), (572, 800)], fill=(196, 190, 180))
    draw.line([(560, 360), (560, 800)], fill=(60, 50, 44), width=8)
    draw.polygon([(380, 806), (740, 806), (680, 872), (440, 872)], fill=(128, 40, 36))
    for number in range(8):
        draw.line([(560, 364), (386 + 14 * number, 800)], fill=(30, 28, 30), width=1 + number % 3)
    for number, colour in enumerate(((220, 40, 40), (240, 190, 30), (40, 150, 70), (40, 80, 200), (230, 230, 230))):
        left = 1080 + 88 * number
        draw.ellipse([left, 60, left + 72, 132], fill=colour, outline=(20, 20, 20), width=3)
    draw.rectangle([1090, 190, 1480, 720], fill=(248, 244, 232), outline=(70, 60, 50), width=6)
    draw.text((1116, 204), "nacre", font=ImageFont.load_default(size=110), fill=(24, 28, 40))
    lines = (
        "mother-of-pearl: thin layers,",
        "each one a little different,",
        "laid down over the years.",
        "0123456789 +-*/ (){}[] #&%",
    )
    for number, line in enumerate(lines):
        draw.text((1116, 350 + 42 * number), line, font=ImageFont.load_default(size=27), fill=(40, 40, 46))
    small = "edges, textures, gradients, text: what it must keep"
    draw.text((1116, 540), small, font=ImageFont.load_default(size=14), fill=(60, 60, 66))
    for number in range(11):
        draw.rectangle([1116 + 32 * number, 590, 1147 + 32 * number, 690], fill=(number * 25,) * 3)
    return large.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
