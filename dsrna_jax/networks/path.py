"""Sub-networks as paths: a network that computes the operations that it is told, and skips all others.

A path lists operations on edges, as arrays. One compiled program computes any path, at the cost of its own operations: a loop
over the steps of a cell, each of which gathers its weights and switches to its operation. The supernet (`spaces.supernet`)
computes all operations for any mixture, since shares of them all may be positive.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from dsrna_jax.data_parallel import batch_mean
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import CELL_TYPES, edge_count, edges
from dsrna_jax.genotypes.operations import OPERATIONS, Operation
from dsrna_jax.kernels.mixed_precision import scaled, wide
from dsrna_jax.networks.families import family_of
from dsrna_jax.networks.layers import FactorizedReduce, Map, Preprocess, Statistics, torch_uniform
from dsrna_jax.networks.network import Network
from dsrna_jax.networks.path_operations import PathOperation
from dsrna_jax.networks.plan import CellPlan, supernet_branches
from dsrna_jax.networks.stem import STEMS

_EPSILON = 1e-5  # of batch norms


class Path(NamedTuple):
    """Operations on edges, of a cell [step] or of all cells of a network [cell, step].

    edges: in the order of `genotype.edges`.
    operations: indices into the operations of the network; their number, or -1, for a step that does nothing.
    weights: of the outputs of the operations; None for ones.
    """

    edges: Int[Array, "*cell step"]
    operations: Int[Array, "*cell step"]
    weights: Float[Array, "*cell step"] | None = None


class PathCell(nn.Module):
    """A cell that adds up the operations of a path; the steps before an operation have completed the node that it reads.

    Batch norms have neither scale nor bias. Their statistics are those of the batch, recorded in the collection `moments`, or the
    recorded ones as constants ("frozen"); there are no running ones, which would mix those of all paths.

    operations: names of those that a path can have, without `none`.
    """

    nodes: int
    operations: tuple[str, ...]
    channels: int
    reduction: bool
    after_reduction: bool

    @nn.compact
    def __call__(
        self,
        before: Map,
        last: Map,
        chosen: Int[Array, "step"],
        operations: Int[Array, "step"],
        step_weights: Float[Array, "step"] | None,
        statistics: Statistics,
    ) -> Map:
        """The output of the cell, all its nodes concatenated; arguments as those of a `Cell`, with a path in place of weights."""
        if self.after_reduction:
            first = FactorizedReduce(self.channels, False, name="preprocess_before")(before, statistics)[0]
        else:
            first = Preprocess(self.channels, False, name="preprocess_before")(before, statistics)
        inputs = jnp.stack([first, Preprocess(self.channels, False, name="preprocess_last")(last, statistics)])
        sources, targets = np.array(edges(self.nodes)).T
        weights = {name: self.weights(OPERATIONS[name]) for name in self.operations}
        sides = [-(-n // 2) if self.reduction else n for n in inputs.shape[-2:]]
        nodes = jnp.zeros((self.nodes, *inputs.shape[1:3], *sides), inputs.dtype)
        is_frozen = statistics == "frozen"
        recorded = self.get_variable("moments", "steps") if is_frozen else jnp.zeros((len(chosen), 2, 2, self.channels))

        def branch(name: str | None, stride: int):
            def computed(x, own, moments):
                if name is None:
                    return jnp.zeros_like(nodes[0]), jnp.zeros_like(moments)
                return _operation(OPERATIONS[name], x[0 if stride == 2 else 1], own[name], stride, statistics, moments)

            return computed

        kinds = [branch(name, stride) for stride in ((1, 2) if self.reduction else (1,)) for name in self.operations]
        kinds.append(branch(None, 1))

        @jax.checkpoint
        def computed(x, own, moments, which):
            return lax.switch(which, kinds, x, own, moments)

        def step(nodes, parts):
            edge, operation, weight, moments = parts
            source, target = jnp.asarray(sources)[edge], jnp.asarray(targets)[edge]
            is_input, count = source < 2, len(self.operations)
            none = (operation < 0) | (operation >= count)
            entering = inputs[jnp.minimum(source, 1)]
            earlier = nodes[jnp.maximum(source - 2, 0)]
            if self.reduction:
                x, which = (entering, earlier), operation + count * is_input
            else:
                x, which = (entering, jnp.where(is_input, entering, earlier)), operation
            own = jax.tree.map(lambda leaf: leaf[edge], weights)
            y, moments = computed(x, own, moments, jnp.where(none, len(kinds) - 1, which))
            return nodes.at[target - 2].add(y if weight is None else scaled(y, weight)), moments

        nodes, moments = lax.scan(step, nodes, (chosen, operations, step_weights, lax.stop_gradient(recorded)))
        if not is_frozen and self.is_mutable_collection("moments") and not self.is_initializing():
            self.put_variable("moments", "steps", moments)
        return nodes.reshape(-1, *nodes.shape[2:])

    def weights(self, operation: Operation) -> dict[str, Any]:
        """The variables of an operation on all edges, with a leading axis for the edge."""
        c, count = self.channels, edge_count(self.nodes)

        def made(name, fan_in, shape):
            return self.param(f"{operation.name}_{name}", torch_uniform(fan_in), (count, *shape))

        return path_operation(operation).weights(operation, c, self.reduction, made)


def path_operation(operation: Operation) -> PathOperation:
    """The code of an operation in networks of paths. Raises: InputError for an operation that paths do not have."""
    code = family_of(operation.name).on_paths
    if code is None:
        known = ", ".join(name for name in OPERATIONS if family_of(name).on_paths is not None)
        raise InputError(f"paths have no operation {operation.name!r}: expected one of {known}")
    return code


def _operation(operation: Operation, x: Map, weights: Mapping[str, Any], stride: int, statistics: Statistics, moments: Array):
    """The output of an operation with its batch norms, and their moments [norm, (mean, variance), channel]."""
    is_frozen, used = statistics == "frozen", []

    def norm(y):
        mean, variance = moments[len(used)] if is_frozen else _moments(y, statistics)
        used.append(jnp.stack([mean, variance]).astype(moments.dtype))
        scale = lax.rsqrt(variance + _EPSILON)
        return (wide(y) * scale[:, None, None, None] - (mean * scale)[:, None, None, None]).astype(y.dtype)

    y = path_operation(operation).output(operation, x, weights, stride, norm)
    used += [jnp.zeros_like(moments[0])] * (2 - len(used))
    return y, jnp.stack(used)


def _moments(y: Map, statistics: Statistics) -> tuple[Float[Array, " channel"], Float[Array, " channel"]]:
    """Mean and variance of a map over the batch, or over the examples of this device."""
    mean, square = wide(y).mean((1, 2, 3)), jnp.square(wide(y)).mean((1, 2, 3))
    if statistics != "device":
        mean, square = batch_mean((mean, square))
    return mean, jnp.maximum(square - jnp.square(mean), 0)


class PathNetwork(Network):
    """A network whose cells compute paths: its mixtures are a `Path` [cell, step]. Else as a `Network`, with the same `plans`.

    nodes: intermediate nodes of a cell.
    operations: names of those that a path can have, without `none`.
    draws: whether `mixture` takes one operation of each edge, the one with the largest share.
    """

    nodes: int = 4
    operations: tuple[str, ...] = ()
    draws: bool = False

    def mixture(self, shares: Mapping[str, Float[Array, "edge primitive"]], primitives: Sequence[str]) -> Path:
        """The path that computes the shares of the operations of every edge, by cell type; `none` computes nothing.

        primitives: names of the columns of `shares`.
        """
        number = np.array([self.operations.index(name) if name in self.operations else -1 for name in primitives])
        weights = jnp.stack([shares[kind] for kind in CELL_TYPES])
        columns = weights.argmax(2, keepdims=True) if self.draws else np.arange(len(primitives))[None, None]
        columns = jnp.broadcast_to(columns, (*weights.shape[:2], columns.shape[2]))
        every = jnp.broadcast_to(jnp.arange(columns.shape[1])[None, :, None], columns.shape)
        kinds = np.array([layout.reduction for layout in self.layouts], int)
        weights = jnp.take_along_axis(weights, columns, axis=2)
        return Path(*(part.reshape(len(CELL_TYPES), -1)[kinds] for part in (every, jnp.asarray(number)[columns], weights)))

    def setup(self):
        self.entry = STEMS[self.start](self.channels)
        kind = nn.remat(PathCell, static_argnums=6) if self.remat else PathCell  # 6: `statistics`
        self.stack = [
            kind(self.nodes, self.operations, layout.channels, layout.reduction, layout.after_reduction, name=f"cell_{index}")
            for index, layout in enumerate(self.layouts)
        ]
        self.make_head()

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Each cell by itself, since paths differ from cell to cell."""
        return [(index, 1) for index in range(self.cells)]

    def mixture_of(self, index: int, mixtures: Any) -> Path:
        if mixtures is None:
            return Path(jnp.zeros(1, jnp.int32), jnp.zeros(1, jnp.int32))
        return jax.tree.map(lambda rows: rows[index], mixtures)


def path_network(operations: Sequence[str], *, nodes: int, cells: int, draws: bool = False, **settings: Any) -> PathNetwork:
    """The network that computes any path of `operations`, names without `none`; `settings` as those of a `Network`.

    Raises: InputError for an operation that paths do not have.
    """
    for name in operations:
        path_operation(OPERATIONS[name])
    plan = CellPlan(supernet_branches(nodes, operations), tuple(range(2, 2 + nodes)))
    return PathNetwork((plan,) * cells, is_supernet=True, nodes=nodes, operations=tuple(operations), draws=draws, **settings)
