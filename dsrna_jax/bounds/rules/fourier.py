"""Fourier transforms, and complex numbers as pairs of real nodes.

A transform is linear: along each of its axes it is a product with the real and the imaginary part of its matrix.
"""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Complex, Linear, Node, Predicate, Refused, Whole
from dsrna_jax.bounds.rules.building import constant_node
from dsrna_jax.errors import NotSeparableError
from dsrna_jax.inputs import is_known
from dsrna_jax.kernels.equations import evaluated

FFT, IFFT, RFFT, IRFFT = range(4)


def fourier(tracer, primitive, operands, params, axes):
    """The rule of fft, of real and of complex values. Raises: NotSeparableError for a transform along the batch."""
    (x,), kind, lengths = operands, int(params["fft_type"]), params["fft_lengths"]
    real, imaginary = (x.real, x.imaginary) if isinstance(x, Complex) else (x, None)
    value = evaluated(primitive, [_value(x)], params)[0]
    rank = real.value.ndim
    if real.batch_axis >= rank - len(lengths):
        raise NotSeparableError(f"f is not batch-separable: fft{tracer.where} mixes the examples")
    places = list(range(rank - len(lengths), rank))
    if kind == IRFFT:
        for place, n in zip(places[:-1], lengths[:-1], strict=True):
            real, imaginary = _along(tracer, real, imaginary, place, _matrix(n, IFFT, real.value.dtype))
        matrix = _half_inverse(lengths[-1], real.value.dtype)
        return [_at_value(tracer, _product_with(tracer, real, imaginary, places[-1], matrix), value)]
    if kind == RFFT:
        matrix = _matrix(lengths[-1], FFT, real.value.dtype)
        half = lengths[-1] // 2 + 1
        real, imaginary = _along(tracer, real, None, places[-1], tuple(part[:, :half] for part in matrix))
        places, lengths, kind = places[:-1], lengths[:-1], FFT
    for place, n in zip(places, lengths, strict=True):
        real, imaginary = _along(tracer, real, imaginary, place, _matrix(n, kind, real.value.dtype))
    assert imaginary is not None
    return [_with_value(tracer, Complex(real, imaginary), value)]


fourier.is_rewritten = True  # its operations are checked one by one


def _value(x):
    """The value at the trace point of a node, a complex value or a constant."""
    return lax.complex(x.real.value, x.imaginary.value) if isinstance(x, Complex) else x.value if isinstance(x, Node) else x


def _with_value(tracer, x, value):
    """A complex value with parts that are `value` at the trace point, where its own operations round otherwise than XLA's."""
    return Complex(_at_value(tracer, x.real, value.real), _at_value(tracer, x.imaginary, value.imag), x.is_real)


def _at_value(tracer, node, value):
    same = lambda d: d  # noqa: E731
    return tracer.node(Linear(same, same, structural=True), (node,), value, node.batch_axis)


def _matrix(n, kind, dtype):
    """The real and imaginary part of the matrix of a transform of n values: [value, result]."""
    turns = np.outer(np.arange(n), np.arange(n)) % n / n
    scale, sign = (1 / n, 1) if kind == IFFT else (1, -1)
    parts = np.cos(2 * np.pi * turns), sign * np.sin(2 * np.pi * turns)
    return tuple((scale * np.where(np.abs(part) < 1e-12, 0, part)).astype(dtype) for part in parts)  # 0 is exactly 0


def _half_inverse(n, dtype):
    """The matrices that give n real values from the real and the imaginary parts of n // 2 + 1 frequencies."""
    cosine, sine = _matrix(n, IFFT, np.float64)
    count = n // 2 + 1
    twice = np.array([1 if k == 0 or 2 * k == n else 2 for k in range(count)])[:, None]
    return (twice * cosine[:count]).astype(dtype), (-twice * sine[:count]).astype(dtype)


def _along(tracer, real, imaginary, place, matrix):
    """The product with a complex matrix along an axis; imaginary may be None."""
    cosine, sine = matrix
    if imaginary is None:
        return tuple(_product_with(tracer, real, None, place, (part, None)) for part in matrix)
    parts = (cosine, -sine), (sine, cosine)
    return tuple(_product_with(tracer, real, imaginary, place, pair) for pair in parts)


def _product_with(tracer, real, imaginary, place, pair):
    """real @ first + imaginary @ second, along an axis."""

    products = [_product(tracer, part, place, m) for part, m in zip((real, imaginary), pair, strict=True) if part is not None]
    return tracer.inline(lambda *p: jnp.moveaxis(functools.reduce(jnp.add, p), -1, place), *products)[0]


def _product(tracer, x, place, matrix):
    """x @ matrix along an axis, which becomes the last one, with the rounding of a fast transform: relative to the sum of |x|."""
    (product,) = tracer.inline(lambda x: jnp.tensordot(x, jnp.asarray(matrix), (place, 0)), x)
    greatest = float(np.max(np.abs(matrix)))

    def errors(e):
        return jnp.broadcast_to(greatest * e.sum(place)[..., None], product.value.shape)

    operation = dataclasses.replace(product.operation, errors=errors)
    return tracer.node(operation, product.parents, product.value, product.batch_axis)


def absolute(tracer, x):
    """The absolute value of a complex value."""
    return tracer.inline(lambda a, b: jnp.sqrt(a * a + b * b), x.real, x.imaginary)[0]


def is_complex(equation, operands) -> bool:
    """Whether an equation takes complex values, as they are and not as their parts, or makes such of real ones."""
    makes_complex = equation.primitive.name in MAKES_COMPLEX and equation.outvars[0].aval.dtype.kind == "c"
    return makes_complex or any(map(_is_complex, operands))


def _is_complex(operand) -> bool:
    is_real = isinstance(operand, Node | Predicate | Whole | Refused)
    return isinstance(operand, Complex) or not is_real and jnp.iscomplexobj(operand)


def by_parts(tracer, equation, twin, operands) -> list:
    """Outputs of an equation on complex values. Raises: NotImplementedError if there is no rule for their parts."""
    name, params = equation.primitive.name, equation.params
    pairs = [_parts(o) if v.aval.dtype.kind == "c" else (o, o) for o, v in zip(operands, equation.invars, strict=True)]
    (a, b), (c, d) = pairs[0], pairs[-1]

    def inline(function, *parts):
        return tracer.inline(function, *parts)[0]

    with tracer.shapes([part for pair in pairs for part in pair], [v.aval for v in twin.invars for _ in (0, 1)]):
        if name == "convert_element_type" and jnp.issubdtype(params["new_dtype"], jnp.complexfloating):
            return operands if isinstance(operands[0], Complex) else [_as_complex(tracer, a, params["new_dtype"])]
        if name == "complex":
            return [_complex(tracer, a, c)]
        if name in ("real", "imag"):
            return [a if name == "real" else b]
        if name == "abs":
            return [absolute(tracer, operands[0])]
        if name == "conj":
            return [Complex(a, inline(jnp.negative, b))]
        if name in BY_REAL_FUNCTIONS:
            return [Complex(*tracer.inline(BY_REAL_FUNCTIONS[name], a, b))]
        if name in ("add", "sub"):
            return [_complex(tracer, inline(getattr(lax, name), a, c), inline(getattr(lax, name), b, d))]
        value = lambda: evaluated(equation.primitive, list(map(_value, operands)), params)[0]  # noqa: E731
        if name in ("mul", "dot_general"):
            return [_with_value(tracer, _product_of(tracer, equation, (a, b), (c, d)), value())]
        if name == "square" or (name == "integer_pow" and params["y"] == 2):
            square = Complex(inline(lambda a, b: a * a - b * b, a, b), inline(lambda a, b: 2 * (a * b), a, b))
            return [_with_value(tracer, square, value())]
        if name == "div":
            return [_with_value(tracer, _quotient(tracer, (a, b), operands[1], (c, d)), value())]
    if name in MOVING:
        of_parts, fill = [equation, equation], params.get("fill_value")
        if fill is not None:
            of_parts = [equation.replace(params=params | {"fill_value": float(part)}) for part in (np.real(fill), np.imag(fill))]
        sides = zip(of_parts, zip(*pairs, strict=True), strict=True)
        real, imaginary = (tracer.outputs(each, twin, list(parts)) for each, parts in sides)
        are_real = all(o.is_real if isinstance(o, Complex) else not _is_complex(o) for o in operands) and not np.imag(fill or 0)
        return [_complex(tracer, *parts, are_real) for parts in zip(real, imaginary, strict=True)]
    raise NotImplementedError(f"no bounds of {name} of complex values{tracer.where}")


def _root(a, b):
    """The parts of the principal square root of a + ib: first the one in which no terms cancel."""
    first = jnp.sqrt((jnp.sqrt(a * a + b * b) + jnp.abs(a)) / 2)
    second = jnp.abs(b) / (2 * first)
    return jnp.where(a >= 0, first, second), jnp.copysign(jnp.where(a >= 0, second, first), b)


BY_REAL_FUNCTIONS = {
    "exp": lambda a, b: (jnp.exp(a) * jnp.cos(b), jnp.exp(a) * jnp.sin(b)),
    "log": lambda a, b: (jnp.log(a * a + b * b) / 2, jnp.arctan2(b, a)),
    "sqrt": _root,
}
MAKES_COMPLEX = frozenset("fft convert_element_type complex".split())
MOVING = frozenset(
    "slice squeeze expand_dims transpose broadcast_in_dim reshape neg reduce_sum rev copy stop_gradient pad gather tile".split()
    + "concatenate stack split unstack select_n cumsum scatter dynamic_slice dynamic_update_slice optimization_barrier".split()
)


def _parts(x):
    return (x.real, x.imaginary) if isinstance(x, Complex) else (np.real(x), np.imag(x)) if is_known(x) else (x.real, x.imag)


def _as_complex(tracer, x, dtype):
    """A real value as a complex one. Raises: NotImplementedError for truth values and whole numbers."""
    if not isinstance(x, Node):
        raise NotImplementedError(f"no bounds of a conversion to {np.dtype(dtype).name} of what is no real number{tracer.where}")
    (real,) = tracer.inline(lambda x: x.astype(np.finfo(dtype).dtype), x)
    return Complex(real, constant_node(tracer, jnp.zeros((), real.value.dtype), real), is_real=True)


def _complex(tracer, real, imaginary, is_real=False):
    """A complex value of two parts, of which one may be constant; a constant if both are."""
    nodes = [part for part in (real, imaginary) if isinstance(part, Node)]
    if not nodes:
        return lax.complex(real, imaginary)
    real, imaginary = (part if isinstance(part, Node) else constant_node(tracer, part, nodes[0]) for part in (real, imaginary))
    return Complex(real, imaginary, is_real)


def _product_of(tracer, equation, left, right):
    """The product of two complex values, entry by entry or of matrices."""
    params = dict(equation.params)
    if params.get("preferred_element_type") is not None:
        params["preferred_element_type"] = np.finfo(params["preferred_element_type"]).dtype
    times = functools.partial(equation.primitive.bind, **params)
    (a, b), (c, d) = left, right
    (real,) = tracer.inline(lambda a, b, c, d: times(a, c) - times(b, d), a, b, c, d)
    (imaginary,) = tracer.inline(lambda a, b, c, d: times(a, d) + times(b, c), a, b, c, d)
    return Complex(real, imaginary)


def _quotient(tracer, top, divisor, parts):
    """The quotient of two complex values. XLA may divide by any formula, of which none rounds a product more than 16 times."""

    def rounded(x):
        same = lambda d: d  # noqa: E731
        operation = Linear(same, same, terms=16, increasing=True, singleton=True)
        return tracer.node(operation, (x,), x.value, x.batch_axis) if isinstance(x, Node) else x

    (a, b), (c, d) = top, parts
    if divisor.is_real if isinstance(divisor, Complex) else is_known(d) and not np.any(d):
        return _complex(tracer, *(tracer.inline(jnp.divide, rounded(part), c)[0] for part in top))
    (size,) = tracer.inline(lambda c, d: c * c + d * d, c, d)
    products = [rounded(tracer.inline(jnp.multiply, *pair)[0]) for pair in ((a, c), (b, d), (b, c), (a, d))]
    real = tracer.inline(lambda ac, bd, size: (ac + bd) / size, *products[:2], size)[0]
    return _complex(tracer, real, tracer.inline(lambda bc, ad, size: (bc - ad) / size, *products[2:], size)[0])


RULES = {"fft": fourier}
