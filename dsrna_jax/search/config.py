"""The configuration of a search: one frozen dataclass, from which flags and presets are made.

Imports no JAX, so that `--help` is quick: choices are names, which a test compares with the registries that implement them.
"""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from dsrna_jax.genotypes.search_spaces import SPACES, check_space
from dsrna_jax.runtime.compute_options import ComputeOptions, part_count
from dsrna_jax.runtime.image_options import ImageOptions
from dsrna_jax.runtime.options import check
from dsrna_jax.search.options.alphas import AlphaOptions
from dsrna_jax.search.options.mixtures import MixtureOptions, check_mixture
from dsrna_jax.search.options.network import NetworkOptions
from dsrna_jax.search.options.robustness import RobustnessOptions, check_robustness
from dsrna_jax.search.options.sampled import SampledOptions, check_sampled
from dsrna_jax.search.options.series import SeriesOptions, check_series
from dsrna_jax.search.options.stopping import StoppingOptions, check_stopping
from dsrna_jax.search.options.weights import WeightOptions, check_weights

if TYPE_CHECKING:
    from dsrna_jax.genotypes.kept_operations import Kept


@dataclasses.dataclass(frozen=True)
class SearchConfig(
    NetworkOptions,
    RobustnessOptions,
    AlphaOptions,
    MixtureOptions,
    StoppingOptions,
    WeightOptions,
    SampledOptions,
    SeriesOptions,
    ImageOptions,
    ComputeOptions,
):
    """The settings of a search; by default DSRNA-Jacobian on the handwritten digits that ship with scikit-learn."""

    experiment: ClassVar[str] = "search"

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
        check_weights(self)
        check_stopping(self)
