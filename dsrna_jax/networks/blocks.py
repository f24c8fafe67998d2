"""Networks of blocks: each is one of several inverted bottlenecks with a shortcut around it (ProxylessNAS, arXiv:1812.00332)."""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Float

from dsrna_jax.genotypes.block_genotype import possible
from dsrna_jax.genotypes.operations import BLOCK_OPERATIONS
from dsrna_jax.kernels.gather_rows import gather_rows
from dsrna_jax.kernels.mixed_precision import scaled
from dsrna_jax.kernels.pointwise import pointwise
from dsrna_jax.networks.inverted import Inverted
from dsrna_jax.networks.layers import Map, Statistics
from dsrna_jax.networks.network import Mixture, Network
from dsrna_jax.networks.plan import Branch, CellPlan, Layout, Part, Side
from dsrna_jax.networks.stem import STEMS


class Block(nn.Module):
    """A weighted sum of inverted bottlenecks, and its input where that has the shape of the output.

    A branch `skip_connect` adds nothing: where its weight is one, the block is its shortcut.

    has_shortcut: whether the input is added; a skip connection needs it.
    """

    branches: tuple[Branch, ...]
    channels: int
    stride: int
    affine: bool
    has_shortcut: bool

    @nn.compact
    def __call__(
        self,
        before: Map,
        last: Map,
        branch_weights: Float[Array, "branch"] | Float[Array, "branch batch"] | None,
        edge_weights: None,
        statistics: Statistics,
    ) -> Map:
        """The output of the block from `last`; arguments as those of a `Cell`, of which it reads no others.

        Returns: [channels, batch, height', width'].
        """
        columns = [column for column, branch in enumerate(self.branches) if branch.primitive != "skip_connect"]
        if not columns:
            return last
        names = tuple(self.branches[column].primitive for column in columns)
        maps = Inverted(names, self.channels, self.stride, self.affine, name="inverted")(last, statistics)
        if branch_weights is None:
            total = maps.sum(0) if len(columns) > 1 else maps[0]
        elif branch_weights.ndim == 2:  # for each example
            total = scaled(maps, gather_rows(branch_weights, columns)[:, None, :, None, None]).sum(0)
        else:
            rows = maps.reshape(*maps.shape[:3], -1)
            total = pointwise(rows, gather_rows(branch_weights, columns)[None]).reshape(maps.shape[1:])
        return total + last if self.has_shortcut else total


class BlockNetwork(Network):
    """A network of blocks, one after the other. Else as a `Network`, with plans of branches from node 1 to node 2.

    Its mixtures are those of the group "blocks", whose branches are the shares [block, operation] of `operations`.
    """

    operations: tuple[str, ...] = BLOCK_OPERATIONS

    def setup(self):
        self.entry = STEMS[self.start](self.channels)
        kind = nn.remat(Block, static_argnums=5) if self.remat else Block  # 5: `statistics`
        self.stack = [
            kind(
                layout.plan.branches,
                layout.channels,
                2 if layout.reduction else 1,
                self.affine,
                not layout.reduction and layout.last == layout.channels,
                name=f"cell_{index}",
            )
            for index, layout in enumerate(self.layouts)
        ]
        self.make_head()

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Each block by itself, since operations differ from block to block."""
        return [(index, 1) for index in range(self.cells)]

    def group(self, index: int) -> str:
        return f"block {index}"

    def mixture_of(self, index: int, mixtures: Mapping[str, Mixture] | None) -> Mixture:
        if mixtures is None:
            return Mixture(None, None)
        columns = [self.operations.index(branch.primitive) for branch in self.plans[index].branches]
        shares = mixtures["blocks"].branches
        assert shares is not None, "blocks of a supernet have shares"
        return Mixture(gather_rows(shares[index], columns), None)

    def cell_parts(self, layout: Layout, before: Side, last: Side) -> tuple[list[Part], list[Part]]:
        stride = 2 if layout.reduction else 1
        branches = layout.plan.branches
        return [], [Part(branch.primitive, layout.last, layout.channels, *last, stride) for branch in branches]


def block_network(blocks: Sequence[Sequence[str]], **settings) -> BlockNetwork:
    """The network whose blocks have these operations each; `settings` as those of a `Network`."""
    plans = (CellPlan(tuple(Branch(1, 2, name) for name in names), (2,)) for names in blocks)
    return BlockNetwork(tuple(plans), **settings)


def block_supernet(primitives: Sequence[str], kept: Mapping[str, np.ndarray] | None, *, cells: int, **settings) -> BlockNetwork:
    """The network of all operations of every block, or of those that are kept."""
    fits = possible(cells, primitives) if kept is None else kept["blocks"]
    blocks = [tuple(name for name, stays in zip(primitives, row, strict=True) if stays) for row in fits]
    return block_network(blocks, is_supernet=True, operations=tuple(primitives), **settings)
