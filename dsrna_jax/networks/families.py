"""Families of operations: the code that builds the branches of a fan and the steps of a path, and counts their multiply-adds.

An operation (`genotypes.operations`) names its family; a new family is one entry of `FAMILIES`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dsrna_jax.data_parallel import own_draws
from dsrna_jax.genotypes.operations import OPERATIONS, Operation
from dsrna_jax.networks import inverted, path_operations, windowed
from dsrna_jax.networks.layers import Crossed, FactorizedReduce, Statistics
from dsrna_jax.networks.maps import Kind, Maps
from dsrna_jax.networks.path_operations import PathOperation

Size = tuple[int, int]


def _free(operation: Operation, entering: int, leaving: int, size: Size, output_size: Size, stride: int) -> int:
    return 0


class Family(NamedTuple):
    """The code of one family of operations: construction and cost.

    Attributes:
      maps: (fan, x, kinds, statistics) -> list of `Maps` that serve each of `kinds` once. Called in the compact method of the
        fan: it follows the fan's `stride`, `affine` and `is_supernet`, and makes variables in its scope. The nodes that the
        branches leave are x [stack, channel, batch, height, width]; maps have ceil(side / stride) pixels a side. Families with
        the same `maps` are built by one call.
      multiply_adds: (operation, entering, leaving, size, output_size, stride) -> those of one branch and one image, by the number
        of channels and the size (height, width) of its input and of its output.
      is_learnable: whether the operations have weights of their own, in cells that keep the size of their maps.
      on_paths: its code in networks of paths (`networks.path`); None if those do not have it.
    """

    maps: Callable[[Any, jax.Array, Sequence[Kind], Statistics], list[Maps]]
    multiply_adds: Callable[[Operation, int, int, Size, Size, int], int] = _free
    is_learnable: bool = False
    on_paths: PathOperation | None = None


def nothing(fan: Any, x: jax.Array, kinds: Sequence[Kind], statistics: Statistics) -> list[Maps]:
    """The operation `none`: no maps."""
    return []


def skip(fan: Any, x: jax.Array, kinds: Sequence[Kind], statistics: Statistics) -> list[Maps]:
    """The map itself, the same for all branches; with stride 2 a factorized reduction for each.

    Under dropout of identities (Chen et al. 2019, arXiv:1904.12760, section 3.3) each branch loses pixels of its own.
    """
    if fan.stride == 1 and fan.has_rng("skip_dropout"):
        shape = (len(x), len(kinds), *x.shape[1:])
        draw = lambda shape: jax.random.bernoulli(fan.make_rng("skip_dropout"), 1 - fan.skip_dropout, shape)  # noqa: E731
        kept = jnp.where(own_draws(draw, shape, axis=3), x[:, None], 0) / jnp.asarray(1 - fan.skip_dropout, x.dtype)
        return [Maps(kept, tuple((kind,) for kind in kinds))]
    if fan.stride == 1:
        return [Maps(x[:, None], (tuple(kinds),))]
    reduced = FactorizedReduce(x.shape[1], fan.affine, len(kinds), name="skip_connect")(x, statistics)
    return [Maps(reduced, tuple((kind,) for kind in kinds))]


def skip_multiply_adds(operation: Operation, entering: int, leaving: int, size: Size, output_size: Size, stride: int) -> int:
    """Multiply-adds of a factorized reduction; an identity has none."""
    return entering * leaving * math.prod(output_size) if stride == 2 else 0


def crossed(fan: Any, x: jax.Array, kinds: Sequence[Kind], statistics: Statistics) -> list[Maps]:
    """A 1×side and a side×1 convolution for each branch."""
    maps = []
    for kind in kinds:
        layer = Crossed(OPERATIONS[kind.primitive].side, fan.stride, fan.affine, name=f"{kind.primitive}_to_{kind.target}")
        maps.append(Maps(layer(x, statistics)[:, None], ((kind,),)))
    return maps


def crossed_multiply_adds(operation: Operation, entering: int, leaving: int, size: Size, output_size: Size, stride: int) -> int:
    """Multiply-adds of both convolutions; the row goes first, so between them only the width is that of the output."""
    between = size[0] * output_size[1]
    return operation.side * entering * leaving * (between + math.prod(output_size))


def noise(fan: Any, x: jax.Array, kinds: Sequence[Kind], statistics: Statistics) -> list[Maps]:
    """White noise in place of the map if flax has a generator "noise", as in training; else its mean, zero."""
    x = x[..., :: fan.stride, :: fan.stride]
    if not fan.has_rng("noise"):
        return [Maps(jnp.zeros_like(x)[:, None], ((kind,),)) for kind in kinds]

    def draw(shape):
        return jax.random.normal(fan.make_rng("noise"), shape, x.dtype)

    return [Maps(own_draws(draw, x.shape, axis=2)[:, None], ((kind,),)) for kind in kinds]


# In the order in which a node adds them up.
FAMILIES: dict[str, Family] = {
    "none": Family(nothing),
    "max_pool": Family(windowed.windowed, on_paths=PathOperation(path_operations.max_pooled)),
    "average_pool": Family(windowed.windowed, on_paths=PathOperation(path_operations.average_pooled)),
    "depthwise": Family(
        windowed.windowed,
        windowed.multiply_adds,
        is_learnable=True,
        on_paths=PathOperation(path_operations.separable, path_operations.separable_weights),
    ),
    "skip": Family(skip, skip_multiply_adds, on_paths=PathOperation(path_operations.skipped, path_operations.skipped_weights)),
    "crossed": Family(crossed, crossed_multiply_adds, is_learnable=True),
    "noise": Family(noise),
    "inverted": Family(inverted.inverted, inverted.multiply_adds, is_learnable=True),
}


def family_of(primitive: str) -> Family:
    """The family of an operation, by the operation's name."""
    return FAMILIES[OPERATIONS[primitive].family]
