"""The network: stem, cells, head. Supernets and derived networks share one definition and differ in their branches."""

from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from dsrna_jax.data_parallel import own_draws
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import CELL_TYPES, reduction_positions
from dsrna_jax.genotypes.operations import OPERATIONS
from dsrna_jax.kernels.mixed_precision import wide
from dsrna_jax.networks.cell import Cell
from dsrna_jax.networks.layers import Images, Map, Statistics, torch_uniform
from dsrna_jax.networks.plan import Branch, CellPlan, Layout, Part, Side, edges_of, equal_runs
from dsrna_jax.networks.repeated_cell import RepeatedCell
from dsrna_jax.networks.shifts import shift
from dsrna_jax.networks.stem import STEMS, AuxiliaryHead


class Mixture(NamedTuple):
    """The weights in cells of one type: of branches and, for the bypass of partial channels, of edges; None for ones.

    Of blocks, those of the branches of all, [block, operation].
    """

    branches: Float[Array, "branch"] | Float[Array, "block branch"] | None
    edges: Float[Array, "edge"] | None


class Network(nn.Module):
    """A network of cells: images [batch, height, width, channel] in [0, 1] -> logits [batch, class].

    The first cell has `channels` channels, which double at the reduction cells, at a third and at two thirds of the depth.
    `stem`, `cell` and `head` can be applied by themselves: `network.apply(variables, ..., method="cell")`. Equal cells in a row
    are compiled once, and their variables are stacked: "cells_2" holds those of cell 2 and of the equal ones that follow it.

    Attributes:
      plans: the plan of each cell.
      mean, std: of the pixels of each channel, by which images are normalised; arrays if they are data and not constants.
      partial: K; one channel in K takes the operations of an edge (PC-DARTS).
      affine: whether batch norms have scale and bias.
      is_supernet: whether pools have a batch norm (DARTS), and all convolutions of a node go together.
      start: the stem: "cifar" keeps the size of images, "cifar_halved" has maps of half the side, "imagenet" of a quarter and
        an eighth, and "imagenet_wide" those with three times the channels.
      auxiliary: whether there is a second head, after the second reduction cell, for training.
      dtype: type of the maps from the stem to the heads, such as "bfloat16"; None for that of the images. Weights, batch
        statistics and logits keep theirs, of float32 or wider. Bounds refuse 16 bits.
      skip_dropout: share of the pixels that an identity loses on each edge, the others growing in its place (P-DARTS), where
        flax has a generator "skip_dropout"; a number, or an array if it changes.
      remat: whether the backward pass computes the maps inside of a cell again, from its two inputs, instead of keeping them.
    """

    plans: tuple[CellPlan, ...]
    channels: int
    classes: int
    mean: tuple[float, ...] | Float[Array, " channel"]
    std: tuple[float, ...] | Float[Array, " channel"]
    partial: int = 1
    affine: bool = False
    is_supernet: bool = False
    start: Literal["cifar", "cifar_halved", "imagenet", "imagenet_wide"] = "cifar"
    auxiliary: bool = False
    dtype: str | None = None
    remat: bool = False
    skip_dropout: float | Float[Array, ""] = 0.0

    def setup(self):
        self.entry = STEMS[self.start](self.channels)
        stack = {}
        for first, length in self.runs:
            layout = self.layouts[first]
            settings = {"partial": self.partial, "affine": self.affine, "is_supernet": self.is_supernet}
            settings["skip_dropout"] = self.skip_dropout
            if length > 1:
                settings["remat"] = self.remat
                cell = RepeatedCell(*layout.plan, layout.channels, length, **settings, name=f"cells_{first}")
            else:
                kind = nn.remat(Cell, static_argnums=5) if self.remat else Cell  # 5: `statistics`
                cell = kind(*layout[0], *layout[1:4], **settings, name=f"cell_{first}")
            stack[first] = cell
        self.stack = list(stack.values())
        self.make_head()

    def make_head(self) -> None:
        """Makes the variables of the heads, at the end of `setup`."""
        features = self.layouts[-1].output
        self.head_kernel = self.param("head_kernel", torch_uniform(features), (self.classes, features))
        self.head_bias = shift(self, torch_uniform(features), (self.classes,), name="head_bias")
        if self.auxiliary:
            self.auxiliary_head = AuxiliaryHead(self.classes)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.plans)

    @property
    def layouts(self) -> list[Layout]:
        """The layout of each cell."""
        reductions, width, result = reduction_positions(self.cells), self.channels, []
        before, last = STEMS[self.start].widths(self.channels)
        is_halved = STEMS[self.start].scales[0] != STEMS[self.start].scales[1]  # whether `last` has half the side of `before`
        for i, plan in enumerate(self.plans):
            width *= 2 if i in reductions else 1
            result.append(Layout(plan, width, i in reductions, is_halved, before, last))
            before, last, is_halved = last, result[-1].output, i in reductions
        return result

    @property
    def runs(self) -> list[tuple[int, int]]:
        """First index and length of each run of cells that are compiled once."""
        return equal_runs(self.layouts)

    def __call__(
        self,
        images: Images,
        mixtures: dict[str, Mixture] | None = None,
        statistics: Statistics = "running",
        paths: Float[Array, "cell branch batch"] | None = None,
    ) -> Float[Array, "batch class"]:
        """Logits of images in [0, 1]; without `mixtures` every branch has weight one.

        paths: weights of the branches for each example in place of `mixtures`, such as `drop_paths`.
        """
        last, reduced = self._states(images, mixtures, statistics, paths)
        if self.auxiliary and self.is_initializing():
            self.auxiliary_head(reduced, statistics)
        return self.head(last)

    def both_heads(
        self,
        images: Images,
        mixtures: dict[str, Mixture] | None = None,
        statistics: Statistics = "running",
        paths: Float[Array, "cell branch batch"] | None = None,
    ) -> tuple[Float[Array, "batch class"], Float[Array, "batch class"]]:
        """Logits of the network and of its auxiliary head; arguments as those of a call. Needs `auxiliary`."""
        last, reduced = self._states(images, mixtures, statistics, paths)
        auxiliary = self.auxiliary_head(reduced, statistics)
        return self.head(last), auxiliary

    def _states(self, images, mixtures, statistics, paths):
        """Outputs of the last cell and of the second reduction cell."""
        before, last = self.stem(images, statistics)
        reduced = last
        for (first, length), run in zip(self.runs, self.stack, strict=True):
            weights = self.mixture_of(first, mixtures)
            if paths is not None:
                own = paths[first : first + length, : len(self.plans[first].branches)]
                weights = weights._replace(branches=own if length > 1 else own[0])
            if length > 1:
                before, last = run(before, last, *weights, statistics)
            else:
                before, last = last, run(before, last, *weights, statistics)
            if first == 2 * self.cells // 3:
                reduced = last
        return last, reduced

    def group(self, index: int) -> str:
        """The name of the cells that have the mixture of cell `index`: its cell type."""
        return CELL_TYPES[self.layouts[index].reduction]

    def cell_parts(self, layout: Layout, before: Side, last: Side) -> tuple[list[Part], list[Part]]:
        """The parts of a cell: those that are no branch, and the branches in the order of its plan.

        Args:
          before, last: (height, width) of the two inputs of the cell.
        """
        smaller = (-(-last[0] // 2), -(-last[1] // 2)) if layout.reduction else last

        def of_branch(branch: Branch) -> Part:
            is_halving = layout.reduction and branch.source < 2
            size, stride = (last, 2) if is_halving else (smaller, 1)
            return Part(branch.primitive, layout.channels, layout.channels, *size, stride)

        name, size, stride = ("factorized_reduce", before, 2) if layout.after_reduction else ("preprocess", last, 1)
        first = Part(name, layout.before, layout.channels, *size, stride)
        second = Part("preprocess", layout.last, layout.channels, *last)
        return [first, second], [of_branch(branch) for branch in layout.plan.branches]

    def mixture_of(self, index: int, mixtures: Any) -> Mixture:
        """The weights in cell `index`, from the mixtures of the network; ones if these are None."""
        if mixtures is not None:
            return mixtures[self.group(index)]
        edge_count = len(edges_of(self.plans[index].branches))
        return Mixture(None, jnp.ones(edge_count, jnp.float32) if self.partial > 1 else None)

    def stem(self, images: Images, statistics: Statistics = "running") -> tuple[Map, Map]:
        """The two maps that the first cell reads.

        Raises: InputError unless images are floating point, of 4x4 pixels or more, and have the channels of `mean`; a mean of one
          number holds for all.
        """
        if not jnp.issubdtype(images.dtype, jnp.floating) or images.ndim != 4 or len(self.mean) not in (1, images.shape[3]):
            advice = ": divide bytes by 255" if jnp.issubdtype(images.dtype, jnp.integer) else ""
            channels = len(self.mean) if len(self.mean) > 1 else "channel"
            expected = f"images must be floating point [batch, height, width, {channels}] in [0, 1]"
            raise InputError(f"{expected}, got {images.dtype} {images.shape}{advice}")
        if min(images.shape[1:3]) < 4:
            raise InputError(f"images must be at least 4x4 pixels for the two reductions, got {images.shape[1:3]}")
        mean, std = (jnp.asarray(values, images.dtype) for values in (self.mean, self.std))
        x = (images - jnp.expand_dims(mean, (0, 1, 2))) / jnp.expand_dims(std, (0, 1, 2))
        return self.entry(x if self.dtype is None else x.astype(self.dtype), statistics)

    def cell(self, index: int, before: Map, last: Map, mixtures=None, statistics: Statistics = "running") -> Map:
        """Output of cell `index` from those of the two cells before it. Raises: IndexError if there is no such cell."""
        weights = self.mixture_of(index, mixtures)
        for (first, length), run in zip(self.runs, self.stack, strict=True):
            if length > 1 and first <= index < first + length:
                return run.one(index - first, before, last, *weights, statistics)
            if first == index:
                return run(before, last, *weights, statistics)
        raise IndexError(f"expected the index of one of {self.cells} cells; got {index}")

    def head(self, last: Map) -> Float[Array, "batch class"]:
        """Logits from the output of the last cell."""
        return jnp.einsum("cb,kc->bk", wide(last).mean((-2, -1)), self.head_kernel) + jnp.expand_dims(self.head_bias, 0)


def drop_paths(
    network: Network, key: PRNGKeyArray, rate: float | Float[Array, ""], batch: int
) -> Float[Array, "cell branch batch"]:
    """Weights [cell, branch, batch] of the branches of a derived network: zero with probability `rate`, else 1 / (1 - rate).

    Each example loses branches of its own; an identity is never lost (DARTS, Larsson et al. 2017).
    """
    most = max(len(plan.branches) for plan in network.plans)
    stays = np.zeros((network.cells, most, 1), bool)
    for layout, row in zip(network.layouts, stays, strict=True):
        for i, branch in enumerate(layout.plan.branches):
            row[i] = OPERATIONS[branch.primitive].family == "skip" and not (layout.reduction and branch.source < 2)
    is_kept = own_draws(lambda shape: jax.random.bernoulli(key, 1 - rate, shape), (network.cells, most, batch), axis=2)
    return jnp.where(stays, 1.0, is_kept / (1 - rate))


def weight_count(network: Network, image_shape: tuple[int, int, int]) -> int:
    """Number of trainable weights, from shapes alone; those of an auxiliary head do not count."""
    network = network.clone(auxiliary=False)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *image_shape)))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
