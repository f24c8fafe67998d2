"""All branches that leave a stack of nodes, computed together."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dsrna_jax.kernels.gather_rows import gather_rows
from dsrna_jax.kernels.mixed_precision import scaled
from dsrna_jax.kernels.pointwise import pointwise
from dsrna_jax.networks.families import FAMILIES, family_of
from dsrna_jax.networks.layers import Statistics
from dsrna_jax.networks.maps import Kind, Maps, joined


class Fan(nn.Module):
    """All branches that leave a stack of nodes, which have the same `kinds` of branches each.

    Their weights are stacked, so that a few large operations replace many small ones: one ReLU, one pool of each kind, one
    depthwise convolution, one batch norm and one weighted sum for all of them.

    affine: whether batch norms have scale and bias.
    is_supernet: whether pools have a batch norm (DARTS), and all convolutions go together.
    skip_dropout: as that of a `Network`.
    """

    kinds: tuple[Kind, ...]
    stride: int
    affine: bool
    is_supernet: bool
    skip_dropout: float | Float[Array, ""] = 0.0

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "stack channel batch height width"],
        weights: Float[Array, "stack branch"] | Float[Array, "stack branch batch"] | None,
        statistics: Statistics,
    ) -> dict[int, Float[Array, "channel batch height_out width_out"]]:
        """The weighted sum of the branches into each target node, by target.

        weights: of the branches, in the order of `kinds`, for all examples or for each; None for ones.
        """
        parts = [part for maps, kinds in self.by_family() for part in maps(self, x, kinds, statistics)]
        if weights is None or weights.ndim == 3:
            return self.sums(parts, weights)
        targets = sorted({kind.target for kind in self.kinds})
        every = joined(parts)
        rows = every.values.reshape(-1, *every.values.shape[2:4], every.values.shape[4] * every.values.shape[5])
        total = pointwise(rows, self.by_map(weights, every.served, targets)).reshape(-1, *every.values.shape[2:])
        return dict(zip(targets, jnp.unstack(total), strict=True))

    def by_family(self) -> list[tuple[Callable, tuple[Kind, ...]]]:
        """The functions that build the branches, each with the kinds that it builds, in the order of `FAMILIES`."""
        builders = dict.fromkeys(family.maps for family in FAMILIES.values())
        of = {maps: tuple(kind for kind in self.kinds if family_of(kind.primitive).maps is maps) for maps in builders}
        return [(maps, kinds) for maps, kinds in of.items() if kinds]

    def sums(self, parts: Sequence[Maps], weights):
        """The result by plain additions, which are faster if few branches meet in a node, as in a derived network."""
        totals = {}
        for part in parts:
            for kinds, y in zip(part.served, jnp.unstack(part.values, axis=1), strict=True):
                for kind in kinds:
                    column = self.kinds.index(kind)
                    for stack, term in enumerate(jnp.unstack(y)):
                        if weights is not None:
                            term = scaled(term, weights[stack, column][None, :, None, None])
                        totals[kind.target] = totals[kind.target] + term if kind.target in totals else term
        return totals

    def by_map(self, weights, served, targets):
        """[target, stack * map]: the weight of each map in each target; zero if none of its branches leads there."""
        column = np.full((len(served), len(targets)), -1)
        for i, kinds in enumerate(served):
            for kind in kinds:
                column[i, targets.index(kind.target)] = self.kinds.index(kind)
        return gather_rows(weights.T, column).transpose(1, 2, 0).reshape(len(targets), -1)
