"""Images of noise, folders of them, and what a set holds."""

import collections

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


def noise(height=6, width=6, channels=3):
    return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(path)
    return pixels


def folder(path, per_class=10, classes=("cat", "dog"), **shape):
    return {name: [write(path / name / f"{i:02}.png", noise(**shape)) for i in range(per_class)] for name in classes}


def census(images, labels):
    return collections.Counter((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))
