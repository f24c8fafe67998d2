"""The network: stem, cells, head. Supernet and derived network are one definition with other branches."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.cell import Branch, Cell, edges_of, genotype_branches, supernet_branches
from dsrna_jax.errors import InputError
from dsrna_jax.genotype import PRIMITIVES, Genotype, edges
from dsrna_jax.ops import Statistics, torch_uniform
from dsrna_jax.placement import placed
from dsrna_jax.repeated import RepeatedCell
from dsrna_jax.robnet import RobNet
from dsrna_jax.stem import STEMS, AuxiliaryHead

CELL_TYPES = ("normal", "reduction")
PARTIAL = {"darts": 1, "pcdarts": 4}  # the search spaces, and the K of their partial channels


class Mixture(NamedTuple):
    """How a cell type weighs what it sums: `branches` [branch] and, for the bypass of partial channels, `edges` [edge]."""

    branches: jax.Array
    edges: jax.Array


class CellPlan(NamedTuple):
    """The branches of a cell and the nodes that make up its output."""

    branches: tuple[Branch, ...]
    concat: tuple[int, ...]


class Layout(NamedTuple):
    """What decides the shape of a cell; `before` and `last` are the channels of its inputs."""

    plan: CellPlan
    channels: int
    reduction: bool
    after_reduction: bool
    before: int
    last: int

    @property
    def output(self) -> int:
        """Channels of the output."""
        return len(self.plan.concat) * self.channels


class Network(nn.Module):
    """Images [batch, height, width, channel] in [0, 1] -> logits [batch, class].

    The first cell has `channels` channels, which double at the reduction cells, at a third and at two thirds of the depth.
    `stem`, `cell` and `head` are pure functions by themselves: `network.apply(variables, ..., method="cell")`. Equal cells in
    a row are compiled once, and their variables are stacked: "cells_2" holds those of cell 2 and the like that follow.

    plans: of each cell. start: how images enter, "cifar" at full size, "imagenet" at a quarter and an eighth of the side.
    auxiliary: whether there is a second head, at the second reduction cell, for training.
    """

    plans: tuple[CellPlan, ...]
    channels: int
    classes: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    partial: int = 1
    affine: bool = False
    start: Literal["cifar", "imagenet"] = "cifar"
    auxiliary: bool = False

    def setup(self):
        self.entry = STEMS[self.start](self.channels)
        stack = {}
        for first, length in equal_runs(self.layouts):
            layout, settings = self.layouts[first], {"partial": self.partial, "affine": self.affine}
            if length > 1:
                cell = RepeatedCell(*layout.plan, layout.channels, length, **settings, name=f"cells_{first}")
            else:
                cell = Cell(*layout[0], *layout[1:4], **settings, name=f"cell_{first}")
            stack[first] = cell
        self.stack = list(stack.values())
        features = self.layouts[-1].output
        self.head_kernel = self.param("head_kernel", torch_uniform(features), (self.classes, features))
        self.head_bias = self.param("head_bias", torch_uniform(features), (self.classes,))
        if self.auxiliary:
            self.auxiliary_head = AuxiliaryHead(self.classes)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.plans)

    @property
    def layouts(self) -> list[Layout]:
        """That of each cell."""
        reductions, width, result = reduction_positions(self.cells), self.channels, []
        before, last = STEMS[self.start].widths(self.channels)
        is_halved = self.start == "imagenet"  # whether `last` has half the side of `before`
        for i, plan in enumerate(self.plans):
            width *= 2 if i in reductions else 1
            result.append(Layout(plan, width, i in reductions, is_halved, before, last))
            before, last, is_halved = last, result[-1].output, i in reductions
        return result

    def __call__(
        self,
        images,
        mixtures: dict[str, Mixture] | None = None,
        statistics: Statistics = "running",
        paths=None,
        with_auxiliary: bool = False,
    ):
        """Logits [batch, class] of images in [0, 1]; without `mixtures` every branch has weight one.

        paths: weights [cell, branch, batch] of the branches for each example in place of `mixtures`, such as `drop_paths`.
        with_auxiliary: give the pair of the logits and those of the auxiliary head.
        """
        before, last = self.stem(images, statistics)
        for (first, length), run in zip(equal_runs(self.layouts), self.stack, strict=True):
            weights = self._mixture(first, mixtures, last.dtype)
            if paths is not None:
                own = paths[first : first + length, : len(self.plans[first].branches)]
                weights = weights._replace(branches=own if length > 1 else own[0])
            if length > 1:
                before, last = run(before, last, *weights, statistics)
            else:
                before, last = last, run(before, last, *weights, statistics)
            if self.auxiliary and first == 2 * self.cells // 3 and (with_auxiliary or self.is_initializing()):
                auxiliary_logits = self.auxiliary_head(last, statistics)
        return (self.head(last), auxiliary_logits) if with_auxiliary else self.head(last)

    def _mixture(self, index, mixtures, dtype):
        if mixtures is not None:
            return mixtures[CELL_TYPES[self.layouts[index].reduction]]
        edge_count = len(edges_of(self.plans[index].branches))
        return Mixture(None, jnp.ones(edge_count, dtype) if self.partial > 1 else None)

    def stem(self, images, statistics: Statistics = "running"):
        """The two maps that the first cell reads, [channel, batch, height, width]."""
        if min(images.shape[1:3]) < 4:
            raise InputError(f"images must be at least 4x4 pixels for the two reductions, got {images.shape[1:3]}")
        x = (images - jnp.asarray(self.mean, images.dtype)) / jnp.asarray(self.deviation, images.dtype)
        return self.entry(x, statistics)

    def cell(self, index: int, before, last, mixtures=None, statistics: Statistics = "running"):
        """Output of cell `index` from those of the two cells before it, all [channel, batch, height, width]."""
        weights = self._mixture(index, mixtures, last.dtype)
        for (first, length), run in zip(equal_runs(self.layouts), self.stack, strict=True):
            if length > 1 and first <= index < first + length:
                return run.one(index - first, before, last, *weights, statistics)
            if first == index:
                return run(before, last, *weights, statistics)
        raise IndexError(f"expected the index of one of {self.cells} cells; got {index}")

    def head(self, last):
        """[channel, batch, height, width] -> logits [batch, class]."""
        return jnp.einsum("cb,kc->bk", last.mean((-2, -1)), self.head_kernel) + self.head_bias


def equal_runs(layouts) -> list[tuple[int, int]]:
    """(first, length) of each run of equal cells."""
    runs = []
    for index, layout in enumerate(layouts):
        if runs and layouts[runs[-1][0]] == layout:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((index, 1))
    return runs


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


def reduction_positions(cells: int) -> set[int]:
    """Indices of the reduction cells."""
    return {cells // 3, 2 * cells // 3}


def supernet(space: str, *, steps: int, cells: int, primitives=PRIMITIVES, **settings) -> Network:
    """The network that holds every candidate operation on every edge of a search space."""
    if space not in PARTIAL:
        raise InputError(f"unknown search space {space!r}: expected one of {', '.join(PARTIAL)}")
    if settings["channels"] % (2 * PARTIAL[space]):
        raise InputError(f"channels must be a multiple of {2 * PARTIAL[space]} in the space {space}, got {settings['channels']}")
    plan = CellPlan(supernet_branches(steps, primitives), tuple(range(2, 2 + steps)))
    return Network((plan,) * cells, partial=PARTIAL[space], **settings)


def derived(architecture: Genotype | RobNet, *, cells: int, **settings) -> Network:
    """The network that is built from a genotype's cells, or from a RobNet's."""
    if isinstance(architecture, RobNet):
        architecture.check_depth(cells)
        every = tuple(range(2, 2 + architecture.steps))
        plans = (CellPlan(tuple(Branch(s, t, p) for (p, s), t in architecture.branches(i)), every) for i in range(cells))
        return Network(tuple(plans), **{"affine": False, **settings})
    normal = CellPlan(genotype_branches(architecture.normal), architecture.normal_concat)
    reduction = CellPlan(genotype_branches(architecture.reduction), architecture.reduction_concat)
    plans = (reduction if i in reduction_positions(cells) else normal for i in range(cells))
    return Network(tuple(plans), **{"affine": True, **settings})


def drop_paths(network: Network, key, rate, batch: int):
    """Weights [cell, branch, batch] of the branches of a derived network: zero with probability `rate`, else 1 / (1 - rate).

    Each example loses other branches; an identity is never lost (DARTS, Larsson et al. 2017).
    """
    most = max(len(plan.branches) for plan in network.plans)
    stays = np.zeros((network.cells, most, 1), bool)
    for layout, row in zip(network.layouts, stays, strict=True):
        for i, branch in enumerate(layout.plan.branches):
            row[i] = branch.primitive == "skip_connect" and not (layout.reduction and branch.source < 2)
    is_kept = jax.random.bernoulli(key, 1 - rate, (network.cells, most, batch))
    return jnp.where(stays, 1.0, is_kept / (1 - rate))


def initial_alphas(key, space: str, steps: int, primitives=PRIMITIVES) -> dict[str, jax.Array]:
    """Logits of the architecture, 1e-3 * normal: [edge, primitive] by cell type, and in `pcdarts` [edge] for the edges."""
    count, shapes = len(edges(steps)), {}
    for kind in CELL_TYPES:
        shapes[kind] = (count, len(primitives))
        if PARTIAL[space] > 1:
            shapes[f"{kind}_edges"] = (count,)
    keys = jax.random.split(key, len(shapes))
    return {name: 1e-3 * jax.random.normal(k, shape) for k, (name, shape) in zip(keys, sorted(shapes.items()), strict=True)}


def mixtures(alphas, steps: int, primitives=PRIMITIVES) -> dict[str, Mixture]:
    """Weights of the branches of a supernet: the softmax over an edge's primitives, less `none`'s share.

    Edge logits (PC-DARTS, section 3.2) become a softmax over the edges that enter a node, and multiply; without
    them an edge has weight one.
    """
    result, kept = {}, [i for i, p in enumerate(primitives) if p != "none"]
    for kind in CELL_TYPES:
        operations = placed(jax.nn.softmax(alphas[kind]).T, kept).T
        edge = jnp.ones(len(operations), operations.dtype)
        if f"{kind}_edges" in alphas:
            borders = [sum(range(2, 2 + i)) for i in range(1, steps)]
            edge = jnp.concatenate([jax.nn.softmax(part) for part in jnp.split(alphas[f"{kind}_edges"], borders)])
        result[kind] = Mixture((edge[:, None] * operations).ravel(), edge)
    return result


def weight_count(network: Network, image_shape: tuple[int, int, int]) -> int:
    """Exact number of trainable weights, without building them; those of an auxiliary head do not count."""
    network = network.clone(auxiliary=False)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *image_shape)))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
