"""Functions as arguments of compiled programs.

`jax.jit` takes a function as a static argument, and compiles anew for another one. A function that is a pytree, such as
`jax.tree_util.Partial(apply, weights)` or an Equinox module, is split into its arrays, which are traced, and the rest: one
program then serves all networks of one shape. The rest counts by what it computes when `verify` is called: a closure whose
arrays have changed since is another function.
"""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_ADDRESS = re.compile(r"0x[0-9a-f]+")


@dataclasses.dataclass(frozen=True)
class Static:
    """A function without its arrays, equal to those of the same `digest`.

    digest: of the operations, and of all numbers in them that are not arrays of the pytree.
    structure, rest: the pytree, and its leaves with None in the places of arrays.
    """

    digest: bytes
    structure: Any = dataclasses.field(compare=False, repr=False)
    rest: tuple[Any, ...] = dataclasses.field(compare=False, repr=False)


@dataclasses.dataclass(frozen=True)
class Traceable:
    """A function as (static, arrays): `static` hashes by what decides the program, `arrays` are its traced leaves."""

    static: Static
    arrays: tuple[Any, ...]

    @classmethod
    def of(cls, f: Callable, x) -> "Traceable":
        """The parts of a function of inputs like x [batch, ...], which may be a pytree."""
        leaves, structure = jax.tree.flatten(f)
        arrays = tuple(leaf for leaf in leaves if _is_array(leaf))
        static = Static(b"", structure, tuple(None if _is_array(leaf) else leaf for leaf in leaves))
        pair = jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype)  # of two examples, since an axis of length 1 would be broadcast
        closed = jax.make_jaxpr(lambda arrays, x: joined(static, arrays)(x))(arrays, pair)
        return cls(dataclasses.replace(static, digest=_digest(closed)), arrays)


def joined(static: Static, arrays: tuple[Any, ...]) -> Callable:
    """The function of two parts of a `Traceable`."""
    remaining = iter(arrays)
    return jax.tree.unflatten(static.structure, [next(remaining) if leaf is None else leaf for leaf in static.rest])


def _is_array(leaf) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)


def _digest(closed) -> bytes:
    """A digest of a closed jaxpr with its constants."""
    digest = hashlib.sha256(_ADDRESS.sub("", str(closed)).encode())
    for array in _constants(closed):
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            array = jax.random.key_data(array)
        array = np.asarray(array)
        digest.update(repr((array.dtype, array.shape)).encode() + array.tobytes())
    return digest.digest()


def _constants(jaxpr) -> Iterator[Any]:
    """The arrays that a jaxpr and those in its equations close over."""
    yield from getattr(jaxpr, "consts", ())
    for equation in jaxpr.eqns:
        for part in jax.tree.leaves(equation.params, is_leaf=lambda part: hasattr(part, "eqns")):
            if hasattr(part, "eqns"):
                yield from _constants(part)
