"""A network with all its arguments but the images: the function that bounds, Jacobians and attacks take."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from dsrna_jax.networks.layers import Images, Map, Statistics
from dsrna_jax.networks.network import Mixture, Network
from dsrna_jax.networks.shifts import scaled_shifts

Logits = Float[Array, "batch class"]


@dataclasses.dataclass(frozen=True)
class NetworkFunction:
    """A network with all its arguments but the images: a function of images that returns logits, whole and in stages.

    The states between stages are [channel, batch, height, width]; arguments as those of a `Network`.
    """

    network: Network
    variables: Mapping[str, Any]
    mixtures: dict[str, Mixture] | None = None
    statistics: Statistics = "running"

    def _applied(self, *arguments: Any, method: str | None = None) -> Any:
        return self.network.apply(self.variables, *arguments, method=method)

    def __call__(self, images: Images) -> Logits:
        return self._applied(images, self.mixtures, self.statistics)

    def stem(self, images: Images) -> tuple[Map, Map]:
        """The two states that the first cell reads."""
        return self._applied(images, self.statistics, method="stem")

    @property
    def cells(self) -> list[Callable[[Map, Map], Map]]:
        """Functions (before, last) -> state, cell by cell."""

        def function(index: int) -> Callable[[Map, Map], Map]:
            return lambda before, last: self._applied(index, before, last, self.mixtures, self.statistics, method="cell")

        return [function(index) for index in range(self.network.cells)]

    def head(self, last: Map) -> Logits:
        """Logits of the last state."""
        return self._applied(last, method="head")

    @property
    def in_float32(self) -> "NetworkFunction":
        """This function with maps in the type of the images, as bounds need them."""
        return dataclasses.replace(self, network=self.network.clone(dtype=None))

    def rescaled(self, factors: Sequence[float | Array], zoom: float = 1.0) -> Callable[[Images], Logits]:
        """A function that maps zoom * images to zoom * product of factors * logits.

        States are multiplied by one of the positive `factors` ahead of each cell. Stages are positively homogeneous except for
        their shifts, which are scaled with the states. Bounds that grow by orders of magnitude in every cell thus stay within
        the range of floating point; nothing else changes.
        """
        scales = list(itertools.accumulate(factors, lambda scale, factor: scale * factor, initial=zoom))
        stages = [dataclasses.replace(self, variables=scaled_shifts(self.variables, scale)) for scale in scales]
        zoomed = self.network.clone(mean=zoom * jnp.asarray(self.network.mean))

        def whole(images):
            before, last = dataclasses.replace(stages[0], network=zoomed).stem(images)
            for index, (factor, stage) in enumerate(zip(factors, stages[1:], strict=True)):
                before, last = factor * before, factor * last
                before, last = last, stage.cells[index](before, last)
            return stages[-1].head(last)

        return whole
