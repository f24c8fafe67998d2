"""Data sets by name. A source is a function `(name, data_dir) -> Reader | None`; the first that knows a name reads it."""

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dsrna_jax.data.dataset import Dataset, Reader
from dsrna_jax.data.digits import digits
from dsrna_jax.data.folders import existing_folder, marked_folder
from dsrna_jax.data.parts import SplitPart, chosen, parsed
from dsrna_jax.data.pictures import PictureReader, Pictures
from dsrna_jax.data.shards import tar_shards
from dsrna_jax.data.tfds import absent, prepared
from dsrna_jax.errors import AbsentDataError, InputError
from dsrna_jax.extras import packages_for
from dsrna_jax.files import expanded

Source = Callable[[str, Path], Reader | None]

# A prepared tfds set wins over a folder of the same name.
SOURCES: list[Source] = [digits, marked_folder, tar_shards, prepared, existing_folder]


@packages_for("data sets")
def load(
    name: str, split: str, data_dir: str | None = None, image_size: int = 0, *, center_crop: float = 0.0, examples: int = 0
) -> Dataset:
    """A whole split of a data set, or a part of it; the same arguments give the same arrays.

    Args:
      name: `digits`; a tfds name such as `cifar10`, `cifar10_corrupted/fog_1` or `mnist:3.0.1`; `folder:PATH`, or the
        path of a folder; `shards:PATH`, a folder of tar files; or a name of another source in `SOURCES`. A prepared tfds set
        wins over a folder of the same name.
        A part in brackets, as in `mnist[:10%]`, is one of the training split: other splits stay whole.
      split: `train` or `test`, which never overlap, or a part of one (`test[:10%]`); for tfds any expression of its own. With
        PATH/train/<class>/ it names the sub-folder of PATH; folders without one, and `digits`, are split by a fixed
        rule: one example in five of every class is `test`. Parts of sets sorted by class have their share of each class.
      data_dir: where tfds sets lie; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets.
      image_size: resize to a square of this side, bilinear, aspect ratio not kept; 0 keeps the size. Grey images keep
        one channel, unless colour ones lie beside them; palettes become RGB, and transparent pixels lie on white
        (`decoding.decoded`).
      center_crop: take the middle square instead, of this share of the shorter side (`framing.center_cropped`); 0 for none.
      examples: the most examples; 0 for all.

    Raises: InputError if the data set is unknown, absent (AbsentDataError), read by a package that is missing
      (AbsentPackageError), too large for memory, unreadable, or of unequal image sizes.
    """
    if image_size < 0:
        raise InputError(f"image_size must be 0 (as it is) or a side in pixels, got {image_size}")
    if center_crop and not image_size:
        raise InputError(f"center_crop={center_crop} needs an image_size, the side of what is kept, such as 224")
    read, split, part = _resolved(name, split, data_dir)
    if isinstance(read, PictureReader) and (part or examples or center_crop):
        return _part_of(read, split, part, examples).stacked(image_size, center_crop)
    if center_crop:
        raise InputError(f"center_crop={center_crop}: {name} has no image files, expected center_crop=0")
    dataset = read(split, image_size)
    if not (part or examples):
        return dataset
    indices = chosen(dataset.labels, part, examples)
    return dataclasses.replace(dataset, images=dataset.images[indices], labels=dataset.labels[indices])


def is_there(name: str, data_dir: str | None = None) -> bool:
    """Whether a data set is on this machine; arguments as in `load`."""
    root = expanded(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    whole, _ = parsed(name)
    return any(source(whole, root) is not None for source in SOURCES)


@packages_for("data sets")
def check_known(name: str, data_dir: str | None = None) -> None:
    """Raises: InputError if no source knows a data set, nor tfds, which may know one that is not on this machine."""
    with contextlib.suppress(AbsentDataError):
        _resolved(name, "train", data_dir)


def pictures(name: str, split: str, data_dir: str | None = None, *, examples: int = 0) -> Pictures | None:
    """The images of `load`, encoded, to be decoded one by one, or None if the source has arrays only; arguments as there."""
    read, split, part = _resolved(name, split, data_dir)
    return _part_of(read, split, part, examples) if isinstance(read, PictureReader) else None


def _resolved(name: str, split: str, data_dir: str | None) -> tuple[Reader, str, SplitPart | None]:
    """The reader of a data set, the split to read, and the part of the split if the reader cannot cut that itself."""
    root = expanded(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    whole, part = parsed(name)
    if part and split == "train":
        split += part.text
    for source in SOURCES:
        if (read := source(whole, root)) is not None:
            return (read, split, None) if isinstance(read, PictureReader) and read.takes_parts else (read, *parsed(split))
    raise absent(whole, root)


def _part_of(read: PictureReader, split: str, part: SplitPart | None, examples: int) -> Pictures:
    every = read.pictures(split)
    if read.takes_parts:  # shuffled when it was prepared, so that its beginning is a sample
        return every.only(np.arange(examples)) if 0 < examples < len(every) else every
    return every.only(chosen(every.labels, part, examples)) if part or examples else every
