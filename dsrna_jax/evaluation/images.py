"""The images that an evaluation draws for a trained network."""

from typing import Any, NamedTuple

import numpy as np

from dsrna_jax.data.load import Dataset, batch_indices, load, stratified_shares
from dsrna_jax.errors import InputError
from dsrna_jax.training.restore import TrainedNetwork


class Examples(NamedTuple):
    """`indices` into the split of the data set, images [examples, ...] in [0, 1], labels."""

    indices: np.ndarray
    x: np.ndarray
    y: np.ndarray


def examples(config: Any, network: TrainedNetwork) -> Examples:
    """The images that a configuration draws for a network, in an order by which fewer of them are the first of more.

    Args:
      config: has `split`, `examples` (0 for all), `data_dir` and `seed`; evaluations that agree in them see the same images.
    Raises: InputError if the split is absent or empty, or not of the images and classes that the network was trained on.
    """
    was = network.config
    data_dir, is_held_out = config.data_dir or was.data_dir or None, config.split == "held_out"
    dataset = load(was.dataset, "train" if is_held_out else config.split, data_dir, was.image_size)
    _check_fits(dataset, network, config.split)
    chosen = stratified_shares(dataset.labels, was.held_out, was.seed)[0] if is_held_out else np.arange(len(dataset))
    if not len(chosen):
        raise InputError(f"split={config.split} of {was.dataset} holds no image: expected a split with images, such as test")
    order = chosen[batch_indices(0, len(chosen), len(chosen), config.seed, "attack")]
    indices = order[: config.examples] if config.examples else order
    return Examples(indices, np.float32(dataset.images[indices]) / 255, dataset.labels[indices])


def _check_fits(dataset: Dataset, network: TrainedNetwork, split: str) -> None:
    for what, here, there in (
        ("images", dataset.image_shape, network.image_shape),
        ("classes", dataset.class_names, network.class_names),
    ):
        if tuple(here) != tuple(there):
            here, there = (f"{len(v)} classes" if what == "classes" else "x".join(map(str, v)) for v in (here, there))
            raise InputError(
                f"{dataset.name} ({split}) has other {what} than those that the network was trained on: "
                f"expected {there}, got {here}{' of other names' if here == there else ''}; give the data_dir of its training"
            )
