"""Functions as arguments of compiled programs.

`jax.jit` takes a function as a static argument, and compiles anew for another one. A function that is a pytree, such as
`jax.tree_util.Partial(apply, weights)` or an Equinox module, is split into its arrays, which are traced, and the rest: one
program then serves all networks of one shape.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Traceable:
    """A function as (static, arrays): `static` hashes by what decides the program, `arrays` are its traced leaves."""

    static: tuple[Any, ...]
    arrays: tuple[Any, ...]

    @classmethod
    def of(cls, f: Callable) -> "Traceable":
        """The parts of a function, which may be a pytree."""
        leaves, structure = jax.tree.flatten(f)
        arrays = tuple(leaf for leaf in leaves if isinstance(leaf, jax.Array | np.ndarray))
        rest = tuple(None if isinstance(leaf, jax.Array | np.ndarray) else leaf for leaf in leaves)
        return cls((structure, rest), arrays)


def joined(static: tuple[Any, ...], arrays: tuple[Any, ...]) -> Callable:
    """The function of two parts of a `Traceable`."""
    structure, rest = static
    remaining = iter(arrays)
    return jax.tree.unflatten(structure, [next(remaining) if leaf is None else leaf for leaf in rest])
