"""A cell: edges between nodes, each a weighted sum of operations. Edges that leave one node are computed together."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.genotypes.genotype import PRIMITIVES, edges
from dsrna_jax.kernels.depthwise import depthwise, square_taps
from dsrna_jax.kernels.gather_rows import gather_rows
from dsrna_jax.kernels.max_pool import max_pool
from dsrna_jax.kernels.pointwise import pointwise
from dsrna_jax.networks.layers import BatchNorm, Crossed, FactorizedReduce, Preprocess, Statistics, average_pool, torch_uniform


@dataclasses.dataclass(frozen=True)
class Branch:
    """One operation on one edge, from node `source` to node `target` (0 and 1 are the cell's inputs)."""

    source: int
    target: int
    primitive: str


# Side and dilation of the depthwise kernels. Separable convolutions apply theirs twice, dilated ones once.
SEPARABLE = {"sep_conv_3x3": (3, 1), "sep_conv_5x5": (5, 1), "sep_conv_7x7": (7, 1)}
DILATED = {"dil_conv_3x3": (3, 2), "dil_conv_5x5": (5, 2)}
CROSSED = {"conv_7x1_1x7": 7, "conv_3x1_1x3": 3}
POOLS = {"max_pool_3x3": functools.partial(max_pool, padding=1), "avg_pool_3x3": average_pool}


def supernet_branches(nodes: int, primitives=PRIMITIVES) -> tuple[Branch, ...]:
    """All operations on all edges, edge by edge; without `none`, which adds nothing."""
    return tuple(Branch(s, t, p) for s, t in edges(nodes) for p in primitives if p != "none")


def genotype_branches(genes) -> tuple[Branch, ...]:
    """The operations of a genotype's cell: genes 2i and 2i + 1 feed node i + 2."""
    return tuple(Branch(source, 2 + i // 2, primitive) for i, (primitive, source) in enumerate(genes))


class Fan(nn.Module):
    """All branches that leave a stack of nodes, which have the same `kinds` of branches each.

    Their weights are stacked, so that a handful of large operations replaces dozens of small ones: one ReLU, one pool, one
    depthwise convolution, one batch norm and one weighted sum for all of them.

    kinds: (primitive, target node) of each branch. `affine`: batch norms have scale and bias and pools have no batch norm, as
    in a derived network; in a supernet it is the other way round.
    """

    kinds: tuple[tuple[str, int], ...]
    stride: int
    affine: bool

    @nn.compact
    def __call__(self, x, weights, statistics: Statistics):
        """What each target node receives from here.

        Args:
          x: [stack, channel, batch, height, width].
          weights: [stack, branch], in the order of `kinds`; [stack, branch, batch] if each example has its own; None for ones.
        Returns: dict from target node to [channel, batch, height', width'].
        """
        families = POOLS, SEPARABLE, DILATED
        pools, separable, dilated = (tuple(sorted(k for k in self.kinds if k[0] in family)) for family in families)
        skips = tuple(k for k in self.kinds if k[0] == "skip_connect")
        pooled = [POOLS[p](x, 3, self.stride)[:, None] for p in dict.fromkeys(p for p, _ in pools)]
        maps, served = [], []  # maps [stack, n, ...], and for each of their n the branches that it serves
        by_pool = [[k for k in pools if k[0] == p] for p in dict.fromkeys(p for p, _ in pools)]
        if self.affine and pooled:
            maps, served, pooled, by_pool = pooled, by_pool, [], []
        convolved = []
        if separable or dilated:
            groups = self.groups(separable + dilated)
            convolved = self.convolution([nn.relu(x)[:, None]] * len(groups), groups, "first", self.stride)
        if convolved or pooled:
            parts = convolved if self.affine else [_joined(convolved + pooled)]
            parts = BatchNorm(self.affine, name="first_norm")(parts, statistics)
            if separable:
                groups = self.groups(separable)
                if not self.affine:
                    parts = jnp.split(parts[0], [len(separable)], axis=1)
                y = self.convolution([nn.relu(part) for part in parts[: len(groups)]], groups, "second", 1)
                maps += BatchNorm(self.affine, name="second_norm")(y, statistics)
                served += [[k] for k in separable]
                parts = parts[len(groups) :]
            maps += parts
            served += [[k] for k in dilated] + by_pool
        if skips and self.stride == 1:
            maps.append(x[:, None])
            served.append(skips)
        elif skips:
            maps.append(FactorizedReduce(x.shape[1], self.affine, len(skips), name="skip_connect")(x, statistics))
            served += [[k] for k in skips]
        for kind in self.kinds:
            if kind[0] in CROSSED:
                crossed = Crossed(CROSSED[kind[0]], self.stride, self.affine, name=f"{kind[0]}_to_{kind[1]}")
                maps.append(crossed(x, statistics)[:, None])
                served.append([kind])
            elif kind[0] == "noise":
                maps.append(self.noise(x)[:, None])
                served.append([kind])
        if weights is None or weights.ndim == 3:
            return self.sums(maps, served, weights)
        targets = sorted({t for _, t in self.kinds})
        joined = _joined(maps)
        rows = joined.reshape(-1, *joined.shape[2:4], joined.shape[4] * joined.shape[5])
        total = pointwise(rows, self.by_map(weights, served, targets)).reshape(-1, *joined.shape[2:])
        return dict(zip(targets, jnp.unstack(total), strict=True))

    def sums(self, maps, served, weights):
        """The same in plain additions: better where few branches meet in a node, as in a derived network."""
        totals = {}
        for kinds, y in zip(served, (y for part in maps for y in jnp.unstack(part, axis=1)), strict=True):
            for kind in kinds:
                column = self.kinds.index(kind)
                for stack, term in enumerate(jnp.unstack(y)):
                    if weights is not None:
                        term = term * weights[stack, column][:, None, None]
                    totals[kind[1]] = totals[kind[1]] + term if kind[1] in totals else term
        return totals

    def noise(self, x):
        """White noise in place of the map, where there is a generator for it (in training); else its mean, zero."""
        x = x[..., :: self.stride, :: self.stride]
        return jax.random.normal(self.make_rng("noise"), x.shape, x.dtype) if self.has_rng("noise") else jnp.zeros_like(x)

    def by_map(self, weights, served, targets):
        """[target, stack * map]: the weight with which a target receives a map, zero where it does not."""
        column = np.full((len(served), len(targets)), -1)
        for i, kinds in enumerate(served):
            for kind in kinds:
                column[i, targets.index(kind[1])] = self.kinds.index(kind)
        return gather_rows(weights.T, column).transpose(1, 2, 0).reshape(len(targets), -1)

    def convolution(self, images, groups, name, stride):
        """Depthwise and pointwise convolution for every group of branches: [stack, branch, channel, ...] each.

        images: for each group [stack, 1 or branch, channel, ...], one map for all of its branches or one each.
        """
        stack, c = images[0].shape[0], images[0].shape[2]
        own = [square_taps(*(SEPARABLE.get(p) or DILATED[p])) for group in groups for p, _ in group]
        starts = np.cumsum([0, *map(len, own)])
        fan_in = np.repeat([len(taps) for taps in own], [len(taps) for taps in own])[:, None, None]
        depthwise_kernel = self.param(f"{name}_depthwise", torch_uniform(fan_in), (starts[-1], stack, c))
        pointwise_kernel = self.param(f"{name}_pointwise", torch_uniform(c), (stack, len(own), c, c))
        convolved, first = [], 0
        for x, group in zip(images, groups, strict=True):
            branches = range(first, first + len(group))
            first += len(group)
            taps = sorted(set().union(*(own[i] for i in branches)))
            index = np.full((len(taps), len(group)), -1)  # of the row of a tap, where a branch has it
            for column, i in enumerate(branches):
                for row, tap in enumerate(own[i], starts[i]):
                    index[taps.index(tap), column] = row
            kernel = gather_rows(depthwise_kernel, index).swapaxes(1, 2)  # [tap, stack, branch, channel]
            if x.shape[1] == 1:
                y = depthwise(x[:, 0], kernel, taps, stride=stride)
            else:
                y = depthwise(x.reshape(-1, *x.shape[2:]), kernel.reshape(len(taps), -1, 1, c), taps, stride=stride)
            y = y.reshape(stack, len(group), *y.shape[2:])
            convolved.append(pointwise(y, pointwise_kernel[:, branches.start : branches.stop]))
        return convolved

    def groups(self, kinds):
        """The branches, in their order, whose depthwise convolutions go together.

        All of a supernet's, which has so many that compiling decides; else those of one primitive, which wastes nothing.
        """
        if not self.affine:
            return [kinds]
        return [[k for k in kinds if k[0] == primitive] for primitive in dict.fromkeys(p for p, _ in kinds)]


def _joined(parts, axis=1):
    return jnp.concatenate(parts, axis) if len(parts) > 1 else parts[0]


class Cell(nn.Module):
    """The DAG: two preprocessed inputs, nodes that sum what their branches bring, and the concatenation of `concat`.

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

    @nn.compact
    def __call__(self, before, last, branch_weights, edge_weights, statistics: Statistics):
        """The cell's output map.

        Args:
          before, last: outputs of the cell before the last one and of the last one, [channel, batch, height, width].
          branch_weights: [branch], in the order of `branches`; [branch, batch] if each example has its own; None for ones.
          edge_weights: [edge], of the bypass of each edge, in the order of `edges_of(branches)`; needed if `partial` > 1.
        Returns: [len(concat) * channels, batch, height', width'].
        """
        if self.after_reduction:
            first = FactorizedReduce(self.channels, self.affine, name="preprocess_before")(before, statistics)[0]
        else:
            first = Preprocess(self.channels, self.affine, name="preprocess_before")(before, statistics)
        second = Preprocess(self.channels, self.affine, name="preprocess_last")(last, statistics)
        active = self.channels // self.partial
        nodes, sums, bypasses = [first, second], {}, {}
        edge_weights = None if edge_weights is None else jnp.unstack(edge_weights)
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
            nodes.append(node)

        for (sources, kinds, _), weights in zip(fans, weights_of_fans, strict=True):
            while len(nodes) <= max(sources):
                complete(len(nodes))
            stride = 2 if self.reduction and max(sources) < 2 else 1
            x = jnp.stack([nodes[s] for s in sources])
            fan = Fan(kinds, stride, self.affine, name=f"from_{'_'.join(map(str, sources))}")
            if self.partial > 1:
                x, passed = jnp.split(x, [active], axis=1)
                passed = jnp.unstack(max_pool(passed, 2, 2) if stride == 2 else passed)
            received = fan(x, weights, statistics)
            for target, y in received.items():
                sums[target] = sums[target] + y if target in sums else y
            if self.partial > 1:
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
