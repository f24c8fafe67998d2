"""A network with all that it takes but the images: what bounds, Jacobians and attacks see."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dsrna_jax.networks.layers import Statistics
from dsrna_jax.networks.network import Mixture, Network


@dataclasses.dataclass(frozen=True)
class NetworkFunction:
    """A network with all that it takes but the images: a function [batch, height, width, channel] -> logits, and its stages.

    States are [channel, batch, height, width]; arguments as those of `Network.__call__`.
    """

    network: Network
    variables: Any
    mixtures: dict[str, Mixture] | None = None
    statistics: Statistics = "running"

    def __call__(self, images):
        return self.network.apply(self.variables, images, self.mixtures, self.statistics)

    def stem(self, images):
        """The two states that the first cell reads."""
        return self.network.apply(self.variables, images, self.statistics, method="stem")

    @property
    def cells(self) -> list[Callable]:
        """Functions (before, last) -> state, cell by cell."""

        def function(index):
            return lambda before, last: self.network.apply(
                self.variables, index, before, last, self.mixtures, self.statistics, method="cell"
            )

        return [function(index) for index in range(self.network.cells)]

    def head(self, last):
        """Logits of the last state."""
        return self.network.apply(self.variables, last, method="head")

    def rescaled(self, factors: Sequence, zoom: float = 1.0) -> Callable:
        """zoom * images -> zoom * product of factors * logits: states shrink by one of the positive `factors` ahead of each cell.

        The stages are positively homogeneous but for their shifts, which are scaled with the states. So a bound that
        grows a millionfold in every cell stays within the range of floating point; nothing else changes.
        """
        scales = list(itertools.accumulate(factors, lambda scale, factor: scale * factor, initial=zoom))
        stages = [dataclasses.replace(self, variables=scaled_shifts(self.variables, scale)) for scale in scales]
        zoomed = self.network.clone(mean=tuple(zoom * m for m in self.network.mean))

        def whole(images):
            before, last = dataclasses.replace(stages[0], network=zoomed).stem(images)
            for index, (factor, stage) in enumerate(zip(factors, stages[1:], strict=True)):
                before, last = factor * before, factor * last
                before, last = last, stage.cells[index](before, last)
            return stages[-1].head(last)

        return whole


def scaled_shifts(variables, factor):
    """Variables with which cells and head map factor * state to factor * what they mapped state to; so does the stem's norm."""

    def scaled(path, leaf):
        names = [getattr(key, "key", getattr(key, "idx", None)) for key in path]
        if names[0] == "batch_stats":  # (mean, variance), and in front of it the number of a repeated cell
            axis = int(names[1].startswith("cells_"))
            return leaf * jnp.array([factor, 1], leaf.dtype).reshape(2, *[1] * (leaf.ndim - 1 - axis))
        is_shift = names[-1] in ("bias", "head_bias") or (names[0] == "moments" and names[-1] == 0)  # moments: (mean, variance)
        return factor * leaf if is_shift else leaf

    return jax.tree_util.tree_map_with_path(scaled, variables)
