"""Stand-ins for training splits that are not on this machine, by their published sizes: enough to plan a run."""

import re

import numpy as np

from dsrna_jax.data.dataset import Dataset
from dsrna_jax.data.parts import parsed
from dsrna_jax.data.tfds import published_shape

# As the pages of tensorflow_datasets state them; its definitions have them once a set is prepared.
TRAINING_IMAGES = {
    "cifar10": 50_000,
    "cifar100": 50_000,
    "emnist": 697_932,
    "fashion_mnist": 60_000,
    "imagenet2012": 1_281_167,
    "kmnist": 60_000,
    "mnist": 60_000,
    "svhn_cropped": 73_257,
}


# By which the literature normalises, where it does not compute them from the images at hand.
PUBLISHED_STATISTICS = {"imagenet2012": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}


def set_name(name: str) -> str:
    """The tfds set of a name such as `cifar10_corrupted/fog_1`, `mnist:3.0.1` or `imagenet2012[:10%]`."""
    return re.split(r"[:/\[]", name)[0]


def published_training_split(name: str, image_size: int = 0, examples: int = 0) -> Dataset | None:
    """A stand-in of black images for the training split of a tfds set: right in number, shape and classes; takes no memory.

    None if the number is not in `TRAINING_IMAGES`. Arguments: as `sources.load`. Raises: InputError as `published_shape`.
    """
    if (count := TRAINING_IMAGES.get(set_name(name))) is None:
        return None
    whole, part = parsed(name)
    if part:
        start, stop = part.range(count)
        count = stop - start
    count = min(count, examples) if examples else count
    shape, classes = published_shape(whole, image_size)
    images = np.broadcast_to(np.uint8(0), (count, *shape))
    labels = (np.arange(count) % classes).astype(np.int32)
    return Dataset(name, images, labels, tuple(map(str, range(classes))))
