"""A cell: edges between nodes, each a weighted sum of operations. Edges that leave one node are computed together."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.depthwise import depthwise
from dsrna_jax.genotype import PRIMITIVES, edges
from dsrna_jax.ops import (
    BatchNorm,
    FactorizedReduce,
    Preprocess,
    Statistics,
    average_pool,
    max_pool,
    pointwise,
    torch_uniform,
)


@dataclasses.dataclass(frozen=True)
class Branch:
    """One operation on one edge, from node `source` to node `target` (0 and 1 are the cell's inputs)."""

    source: int
    target: int
    primitive: str


# Taps of the depthwise convolutions: separable ones are applied twice, dilated ones once with every second pixel.
SEPARABLE = {"sep_conv_7x7": 7, "sep_conv_3x3": 3, "sep_conv_5x5": 5}
DILATED = {"dil_conv_3x3": 3, "dil_conv_5x5": 5}
POOLS = {"max_pool_3x3": max_pool, "avg_pool_3x3": average_pool}
SHARED_GRID = ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3")  # all their taps lie within one 5x5 grid


def supernet_branches(steps: int, primitives=PRIMITIVES) -> tuple[Branch, ...]:
    """All operations on all edges, edge by edge; without `none`, which adds nothing."""
    return tuple(Branch(s, t, p) for s, t in edges(steps) for p in primitives if p != "none")


def genotype_branches(genes) -> tuple[Branch, ...]:
    """The operations of a genotype's cell: genes 2i and 2i + 1 feed node i + 2."""
    return tuple(Branch(source, 2 + i // 2, primitive) for i, (primitive, source) in enumerate(genes))


class Fan(nn.Module):
    """All branches that leave a stack of nodes, which have the same `kinds` of branches each.

    Branches of one primitive stack their weights, so that a handful of large operations replaces dozens of small ones: one
    ReLU, one pool and one depthwise convolution per grid of taps for all of them.

    kinds: (primitive, target node) of each branch.
    """

    kinds: tuple[tuple[str, int], ...]
    stride: int
    affine: bool
    pool_norm: bool

    def count(self, primitive: str) -> int:
        return sum(p == primitive for p, _ in self.kinds)

    @nn.compact
    def __call__(self, x, weights, statistics: Statistics):
        """What each target node receives from here.

        Args:
          x: [stack, channel, batch, height, width]. weights: [stack, branch], in the order of `kinds`.
        Returns: dict from target node to [channel, batch, height', width'].
        """
        targets = sorted({t for _, t in self.kinds})
        total = 0.0
        for primitives, maps in self.maps(x, statistics):
            places = self.placement(primitives, targets)
            matrix = jnp.einsum("sk,mkt->smt", weights, places.astype(x.dtype))
            total = total + jnp.einsum("smcbhw,smt->tcbhw", maps, matrix)
        return {t: total[i] for i, t in enumerate(targets)}

    def placement(self, primitives, targets):
        """0/1 array [map, kind, target]: which map serves which branch, and where that branch leads."""
        places = np.zeros((len(primitives), len(self.kinds), len(targets)))
        for primitive in dict.fromkeys(primitives):
            first, shared = primitives.index(primitive), primitives.count(primitive) < self.count(primitive)
            kinds = [(k, target) for k, (p, target) in enumerate(self.kinds) if p == primitive]
            for i, (k, target) in enumerate(kinds):
                places[first if shared else first + i, k, targets.index(target)] = 1
        return places

    def maps(self, x, statistics):
        """Yields (primitive of each map, maps [stack, map, channel, batch, height', width']).

        A primitive without weights has one map for all its branches.
        """
        for primitive, pool in POOLS.items():
            if self.count(primitive):
                y = pool(x, 3, self.stride, 1)
                y = BatchNorm(name=f"{primitive}_norm")(y, statistics) if self.pool_norm else y
                yield (primitive,), y[:, None]
        if skips := self.count("skip_connect"):
            if self.stride == 1:
                yield ("skip_connect",), x[:, None]
            else:
                reduce = FactorizedReduce(x.shape[1], self.affine, skips, name="skip_connect")
                yield ("skip_connect",) * skips, reduce(x, statistics)
        separable = tuple(p for p in SEPARABLE for _ in range(self.count(p)))
        dilated = tuple(p for p in DILATED for _ in range(self.count(p)))
        if separable or dilated:
            y = self.convolution(nn.relu(x)[:, None], separable + dilated, "first", self.stride, statistics)
            if dilated:
                yield dilated, y[:, len(separable) :]
            if separable:
                y = nn.relu(y[:, : len(separable)])
                yield separable, self.convolution(y, separable, "second", 1, statistics)

    def convolution(self, x, primitives, name, stride, statistics):
        """Depthwise, pointwise and batch norm for each of `primitives`, of one map for all (x.shape[1] == 1) or of one each."""
        stack, shared, c = x.shape[0], x.shape[1] == 1, x.shape[2]
        outputs, done = [], 0
        for group in _grids(dict.fromkeys(primitives)):
            taps, dilation = _grid(group)
            kernels = []
            for p in group:
                shape = (_taps(p), _taps(p), stack, self.count(p), c)
                kernel = self.param(f"{p}_{name}_depthwise", torch_uniform(_taps(p) ** 2), shape)
                kernels.append(_embedded(kernel, taps, _dilation(p) // dilation))
            kernel = jnp.concatenate(kernels, axis=3)
            if shared:
                outputs.append(depthwise(x[:, 0], kernel, stride=stride, dilation=dilation))
            else:
                own = x[:, done : done + kernel.shape[3]]
                y = depthwise(own.reshape(-1, *x.shape[2:]), kernel.reshape(taps, taps, -1, 1, c), dilation=dilation)
                outputs.append(y.reshape(own.shape))
            done += kernel.shape[3]
        kernels = [
            self.param(f"{p}_{name}_pointwise", torch_uniform(c), (stack, self.count(p), c, c))
            for p in dict.fromkeys(primitives)
        ]
        y = pointwise(jnp.concatenate(outputs, axis=1), jnp.concatenate(kernels, axis=1))
        return BatchNorm(self.affine, name=f"{name}_norm")(y, statistics)


def _taps(primitive):
    return SEPARABLE.get(primitive) or DILATED[primitive]


def _dilation(primitive):
    return 2 if primitive in DILATED else 1


def _grids(primitives):
    """Primitives in order, those of the shared grid together."""
    groups = []
    for p in primitives:
        if p in SHARED_GRID and groups and groups[-1][-1] in SHARED_GRID:
            groups[-1].append(p)
        else:
            groups.append([p])
    return groups


def _grid(primitives):
    """(taps, dilation) of the smallest grid that holds the taps of all."""
    dilation = min(map(_dilation, primitives))
    return 2 * max(_dilation(p) * (_taps(p) // 2) // dilation for p in primitives) + 1, dilation


def _embedded(kernel, taps, dilation):
    """The kernel amid a grid of `taps` x `taps`, its own taps `dilation` apart and zeros elsewhere."""
    margin = (taps - dilation * (kernel.shape[0] - 1) - 1) // 2
    spread = [(margin, margin, dilation - 1)] * 2 + [(0, 0, 0)] * 3
    return lax.pad(kernel, jnp.zeros((), kernel.dtype), spread)


class Cell(nn.Module):
    """The DAG: two preprocessed inputs, `steps` nodes that sum what their branches bring, and the concatenation of `concat`.

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
    pool_norm: bool = True

    @nn.compact
    def __call__(self, before, last, branch_weights, edge_weights, statistics: Statistics):
        """The cell's output map.

        Args:
          before, last: outputs of the cell before the last one and of the last one, [channel, batch, height, width].
          branch_weights: [branch], in the order of `branches`. edge_weights: [edge], of the bypass of each edge, in the order of
            `edges_of(branches)`.
        Returns: [len(concat) * channels, batch, height', width'].
        """
        if self.after_reduction:
            first = FactorizedReduce(self.channels, self.affine, name="preprocess_before")(before, statistics)[0]
        else:
            first = Preprocess(self.channels, self.affine, name="preprocess_before")(before, statistics)
        second = Preprocess(self.channels, self.affine, name="preprocess_last")(last, statistics)
        active = self.channels // self.partial
        nodes, sums, bypasses = [first, second], {}, {}

        def complete(target):
            node = sums[target]
            if self.partial > 1:
                node = jnp.concatenate([node, bypasses[target]])
                node = node.reshape(self.partial, active, *node.shape[1:]).swapaxes(0, 1).reshape(node.shape)
            nodes.append(node)

        for sources, kinds, columns in self.fans():
            while len(nodes) <= max(sources):
                complete(len(nodes))
            stride = 2 if self.reduction and max(sources) < 2 else 1
            x = jnp.stack([nodes[s] for s in sources])
            fan = Fan(kinds, stride, self.affine, self.pool_norm, name=f"from_{'_'.join(map(str, sources))}")
            received = fan(x[:, :active], branch_weights[columns], statistics)
            for target, y in received.items():
                sums[target] = sums[target] + y if target in sums else y
            if self.partial > 1:
                passed = max_pool(x[:, active:], 2, 2) if stride == 2 else x[:, active:]
                for i, (source, target) in enumerate(edges_of(self.branches)):
                    if source in sources:
                        y = edge_weights[i] * passed[sources.index(source)]
                        bypasses[target] = bypasses[target] + y if target in bypasses else y
        while len(nodes) <= max(sums):
            complete(len(nodes))
        return jnp.concatenate([nodes[n] for n in self.concat])

    def fans(self):
        """[(sources, kinds, columns [source, kind])]: sources whose branches are computed together, in the order of the nodes.

        The two inputs go together where they have the same branches, as they have in a supernet.
        """
        by_source = {}
        for column, b in enumerate(self.branches):
            by_source.setdefault(b.source, []).append(((b.primitive, b.target), column))
        fans = []
        for source in sorted(by_source):
            kinds, columns = zip(*by_source[source], strict=True)
            if source == 1 and fans and fans[0][1] == kinds:
                fans[0] = ((0, 1), kinds, np.array([fans[0][2][0], columns]))
            else:
                fans.append(((source,), kinds, np.array([columns])))
        return fans


def edges_of(branches) -> tuple[tuple[int, int], ...]:
    """The (source, target) pairs that carry a branch, in canonical order."""
    return tuple(sorted({(b.source, b.target) for b in branches}, key=lambda e: (e[1], e[0])))
