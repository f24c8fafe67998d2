"""Data sets by name. A source is a function `(name, data_dir) -> Reader | None`; the first that knows a name reads it."""

import os
from collections.abc import Callable
from pathlib import Path

from dsrna_jax.data.dataset import Dataset, Reader
from dsrna_jax.data.digits import digits
from dsrna_jax.data.folders import existing_folder, marked_folder
from dsrna_jax.data.tfds import absent, prepared
from dsrna_jax.errors import InputError
from dsrna_jax.files import expanded

Source = Callable[[str, Path], Reader | None]

# A prepared tfds set wins over a folder of the same name.
SOURCES: list[Source] = [digits, marked_folder, prepared, existing_folder]


def load(name: str, split: str, data_dir: str | None = None, image_size: int = 0) -> Dataset:
    """A whole split of a data set; the same arguments give the same arrays.

    Args:
      name: `digits`; a tfds name such as `cifar10`, `cifar10_corrupted/fog_1` or `mnist:3.0.1`; `folder:PATH`, or the
        path of a folder; or what a source in `SOURCES` knows besides. A prepared tfds set wins over a folder of the same name.
      split: `train` or `test`, which never overlap. For tfds any split or part of one (`train[:10%]`). With
        PATH/train/<class>/ it names the sub-folder of PATH; folders without one, and `digits`, are split by a fixed
        rule: one example in five of every class is `test`.
      data_dir: where tfds sets lie; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets.
      image_size: resize to a square of this side, bilinear, aspect ratio not kept; 0 keeps the size. Grey images keep
        one channel, unless colour ones lie beside them; palettes become RGB, and what is transparent lies on white
        (`decoding.decoded`).

    Raises: InputError if the data set is unknown, absent (AbsentDataError), too large for memory, unreadable, or of
      unequal image sizes.
    """
    if image_size < 0:
        raise InputError(f"image_size must be 0 (as it is) or a side in pixels, got {image_size}")
    root = expanded(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    for source in SOURCES:
        if (read := source(name, root)) is not None:
            return read(split, image_size)
    raise absent(name, root)
