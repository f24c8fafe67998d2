"""The configuration of a search: one frozen dataclass, from which flags and presets are made.

Imports no JAX, so that `--help` is quick: choices are names, which a test compares with the registries that implement them.
"""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from dsrna_jax.bounds import METHODS, NORMS
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.search_spaces import SPACES, check_space
from dsrna_jax.measures import CERTIFICATES, ESTIMABLE, MEASURES, RADIUS_SCHEDULES
from dsrna_jax.runtime.compute_options import ComputeOptions, part_count
from dsrna_jax.runtime.image_options import ImageOptions
from dsrna_jax.runtime.options import check, option
from dsrna_jax.search.mixture_options import MixtureOptions, check_mixture
from dsrna_jax.search.robustness_options import RobustnessOptions, check_robustness
from dsrna_jax.search.sampled_options import SampledOptions, check_sampled
from dsrna_jax.search.series_options import SeriesOptions, check_series

if TYPE_CHECKING:
    from dsrna_jax.genotypes.kept_operations import Kept

_PERTURBATIONS = ("none", "uniform", "adversarial")
_STARTS = ("cifar", "imagenet", "imagenet_wide")


@dataclasses.dataclass(frozen=True)
class SearchConfig(SampledOptions, RobustnessOptions, MixtureOptions, SeriesOptions, ComputeOptions, ImageOptions):
    """The settings of a search; by default DSRNA-Jacobian on the handwritten digits that ship with scikit-learn."""

    experiment: ClassVar[str] = "search"

    space: str = option("pcdarts", "search space", SPACES)
    cells: int = option(3, "cells of the supernet", "[3, 200]")
    channels: int = option(16, "channels of the first cell", "[1, 4096]")
    start: str = option(
        "cifar", "images enter at full size (cifar) or an eighth of the side (imagenet, imagenet_wide)", _STARTS, before="cifar"
    )
    nodes: int = option(4, "nodes inside a cell", "[1, 16]", formerly="steps")
    metric: str = option("jacobian", "robustness measure R", MEASURES)
    jacobian_norm: str = option(
        "row_l2",
        "Jacobian norm: row_l2 against l2, row_l1 against l-infinity",
        ESTIMABLE["exact"],
        formerly="norm",
        renamed={"l1": "row_l1", "fro2": "fro_squared"},
    )
    jacobian_method: str = option("rows", "how the Jacobian norm is estimated", ESTIMABLE, formerly="method")
    n_proj: int = option(1, "projections of an estimate", "[1, 1000]")
    certificate: str = option("cell", "certificate of every cell, of the margin, or of the largest radius", CERTIFICATES)
    certificate_method: str = option("ibp", "method of its bounds", METHODS)
    certificate_norm: str = option("linf", "norm of the ball that is certified", NORMS)
    entries: int = option(4, "output entries of a cell that are bounded, by methods other than ibp", "[1, 4096]")
    radius: float = option(0.03, "radius of certificates at the start", "[1e-30, 1e4]")
    radius_schedule: str = option("controller", "radius: by the slack of certificates, fixed, or growing", RADIUS_SCHEDULES)
    order: str = option("first", "hypergradient", ("first", "unrolled", "unrolled_fd"), of="strategy=gradient")
    perturbation: str = option(
        "none",
        "change of the mixtures in a weight step: uniform (SDARTS-RS), adversarial (SDARTS-ADV)",
        _PERTURBATIONS,
        before="none",
        of="strategy=gradient",
    )
    perturbation_start: float = option(0.03, "size of that change in the first epoch", "[0, 1]", before=0.03, of="perturbation")
    perturbation_radius: float = option(
        0.3, "size of that change that is reached after the last epoch", "[0, 1]", before=0.3, of="perturbation"
    )
    perturbation_steps: int = option(7, "steps of the adversarial change", "[1, 1000]", before=7, of="perturbation=adversarial")
    stop_skips: int = option(
        0,
        "skip connections in the normal cell at which the search stops (DARTS+); 0 for never",
        "[0, 32]",
        before=0,
        in_programs="none",
        of="strategy=gradient",
    )
    stop_stable: int = option(
        0,
        "epochs without a change in the ranking of the operations after which the search stops (DARTS+); 0 for never",
        "[0, 1e6]",
        before=0,
        in_programs="none",
        of="strategy=gradient",
    )
    stop_eigenvalue: float = option(
        0.0,
        "factor of the dominant eigenvalue's rise at which the search stops and returns an earlier cell (DARTS-ES); 0 for never",
        "[0, 1e6]",
        before=0.0,
        in_programs="none",
        of="strategy=gradient",
    )
    stop_eigenvalue_from: int = option(
        10, "earliest epoch whose cell it then returns", "[1, 1e6]", before=10, in_programs="none", of="stop_eigenvalue"
    )
    eigenvalue_every: int = option(
        5,
        "epochs from one measurement of the dominant eigenvalue of the alphas' Hessian to the next; 0 for never",
        "[0, 1e6]",
        before=0,
        in_programs="none",
        of="strategy=gradient",
    )
    epochs: int = option(15, "passes over the search_train half; 0 for children without a supernet", "[0, 1e6]")
    warmup_epochs: int = option(3, "epochs in which the alphas are frozen", "[0, 1e6]")
    batch_size: int = option(64, "images per step, from each half", "[1, 1e6]")
    batch_norm: str = option(
        "batch", "batch norm in steps: by the whole batch, or by each device's part of it", ("batch", "device"), before="batch"
    )
    train_share: float = option(
        0.5, "share of the training images from which weights learn", "(0, 1)", before=0.5, in_programs="none"
    )
    val_share: float = option(
        0.5, "share of the training images from which alphas learn", "(0, 1)", before=0.5, in_programs="none"
    )
    weight_lr: float = option(0.1, "learning rate of the weights (SGD), annealed by a cosine per epoch", "[0, 1e6]")
    weight_lr_min: float = option(0.0, "learning rate at the end of the cosine", "[0, 1e6]")
    weight_lr_warmup_epochs: int = option(0, "epochs in which that learning rate rises to its cosine", "[0, 1e6]", before=0)
    momentum: float = option(0.9, "momentum of the weights", "[0, 1)")
    weight_decay: float = option(3e-4, "L2 decay of the weights", "[0, 1e6]", in_programs="argument")
    clip: float = option(5.0, "largest norm of the weight gradient", "[1e-30, 1e30]")
    alpha_lr: float = option(3e-3, "learning rate of the alphas (Adam, betas .5 and .999)", "[0, 1e6]", of="strategy=gradient")
    alpha_clip: float = option(
        0.0, "largest norm of the gradient of the alphas; 0 for any", "[0, 1e30]", before=0.0, of="strategy=gradient"
    )
    alpha_decay: float = option(1e-3, "L2 decay of the alphas", "[0, 1e6]", of="strategy=gradient")
    seed: int = option(0, "seed of weights, alphas, halves, batches and projections", "[0, 4294967295]", in_programs="none")

    @property
    def primitives(self) -> tuple[str, ...]:
        """Names of the operations of the search space, in the order of the columns of alphas."""
        return SPACES[self.space].primitives

    @property
    def kept(self) -> "Kept | None":
        """The operations that the rows of alphas have, [row, primitive] by group; None if they have all."""
        if not self.operations:
            return SPACES[self.space].kept(self.nodes, self.cells)
        from dsrna_jax.genotypes.kept_operations import kept_of

        return kept_of(self.operations, self.nodes, self.primitives)

    def __post_init__(self):
        check(self)
        check_space(self, {field.name: field.default for field in dataclasses.fields(self)})
        part_count(self)
        check_mixture(self)
        check_robustness(self)
        check_sampled(self)
        check_series(self)
        if self.train_share + self.val_share > 1:
            raise InputError(
                f"train_share={self.train_share} and val_share={self.val_share} overlap: expected at most 1 in sum, because "
                "weights and alphas learn from different images"
            )
        if self.stop_eigenvalue and not self.eigenvalue_every:
            raise InputError(
                f"stop_eigenvalue={self.stop_eigenvalue} needs eigenvalues: expected eigenvalue_every of at least 1, such as 2"
            )
        estimable = ESTIMABLE[self.jacobian_method]
        if self.jacobian_norm not in estimable:
            raise InputError(
                f"jacobian_method={self.jacobian_method!r} cannot estimate jacobian_norm={self.jacobian_norm!r}: "
                f"expected one of {', '.join(estimable)}"
            )
