"""A cell: edges between nodes, each a weighted sum of operations. Edges that leave one node are computed together."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dsrna_jax.kernels.borders import summed_once
from dsrna_jax.kernels.gather_rows import gather_rows
from dsrna_jax.kernels.max_pool import max_pool
from dsrna_jax.kernels.mixed_precision import scaled
from dsrna_jax.networks.fan import Fan
from dsrna_jax.networks.layers import FactorizedReduce, Map, Preprocess, Statistics
from dsrna_jax.networks.maps import Kind
from dsrna_jax.networks.plan import Branch, edges_of


class Cell(nn.Module):
    """A cell: two preprocessed inputs, nodes that sum the outputs of their branches, and the concatenation of some nodes.

    With `partial` = K > 1 (PC-DARTS) only the first 1/K of the channels takes the branches; the others bypass them (by a
    2x2 max pool where the stride is 2), and the channels of every node are shuffled.
    """

    branches: tuple[Branch, ...]
    concat: tuple[int, ...]
    channels: int
    reduction: bool
    after_reduction: bool
    partial: int = 1
    affine: bool = False
    is_supernet: bool = False
    skip_dropout: float | Float[Array, ""] = 0.0

    @nn.compact
    def __call__(
        self,
        before: Map,
        last: Map,
        branch_weights: Float[Array, "branch"] | Float[Array, "branch batch"] | None,
        edge_weights: Float[Array, "edge"] | None,
        statistics: Statistics,
    ) -> Map:
        """The output of the cell.

        Args:
          before, last: outputs of the cell before the last one and of the last one.
          branch_weights: in the order of `branches`, for all examples or for each; None for ones.
          edge_weights: of the bypass of each edge, in the order of `edges_of(branches)`; needed if `partial` > 1.
        Returns: [len(concat) * channels, batch, height', width'].
        """
        if self.after_reduction:
            first = FactorizedReduce(self.channels, self.affine, name="preprocess_before")(before, statistics)[0]
        else:
            first = Preprocess(self.channels, self.affine, name="preprocess_before")(before, statistics)
        second = Preprocess(self.channels, self.affine, name="preprocess_last")(last, statistics)
        active = self.channels // self.partial
        nodes, sums, bypasses = [first, second], {}, {}
        bypass_weights = () if edge_weights is None else jnp.unstack(edge_weights)
        fans = self.fans()
        weights_of_fans = [None] * len(fans)
        if branch_weights is not None:
            columns = [columns for _, _, columns in fans]
            ordered = gather_rows(branch_weights, np.concatenate([c.ravel() for c in columns]))
            parts = jnp.split(ordered, np.cumsum([c.size for c in columns])[:-1])
            weights_of_fans = [part.reshape(*c.shape, *part.shape[1:]) for part, c in zip(parts, columns, strict=True)]

        def complete(target):
            node = sums[target]
            if self.partial > 1:
                node = jnp.concatenate([node, bypasses[target]])
                node = node.reshape(self.partial, active, *node.shape[1:]).swapaxes(0, 1).reshape(node.shape)
            nodes.append(summed_once(node) if any(branch.source == target for branch in self.branches) else node)

        for (sources, kinds, _), weights in zip(fans, weights_of_fans, strict=True):
            while len(nodes) <= max(sources):
                complete(len(nodes))
            stride = 2 if self.reduction and max(sources) < 2 else 1
            x = jnp.stack([nodes[s] for s in sources])
            fan = Fan(kinds, stride, self.affine, self.is_supernet, self.skip_dropout, name=f"from_{'_'.join(map(str, sources))}")
            if self.partial > 1:
                x, passed = jnp.split(x, [active], axis=1)
                passed = jnp.unstack(max_pool(passed, 2, 2) if stride == 2 else passed)
            received = fan(x, weights, statistics)
            for target, y in received.items():
                sums[target] = sums[target] + y if target in sums else y
            if self.partial > 1:
                for i, (source, target) in enumerate(edges_of(self.branches)):
                    if source in sources:
                        y = scaled(passed[sources.index(source)], bypass_weights[i])
                        bypasses[target] = bypasses[target] + y if target in bypasses else y
        while len(nodes) <= max(sums):
            complete(len(nodes))
        return summed_once(jnp.concatenate([nodes[n] for n in self.concat]))

    def fans(self):
        """[(sources, kinds, columns [source, kind])]: sources whose branches are computed together, in the order of the nodes.

        The two inputs go together if they have the same branches, as in a supernet. Columns are indices into `branches`.
        """
        by_source = {}
        for column, b in enumerate(self.branches):
            by_source.setdefault(b.source, []).append((Kind(b.primitive, b.target), column))
        fans = []
        for source in sorted(by_source):
            kinds, columns = zip(*by_source[source], strict=True)
            if source == 1 and fans and fans[0][1] == kinds:
                fans[0] = ((0, 1), kinds, np.array([fans[0][2][0], columns]))
            else:
                fans.append(((source,), kinds, np.array([columns])))
        return fans
