"""Functions of one value that are written out of several operations, recognised by their values.

silu is a product, softplus a sum, leaky relu a choice: bounds of one operation at a time would be sound, but loose. Affine
functions are followed exactly. Others are compared with relu and with `CURVES` on a grid, provided that they are analytic on both
sides of 0 and contain moderate numbers only, so that they cannot differ between the points of the grid, or beyond it as
clip(x, 0, 100) does.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.curve import Curve
from dsrna_jax.bounds.relaxations.hinge import Hinge

ANALYTIC = frozenset(
    "add add_any sub mul div integer_pow square exp expm1 log1p logistic tanh erf erfc convert_element_type copy".split()
)
BENT = frozenset("max min abs select_n gt ge lt le ne eq is_finite".split())
LARGEST_NUMBER = 8.0

CURVES = {
    "square": Curve(jnp.square),
    "sigmoid": Curve(jax.nn.sigmoid, (0.0,)),
    "silu": Curve(lambda x: x * jax.nn.sigmoid(x), (-2.3993572805154675, 2.3993572805154675)),
    "gelu": Curve(functools.partial(jax.nn.gelu, approximate=False), (-np.sqrt(2), np.sqrt(2))),
    "tanh_gelu": Curve(functools.partial(jax.nn.gelu, approximate=True), (-1.4185040087908283, 1.4185040087908283)),
    "mish": Curve(jax.nn.mish, (-2.256376396360793, 1.4905711794854284)),
    "softplus": Curve(jax.nn.softplus),
    "elu": Curve(jax.nn.elu, signs=(1,)),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Composed:
    """A value as an elementwise function of the node `root`.

    function: the function; None if it contains constants that are not numbers.
    affine: (slope, offset) of an affine function, else None.
    is_simple: whether it is analytic on both sides of 0 and contains only numbers up to `LARGEST_NUMBER`.
    """

    root: Any
    function: Any
    affine: tuple | None
    is_simple: bool


def itself(node) -> Composed:
    """The node as a function of itself."""
    return Composed(node, lambda x: x, (1.0, 0.0), True)


def joined(name: str, call: Callable, operands: list, parts: list[Composed | None]) -> Composed | None:
    """The result of a primitive as a function of the one node that all its operands are functions of; None if they are not.

    Args:
      name, call: of the primitive, a function of all operands.
      parts: `Composed` of each operand, None for constants.
    """
    known = [part for part in parts if part is not None]
    if name not in ANALYTIC | BENT or len({id(part.root) for part in known}) != 1:
        return None
    if any(
        len(set(np.shape(o)) - {1}) and np.shape(o) != known[0].root.value.shape
        for o, part in zip(operands, parts, strict=True)
        if part is None
    ):
        return None
    constants: list[Any] = [None if part is not None else number(o) for o, part in zip(operands, parts, strict=True)]
    operands = [o if c is None else c for o, c in zip(operands, constants, strict=True)]
    numbers = [c for c, part in zip(constants, parts, strict=True) if part is None]

    def function(x):
        spread = lambda c: np.broadcast_to(c, np.shape(x))  # noqa: E731
        return call(*(spread(c) if part is None else part.function(x) for c, part in zip(constants, parts, strict=True)))

    is_function = all(c is not None for c in numbers) and all(part.function is not None for part in known)
    pairs = [part.affine if part is not None else (0.0, o) for o, part in zip(operands, parts, strict=True)]
    is_simple = is_function and all(part.is_simple for part in known)
    is_simple = is_simple and all(np.abs(c) <= LARGEST_NUMBER or not np.isfinite(c) for c in numbers)
    if name in ("max", "min", "abs", "gt", "ge", "lt", "le"):
        bend = difference(*pairs) if len(pairs) == 2 else pairs[0]
        is_simple = is_simple and bend is not None and _is_zero(bend[1])
    return Composed(known[0].root, function if is_function else None, _affine(name, operands, parts, pairs), is_simple)


def _affine(name, operands, parts, pairs):
    if any(pair is None for pair in pairs):
        return None
    if name in ("add", "add_any"):
        return difference(pairs[0], (-pairs[1][0], _times(pairs[1][1], -1)))
    if name == "sub":
        return difference(*pairs)
    if name in ("mul", "div") and sum(part is not None for part in parts) == 1:
        if name == "div" and parts[0] is None:
            return None
        (slope, offset), factor = next(
            (p, o) for p, part, o in zip(pairs, parts, operands[::-1], strict=True) if part is not None
        )
        factor = 1 / factor if name == "div" else factor
        return slope * factor, _times(offset, factor)
    return pairs[0] if name in ("convert_element_type", "copy") else None


def difference(a, b):
    """a - b of affine functions (slope, offset); an offset that is known to be 0 stays the number 0."""
    if a is None or b is None:
        return None
    offset = a[1] if _is_zero(b[1]) else _times(b[1], -1) if _is_zero(a[1]) else a[1] - b[1]
    return a[0] - b[0], offset


def _times(offset, factor):
    return 0.0 if _is_zero(offset) else offset * factor


def _is_zero(value):
    value = number(value)
    return value is not None and value == 0


def recognised(composed: Composed | None) -> tuple[str, Hinge | Curve] | None:
    """(name, relaxation) of the hinge or curve that a composed function equals on the grid; None if there is none."""
    if composed is None or not composed.is_simple:
        return None
    dtype = composed.root.value.dtype
    grid = np.concatenate([np.linspace(-12, 12, 481), np.linspace(-80, 80, 161), np.linspace(-0.5, 0.5, 101), [-1, 1]]).astype(
        dtype
    )
    with jax.ensure_compile_time_eval():
        got = np.broadcast_to(np.asarray(composed.function(jnp.asarray(grid)), np.float64), grid.shape)
        left, right = -got[grid == -1][0], got[grid == 1][0]
        if np.allclose(got, np.where(grid < 0, left, right) * grid, rtol=4 * np.finfo(dtype).eps, atol=0):
            return "relu", Hinge(left, right)
        tolerance = max(1e-8, 32 * np.finfo(dtype).eps)
        for name, curve in CURVES.items():
            if np.allclose(got, np.asarray(curve.function(jnp.asarray(grid))), rtol=tolerance, atol=tolerance):
                return name, dataclasses.replace(curve, function=composed.function)
    return None


def meet(a, b, at, eps: float) -> bool:
    """Whether affine functions (slope, offset) are known to be equal at a point, up to rounding in a precision of `eps`."""
    if all(_is_zero(v) for v in (at, a[1], b[1])):
        return True
    values = [v if number(v) is None else number(v) for v in (*a, *b, at)]
    if any(isinstance(v, jax.Array) for v in values):
        return False
    left, right = values[0] * at + values[1], values[2] * at + values[3]
    return bool(np.all(np.abs(left - right) <= 4 * eps * (np.abs(left) + np.abs(right))))
