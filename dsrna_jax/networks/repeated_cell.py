"""Equal cells in a row, compiled once: a scan over their stacked variables."""

import flax.linen as nn
import jax
from jax import lax
from jaxtyping import Array, Float

from dsrna_jax.networks.cell import Cell
from dsrna_jax.networks.layers import Statistics
from dsrna_jax.networks.plan import Branch


class RepeatedCell(nn.Module):
    """`length` normal cells of one shape, each of which reads the outputs of the two before it.

    Their variables are those of a `Cell` with a leading axis, [length, ...], under the name "cells". remat: as in a `Network`.
    """

    branches: tuple[Branch, ...]
    concat: tuple[int, ...]
    channels: int
    length: int
    partial: int = 1
    affine: bool = False
    is_supernet: bool = False
    remat: bool = False
    skip_dropout: float | Float[Array, ""] = 0.0

    def template(self) -> Cell:
        """The cell, without variables."""
        settings = {"partial": self.partial, "affine": self.affine, "is_supernet": self.is_supernet}
        settings["skip_dropout"] = self.skip_dropout
        return Cell(self.branches, self.concat, self.channels, reduction=False, after_reduction=False, **settings, parent=None)

    @nn.compact
    def __call__(self, before, last, branch_weights, edge_weights, statistics: Statistics):
        """The outputs of the last two cells; arguments as those of a `Cell`.

        branch_weights: also [length, branch, batch], for each cell and example.
        """
        cell, collections = self.template(), ["params", "batch_stats"]

        def initial(key):
            return jax.vmap(lambda k: cell.init(k, before, last, None, edge_weights, "batch"))(jax.random.split(key, self.length))

        def stacked(collection):
            seed = self.make_rng("params") if self.is_initializing() else None
            return self.variable(collection, "cells", lambda: initial(seed)[collection])

        variables = {name: stacked(name) for name in collections}
        values = {name: variable.value for name, variable in variables.items()}
        if statistics == "frozen":
            values["moments"] = self.get_variable("moments", "cells")
        mutable = [] if self.is_initializing() else [n for n in ("batch_stats", "moments") if self.is_mutable_collection(n)]
        drawing = [name for name in ("noise", "skip_dropout") if self.has_rng(name)]
        keys = {name: jax.random.split(self.make_rng(name), self.length) for name in drawing}
        has_own = branch_weights is not None and branch_weights.ndim == 3

        def one(states, parts):
            variables, own, rngs = parts
            weights = own if has_own else branch_weights
            output, updated = cell.apply(variables, *states, weights, edge_weights, statistics, rngs=rngs, mutable=mutable)
            return (states[1], output), updated

        if self.remat:
            one = jax.checkpoint(one, prevent_cse=False)  # a loop keeps the two computations apart
        states, updated = lax.scan(one, (before, last), (values, branch_weights if has_own else None, keys))
        for name in mutable:
            self.put_variable(name, "cells", updated[name])
        return states

    def one(self, index: int, before, last, branch_weights, edge_weights, statistics: Statistics):
        """The output of cell number `index` of these; statistics are not updated."""
        names = [name for name in ("params", "batch_stats", "moments") if self.has_variable(name, "cells")]
        own = {name: jax.tree.map(lambda leaf: leaf[index], self.get_variable(name, "cells")) for name in names}
        return self.template().apply(own, before, last, branch_weights, edge_weights, statistics)
