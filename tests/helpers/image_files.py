"""Folders of small image files of all sizes, in as many classes as a test needs."""

import numpy as np
from PIL import Image


def write_folder(path, classes=3, per_class=4, suffix="png", sides=(9, 24), seed=0):
    """PATH/c00/00.SUFFIX and so on: smooth colour images, each of another width and height within `sides`."""
    rng = np.random.default_rng(seed)
    for kind in range(classes):
        folder = path / f"c{kind:02}"
        folder.mkdir(parents=True)
        for number in range(per_class):
            colours = Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8))
            width, height = map(int, rng.integers(*sides, size=2, endpoint=True))
            colours.resize((width, height), Image.Resampling.BILINEAR).save(folder / f"{number:02}.{suffix}")
    return path
