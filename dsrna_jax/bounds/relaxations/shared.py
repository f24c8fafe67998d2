"""One compiled function for all uses of a relaxation on arrays of one shape.

The formulas of a curve are long; a network with many curves would repeat them, for intervals and planes, and compile slowly. Here
equal relaxations of equal shapes are one function of the compiled program.
"""

import functools
from typing import Any, NamedTuple, TypeVar

import jax
from jax import lax

from dsrna_jax.kernels.lowering import noinline

T = TypeVar("T")


class Seen(NamedTuple):
    """The part of a node that relaxations use: its value, and those of its parents."""

    value: Any
    parents: tuple["Seen", ...] = ()


def shared(relaxation: type[T]) -> type[T]:
    """Decorates a class of relaxations, frozen dataclasses without arrays: equal ones share programs of their methods."""
    wraps = {"enclosure": _shared, "planes": _shared, "adjustable": _shared, "adjusted": _once}
    for name in wraps.keys() & set(dir(relaxation)):
        setattr(relaxation, name, wraps[name](getattr(relaxation, name)))
    return relaxation


def _shared(method):
    @_once
    def program(self, value, parents, intervals, known):
        return method(self, Seen(value, tuple(map(Seen, parents))), intervals, **known)

    @functools.wraps(method)
    def wrapped(self, node, intervals, slopes="adaptive", hull=None):
        known = {} if hull is None else {"hull": hull}
        return program(self, node.value, [parent.value for parent in node.parents], list(intervals), known)

    return wrapped


def _once(method):
    """A method of arrays alone as one function of the program for all arrays of the same shapes."""

    @functools.partial(jax.jit, static_argnums=0)
    def program(self, *operands):
        formulas = functools.partial(method, self)
        return lax.platform_dependent(*operands, cpu=noinline(formulas), default=formulas)

    return functools.wraps(method)(program)
