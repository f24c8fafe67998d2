"""The network: stem, cells, head. Supernet and derived network are one definition with other branches."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dsrna_jax.cell import Cell, edges_of, genotype_branches, supernet_branches
from dsrna_jax.errors import InputError
from dsrna_jax.genotype import PRIMITIVES, Genotype, edges
from dsrna_jax.ops import BatchNorm, Statistics, torch_uniform

CELL_TYPES = ("normal", "reduction")
PARTIAL = {"darts": 1, "pcdarts": 4}  # the search spaces, and the K of their partial channels


class Mixture(NamedTuple):
    """How a cell type weighs what it sums: `branches` [branch] and, for the bypass of partial channels, `edges` [edge]."""

    branches: jax.Array
    edges: jax.Array


class CellPlan(NamedTuple):
    """The branches of a cell type and the nodes that make up its output."""

    branches: tuple
    concat: tuple[int, ...]


class Network(nn.Module):
    """Images [batch, height, width, channel] in [0, 1] -> logits [batch, class].

    `cells` cells of `channels` channels, which double at the reduction cells, at a third and at two thirds of the depth.
    `stem`, `cell` and `head` are pure functions by themselves: `network.apply(variables, ..., method="cell")`.
    """

    normal: CellPlan
    reduction: CellPlan
    cells: int
    channels: int
    classes: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    partial: int = 1
    affine: bool = False

    def setup(self):
        reductions = reduction_positions(self.cells)
        width, self.stem_channels = self.channels, 3 * self.channels
        cells = []
        for i in range(self.cells):
            plan = self.reduction if i in reductions else self.normal
            width *= 2 if i in reductions else 1
            settings = {"partial": self.partial, "affine": self.affine, "name": f"cell_{i}"}
            cells.append(Cell(*plan, width, i in reductions, i - 1 in reductions, **settings))
        self.stack = cells
        colours, features = len(self.mean), len(plan.concat) * width
        self.stem_kernel = self.param("stem", torch_uniform(9 * colours), (3, 3, colours, self.stem_channels))
        self.stem_norm = BatchNorm(affine=True)
        self.head_kernel = self.param("head_kernel", torch_uniform(features), (self.classes, features))
        self.head_bias = self.param("head_bias", torch_uniform(features), (self.classes,))

    def __call__(self, images, mixtures: dict[str, Mixture] | None = None, statistics: Statistics = "running"):
        """Logits [batch, class] of images in [0, 1]; without `mixtures` every branch has weight one."""
        before = last = self.stem(images, statistics)
        for i in range(self.cells):
            before, last = last, self.cell(i, before, last, mixtures, statistics)
        return self.head(last)

    def stem(self, images, statistics: Statistics = "running"):
        """[batch, height, width, channel] -> [3 * channels, batch, height, width]."""
        if min(images.shape[1:3]) < 4:
            raise InputError(f"images must be at least 4x4 pixels for the two reductions, got {images.shape[1:3]}")
        x = (images - jnp.asarray(self.mean, images.dtype)) / jnp.asarray(self.deviation, images.dtype)
        x = lax.conv_general_dilated(x, self.stem_kernel, (1, 1), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "CNHW"))
        return self.stem_norm(x, statistics)

    def cell(self, index: int, before, last, mixtures=None, statistics: Statistics = "running"):
        """Output of cell `index` from those of the two cells before it, all [channel, batch, height, width]."""
        cell = self.stack[index]
        if mixtures is None:
            weights = Mixture(jnp.ones(len(cell.branches), last.dtype), jnp.ones(len(edges_of(cell.branches)), last.dtype))
        else:
            weights = mixtures[CELL_TYPES[cell.reduction]]
        return cell(before, last, *weights, statistics)

    def head(self, last):
        """[channel, batch, height, width] -> logits [batch, class]."""
        return jnp.einsum("cb,kc->bk", last.mean((-2, -1)), self.head_kernel) + self.head_bias


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
        """The first state."""
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
            before = last = dataclasses.replace(stages[0], network=zoomed).stem(images)
            for index, (factor, stage) in enumerate(zip(factors, stages[1:], strict=True)):
                before, last = factor * before, factor * last
                before, last = last, stage.cells[index](before, last)
            return stages[-1].head(last)

        return whole


def scaled_shifts(variables, factor):
    """Variables with which cells and head map factor * state to factor * what they mapped state to; so does the stem's norm."""

    def scaled(path, leaf):
        names = [getattr(key, "key", getattr(key, "idx", None)) for key in path]
        if names[0] == "batch_stats":
            return leaf * jnp.array([factor, 1], leaf.dtype).reshape(2, *[1] * (leaf.ndim - 1))
        is_shift = names[-1] in ("bias", "head_bias") or (names[0] == "moments" and names[-1] == 0)  # moments: (mean, variance)
        return factor * leaf if is_shift else leaf

    return jax.tree_util.tree_map_with_path(scaled, variables)


def reduction_positions(cells: int) -> set[int]:
    """Indices of the reduction cells."""
    return {cells // 3, 2 * cells // 3}


def supernet(space: str, *, steps: int, primitives=PRIMITIVES, **settings) -> Network:
    """The network that holds every candidate operation on every edge of a search space."""
    if space not in PARTIAL:
        raise InputError(f"unknown search space {space!r}: expected one of {', '.join(PARTIAL)}")
    if settings["channels"] % (2 * PARTIAL[space]):
        raise InputError(f"channels must be a multiple of {2 * PARTIAL[space]} in the space {space}, got {settings['channels']}")
    plan = CellPlan(supernet_branches(steps, primitives), tuple(range(2, 2 + steps)))
    return Network(plan, plan, partial=PARTIAL[space], **settings)


def derived(genotype: Genotype, *, affine: bool = True, **settings) -> Network:
    """The network that is built from a genotype's cells."""
    normal = CellPlan(genotype_branches(genotype.normal), genotype.normal_concat)
    reduction = CellPlan(genotype_branches(genotype.reduction), genotype.reduction_concat)
    return Network(normal, reduction, affine=affine, **settings)


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
    result, kept = {}, jnp.array([i for i, p in enumerate(primitives) if p != "none"])
    for kind in CELL_TYPES:
        operations = jax.nn.softmax(alphas[kind])[:, kept]
        edge = jnp.ones(len(operations), operations.dtype)
        if f"{kind}_edges" in alphas:
            borders = [sum(range(2, 2 + i)) for i in range(1, steps)]
            edge = jnp.concatenate([jax.nn.softmax(part) for part in jnp.split(alphas[f"{kind}_edges"], borders)])
        result[kind] = Mixture((edge[:, None] * operations).ravel(), edge)
    return result


def weight_count(network: Network, image_shape: tuple[int, int, int]) -> int:
    """Exact number of trainable weights, without building them."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *image_shape)))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
