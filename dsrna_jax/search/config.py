"""The configuration of a search: one frozen dataclass is the truth; flags and presets are made from it.

Imports no JAX, so that `--help` is quick: choices are names, which a test compares with the registries that implement them.
"""

import dataclasses
from typing import ClassVar

from dsrna_jax.bounds import METHODS, NORMS
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.search_spaces import SPACES
from dsrna_jax.measures import CERTIFICATES, ESTIMABLE, MEASURES, RADIUS_SCHEDULES
from dsrna_jax.runtime.options import check, option


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """All that decides what a search does; the default is DSRNA-Jacobian on the embedded handwritten digits."""

    experiment: ClassVar[str] = "search"

    dataset: str = option("digits", "digits, a tfds name such as mnist or cifar10, or folder:PATH with one folder a class")
    data_dir: str = option("", "prepared tfds folder")
    image_size: int = option(0, "side to which images are resized; 0 keeps theirs")
    space: str = option("pcdarts", "search space", SPACES)
    cells: int = option(3, "cells of the supernet")
    channels: int = option(16, "channels of the first cell")
    nodes: int = option(4, "nodes inside a cell", formerly="steps")
    metric: str = option("jacobian", "robustness measure R", MEASURES)
    jacobian_norm: str = option(
        "row_l2",
        "Jacobian norm: row_l2 against l2, row_l1 against l-infinity",
        ESTIMABLE["exact"],
        formerly="norm",
        renamed={"l1": "row_l1", "fro2": "fro_squared"},
    )
    jacobian_method: str = option("rows", "how the Jacobian norm is estimated", ESTIMABLE, formerly="method")
    n_proj: int = option(1, "projections an estimate takes")
    certificate: str = option("cell", "what is certified: every cell, the margin, or the largest radius", CERTIFICATES)
    certificate_method: str = option("ibp", "how it is bounded", METHODS)
    certificate_norm: str = option("linf", "norm of the ball that is certified", NORMS)
    entries: int = option(4, "output entries of a cell that are bounded, by methods other than ibp")
    radius: float = option(0.03, "radius of certificates at the start")
    radius_schedule: str = option("controller", "how the radius moves: by what is certified, not, or up to it", RADIUS_SCHEDULES)
    gamma: float = option(0.01, "weight of R in the objective of the alphas (Eq. 16)")
    order: str = option("first", "hypergradient", ("first", "unrolled", "unrolled_fd"))
    epochs: int = option(15, "passes over the search_train half")
    warmup_epochs: int = option(3, "epochs in which the alphas are frozen")
    batch_size: int = option(64, "images per step, from each half")
    weight_lr: float = option(0.1, "learning rate of the weights (SGD), annealed by a cosine per epoch")
    weight_lr_min: float = option(0.0, "learning rate at the end of the cosine")
    momentum: float = option(0.9, "momentum of the weights")
    weight_decay: float = option(3e-4, "L2 decay of the weights")
    clip: float = option(5.0, "largest norm of the weight gradient")
    alpha_lr: float = option(3e-3, "learning rate of the alphas (Adam, betas .5 and .999)")
    alpha_decay: float = option(1e-3, "L2 decay of the alphas")
    crop_padding: int = option(0, "pixels of the random crop's padding")
    flip: bool = option(False, "mirror images at random")
    cutout: int = option(0, "side of the cutout square in pixels; 0 for none")
    seed: int = option(0, "seed of weights, alphas, halves, batches and projections")

    @property
    def primitives(self) -> tuple[str, ...]:
        """Names of the operations that the search space offers, in the order of the columns of alphas."""
        return SPACES[self.space].primitives

    def __post_init__(self):
        check(
            self,
            least={"cells": 3, "channels": 1, "nodes": 1, "epochs": 1, "batch_size": 1, "n_proj": 1, "entries": 1},
            not_negative=("warmup_epochs", "gamma", "weight_lr", "weight_lr_min", "momentum", "weight_decay", "alpha_lr",
                          "alpha_decay", "crop_padding", "cutout", "image_size", "seed"),
        )  # fmt: skip
        for name in ("clip", "radius"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name)}: expected more than zero")
        estimable = ESTIMABLE[self.jacobian_method]
        if self.jacobian_norm not in estimable:
            raise InputError(
                f"jacobian_method={self.jacobian_method!r} cannot estimate jacobian_norm={self.jacobian_norm!r}: "
                f"expected one of {', '.join(estimable)}"
            )
