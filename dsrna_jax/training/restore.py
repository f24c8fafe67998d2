"""Trained networks from their checkpoints or safetensors files, for attacks, bounds and pictures."""

import dataclasses
import os
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.tree_util import Partial

from dsrna_jax import genotypes, strict_json
from dsrna_jax.errors import InputError
from dsrna_jax.networks.network import Network
from dsrna_jax.runtime.checkpoint import BEST, Restored, restore_for_eval
from dsrna_jax.runtime.invocation import command_line
from dsrna_jax.runtime.run_folder import configuration_of, renewed
from dsrna_jax.training import shipped, weights_file
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.setup import trained_network


class TrainedNetwork(NamedTuple):
    """A network with its weights, as it was evaluated in training, but in float32 whatever the precision of the training.

    logits_fn: images [batch, height, width, channel] in [0, 1] -> logits [batch, class], by running statistics: each image
      by itself, normalisation inside. A pure function, not jitted, and a pytree, whose leaves are the variables and the
      statistics of pixels: a compiled program that takes it as an argument serves all checkpoints of one architecture. Images of
      whole numbers or of other channels are refused by an InputError.
    network, variables: `network.apply(variables, images)` computes the same.
    metadata: of the checkpoint: "config", "genotype", "data" (image_shape, class_names, mean, std).
    step: number of training steps.
    """

    logits_fn: Partial
    network: Network
    variables: dict[str, Any]
    metadata: dict[str, Any]
    step: int

    @property
    def config(self) -> TrainingConfig:
        """The configuration of its training."""
        return TrainingConfig(**self.metadata["config"])

    def logits_in(self, dtype: str | None) -> Partial:
        """`logits_fn` with maps of that type, the `dtype` of a `Network`."""
        if dtype is None:
            return self.logits_fn
        return Partial(_Applied(self.network.clone(mean=(), std=(), dtype=dtype)), *self.logits_fn.args)

    @property
    def digest(self) -> str:
        """Fingerprint of weights and statistics, in hexadecimal: equal for checkpoints that compute the same."""
        return weights_file.digest(self.variables)

    @property
    def weight_count(self) -> int:
        """Number of trainable weights; batch statistics do not count."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.variables["params"]))

    @property
    def architecture(self) -> genotypes.Architecture:
        """The genotype or RobNet that it was built from."""
        return genotypes.from_json(self.metadata["genotype"])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images that it takes."""
        return tuple(self.metadata["data"]["image_shape"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class."""
        return tuple(self.metadata["data"]["class_names"])


def load(path: str | os.PathLike) -> TrainedNetwork:
    """The network in a checkpoint of a training, or in a file that `dsrna_jax export --to=safetensors` wrote.

    Args:
      path: a run folder (its best checkpoint by held-out images if there is one, else the newest), a folder of
        checkpoints (the newest), the folder of one, a file *.safetensors, or the name of a pretrained network.
    Raises: InputError if there is no checkpoint, or if it is damaged or not of a training.
    """
    path = shipped.path_of(os.fspath(path))
    is_file = Path(path).suffix == weights_file.SUFFIX and not Path(path).is_dir()
    if not (is_file or Path(path).exists()):
        known = ", ".join(shipped.names())
        raise InputError(f"no checkpoint in {path}, which is not there: expected the folder of a training, or one of {known}")
    step, metadata, variables = weights_file.read(path) if is_file else _trained_checkpoint(path)
    try:
        metadata = renewed(metadata, TrainingConfig)
        strict_json.check(metadata, {"genotype": {}})
        architecture = genotypes.from_json(metadata["genotype"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    config, data = configuration_of(metadata, TrainingConfig, path), metadata["data"]
    classes = len(data["class_names"])
    network = trained_network(config, architecture, classes, data["mean"], data["std"])
    network = network.clone(auxiliary=False, dtype=None, remat=False)
    _check_fits(variables, network, tuple(data["image_shape"]), path)
    pixels = np.array([data["mean"], data["std"]], np.float32)
    logits_fn = Partial(_Applied(network.clone(mean=(), std=())), variables, pixels)
    return TrainedNetwork(logits_fn, network, variables, metadata, step)


def _trained_checkpoint(path: str | os.PathLike) -> Restored:
    """A checkpoint with the variables "params" and "batch_stats" that are evaluated: averages where there are, no auxiliary head.

    Raises: InputError if there is none, or if it is damaged or not of a training.
    """
    best = Path(path) / BEST
    step, metadata, variables = restore_for_eval(best if best.is_dir() else path)
    if metadata.get("experiment") != "training":
        what = metadata.get("experiment", "something else")
        raise InputError(
            f"{path} holds the checkpoint of a {what}, expected that of a training: "
            f"make one by {command_line('train')} {shlex.quote(f'--genotype={path}')}"
        )
    chosen = variables.get("average") or variables
    weights, statistics = (
        {name: part for name, part in chosen[kind].items() if name != "auxiliary_head"} for kind in ("weights", "batch_stats")
    )
    return Restored(step, metadata, {"params": weights, "batch_stats": statistics})


@dataclasses.dataclass(frozen=True)
class _Applied:
    """A function of the variables, of the mean and standard deviation of pixels [2, channel], and of the images."""

    network: Network

    def __call__(self, variables, pixels, images):
        if images.shape[-1] != pixels.shape[1]:
            raise InputError(f"images must be [batch, height, width, {pixels.shape[1]}], got shape {images.shape}")
        return self.network.clone(mean=pixels[0], std=pixels[1]).apply(variables, images)


def _check_fits(variables, network, image_shape, path) -> None:
    """Raises: InputError unless the variables are those of the network that their metadata describes."""
    wanted = jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *image_shape), "float32"))
    shapes = [
        {jax.tree_util.keystr(where): leaf.shape for where, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}
        for tree in (variables, dict(wanted))
    ]
    if shapes[0] != shapes[1]:
        strange = min(name for name in {*shapes[0], *shapes[1]} if shapes[0].get(name) != shapes[1].get(name))
        raise InputError(f"{path} does not hold the network that it describes: {strange} does not fit; use another checkpoint")
