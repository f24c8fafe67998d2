"""Maps that branches compute, each with the branches whose output it is."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Kind(NamedTuple):
    """A branch without its source: its operation and the node that it enters."""

    primitive: str
    target: int


class Maps(NamedTuple):
    """Maps computed from a stack of nodes; `served` has for each `map` the branches whose output it is."""

    values: Float[Array, "stack map channel batch height width"]
    served: tuple[tuple[Kind, ...], ...]


def joined(parts: Sequence[Maps]) -> Maps:
    """The maps of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Maps(jnp.concatenate([part.values for part in parts], axis=1), sum((part.served for part in parts), ()))


def split(maps: Maps, count: int) -> list[Maps]:
    """The first `count` maps, and the others; empty parts are left out."""
    if count in (0, len(maps.served)):
        return [maps]
    values = jnp.split(maps.values, [count], axis=1)
    return [Maps(*part) for part in zip(values, (maps.served[:count], maps.served[count:]), strict=True)]
