"""Runtime checking of the shapes and dtypes in signatures, while the tests run.

jaxtyping's import hook applies `checked` to every function of the package. Only annotations that say something about arrays are
checked; NumPy arrays pass for JAX arrays and Python numbers for scalars, as they do in JAX's own functions.
"""

import inspect
import types
import typing

import jax
import jaxtyping
import numpy as np
from beartype import BeartypeConf, beartype

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function):
    """`function`, raising TypeError where an array that it gets or returns does not fit its signature."""
    hints = {name: _of_arrays(hint) for name, hint in inspect.get_annotations(function).items()}
    function.__annotations__ = {name: hint for name, hint in hints.items() if hint is not typing.Any}
    return _beartype(function)


def _of_arrays(hint):
    """The part of an annotation that speaks of arrays; Any if there is none."""
    arguments = typing.get_args(hint)
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        scalars = (float, int) if hint.dim_str == "" else ()
        numpy = (hint.dtype[np.ndarray, hint.dim_str],) if hint.array_type is jax.Array else ()
        return typing.Union[(hint, *numpy, *scalars)]  # noqa: UP007
    if typing.get_origin(hint) is tuple and Ellipsis not in arguments:
        return tuple[tuple(map(_of_arrays, arguments))]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = [type(None) if member is type(None) else _of_arrays(member) for member in arguments]
        return typing.Any if typing.Any in members else typing.Union[tuple(members)]  # noqa: UP007
    return typing.Any
