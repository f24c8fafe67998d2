"""The images on which a trained network is evaluated."""

import dataclasses
import hashlib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dsrna_jax.data import Dataset, batch_indices, stratified_shares
from dsrna_jax.data.loading import StreamedDataset, images_of, taken
from dsrna_jax.errors import InputError
from dsrna_jax.training.restore import TrainedNetwork


class EvaluationImages(NamedTuple):
    """Images in [0, 1], their labels, and their indices in the split of the data set."""

    indices: Int[np.ndarray, " examples"]
    images: Float[np.ndarray, "examples height width channel"]
    labels: Int[np.ndarray, " examples"]

    @property
    def digest(self) -> str:
        """Fingerprint of all of them, in hexadecimal."""
        digest = hashlib.sha256()
        for array in self:
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]


def evaluation_images(config: Any, network: TrainedNetwork) -> EvaluationImages:
    """The images that a configuration draws for a network; fewer examples are the first of more.

    Args:
      config: has `split`, `examples` (0 for all), `data_dir` and `seed`; evaluations that agree in them use the same images.
    Raises: InputError if the split is absent or empty, or not of the images and classes that the network was trained on.
    """
    training = network.config
    is_held_out, there = config.split == "held_out", dataclasses.replace(training, data_dir=config.data_dir or training.data_dir)
    dataset = images_of(there, "train" if is_held_out else config.split)
    _check_fits(dataset, network, config.split)
    chosen = stratified_shares(dataset.strata, training.held_out, training.seed)[0] if is_held_out else np.arange(len(dataset))
    if not len(chosen):
        raise InputError(f"split={config.split} of {training.dataset} holds no image: expected a split with images, such as test")
    order = chosen[batch_indices(0, len(chosen), len(chosen), config.seed, "attack")]
    indices = order[: config.examples] if config.examples else order
    images, labels = taken(dataset, indices)
    return EvaluationImages(indices, images.astype(np.float32) / 255, labels)


def _check_fits(dataset: Dataset | StreamedDataset, network: TrainedNetwork, split: str) -> None:
    for noun, got, expected in (
        ("images", dataset.image_shape, network.image_shape),
        ("classes", dataset.class_names, network.class_names),
    ):
        if tuple(got) != tuple(expected):
            got, expected = (f"{len(v)} classes" if noun == "classes" else "x".join(map(str, v)) for v in (got, expected))
            raise InputError(
                f"{dataset.name} ({split}) has other {noun} than those that the network was trained on: "
                f"expected {expected}, got {got}{' of other names' if got == expected else ''}; give the data_dir of its training"
            )
