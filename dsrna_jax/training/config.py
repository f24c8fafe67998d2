"""The configuration of a training: one frozen dataclass, from which flags and presets are made.

Imports no JAX, so that `--help` is quick: choices are names, which a test compares with the registries that implement them.
"""

import dataclasses
from typing import ClassVar

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.compute_options import ComputeOptions, part_count
from dsrna_jax.runtime.image_options import STARTS, STARTS_SAY, ImageOptions
from dsrna_jax.runtime.options import check, option
from dsrna_jax.training.adversarial_options import AdversarialOptions, check_adversarial

_SCHEDULES = ("cosine", "linear", "decay", "steps", "thirds", "triangle", "constant")


@dataclasses.dataclass(frozen=True)
class TrainingConfig(AdversarialOptions, ImageOptions, ComputeOptions):
    """The settings of a training; by default on the handwritten digits that ship with scikit-learn."""

    experiment: ClassVar[str] = "training"
    section: ClassVar[str] = "training"

    genotype: str = option(
        "PC_DARTS_cifar",
        "run folder, .json file, published name, random:SEED, DARTS's text, or list to list the names",
        in_programs="none",
    )
    cells: int = option(8, "cells of the network", "[3, 200]")
    channels: int = option(8, "channels of the first cell", "[1, 4096]")
    start: str = option("cifar", STARTS_SAY, STARTS)
    auxiliary_weight: float = option(0.4, "weight of the auxiliary head's loss; 0 for no such head", "[0, 1e6]")
    drop_path: float = option(0.0, "probability to lose a branch, times e / epochs in epoch e, the first of which is 0", "[0, 1)")
    label_smoothing: float = option(0.0, "share of a label that is spread over all classes", "[0, 1)")
    epochs: int = option(15, "passes over the training images", "[1, 1e6]")
    batch_size: int = option(64, "images per step", "[1, 1e6]")
    batch_norm: str = option(
        "batch", "batch norm in steps: by the whole batch, or by each device's part of it", ("batch", "device"), before="batch"
    )
    lr: float = option(0.05, "highest learning rate (SGD)", "[0, 1e6]")
    schedule: str = option("cosine", "how the learning rate changes from epoch to epoch", _SCHEDULES)
    lr_warmup_epochs: int = option(
        0, "epochs in which the learning rate rises to that of its schedule", "[0, 1e6]", most="epochs"
    )
    momentum: float = option(0.9, "momentum", "[0, 1)")
    weight_decay: float = option(3e-4, "L2 decay of the weights", "[0, 1e6]", in_programs="argument")
    clip: float = option(5.0, "largest norm of the gradient", "[1e-30, 1e30]")
    ema: float = option(0.0, "decay of the average of the weights that is evaluated in their place; 0 for none", "[0, 1)")
    held_out: float = option(
        0.1, "share of the training images that are kept apart, to choose the best checkpoint", "[0, 1)", in_programs="none"
    )
    patience: int = option(
        0, "epochs without a better checkpoint after which training stops; 0 for never", "[0, 1e6]", in_programs="none"
    )
    seed: int = option(
        0, "seed of weights, held-out images, batches, augmentation and attacks", "[0, 4294967295]", in_programs="none"
    )

    def __post_init__(self):
        check(self)
        part_count(self)
        check_adversarial(self)
        if self.patience and not self.held_out:
            raise InputError(f"patience={self.patience} needs images to judge by: expected held_out above 0, such as 0.1")
