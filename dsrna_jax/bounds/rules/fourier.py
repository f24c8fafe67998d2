"""Fourier transforms, and complex numbers as pairs of real nodes.

A transform is linear: along each of its axes it is a product with the real and the imaginary part of its matrix.
"""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Complex, Node
from dsrna_jax.errors import NotSeparableError

FFT, IFFT, RFFT, IRFFT = range(4)


def fourier(tracer, primitive, operands, params, axes):
    """The rule of fft, of real and of complex values. Raises: NotSeparableError for a transform along the batch."""
    (x,), kind, lengths = operands, int(params["fft_type"]), params["fft_lengths"]
    real, imaginary = (x.real, x.imaginary) if isinstance(x, Complex) else (x, None)
    rank = real.value.ndim
    if real.batch_axis >= rank - len(lengths):
        raise NotSeparableError(f"f is not batch-separable: fft{tracer.where} mixes the examples")
    places = list(range(rank - len(lengths), rank))
    if kind == IRFFT:
        for place, n in zip(places[:-1], lengths[:-1], strict=True):
            real, imaginary = _along(tracer, real, imaginary, place, _matrix(n, IFFT, real.value.dtype))
        matrix = _half_inverse(lengths[-1], real.value.dtype)
        return [_product_with(tracer, real, imaginary, places[-1], matrix)]
    if kind == RFFT:
        matrix = _matrix(lengths[-1], FFT, real.value.dtype)
        half = lengths[-1] // 2 + 1
        real, imaginary = _along(tracer, real, None, places[-1], tuple(part[:, :half] for part in matrix))
        places, lengths, kind = places[:-1], lengths[:-1], FFT
    for place, n in zip(places, lengths, strict=True):
        real, imaginary = _along(tracer, real, imaginary, place, _matrix(n, kind, real.value.dtype))
    assert imaginary is not None
    return [Complex(real, imaginary)]


fourier.is_rewritten = True  # its operations are checked one by one


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
    greatest = float(np.abs(matrix).max())

    def errors(e):
        return jnp.broadcast_to(greatest * e.sum(place)[..., None], product.value.shape)

    operation = dataclasses.replace(product.operation, errors=errors)
    return tracer.node(operation, product.parents, product.value, product.batch_axis)


def absolute(tracer, x):
    """The absolute value of a complex value."""
    return tracer.inline(lambda a, b: jnp.sqrt(a * a + b * b), x.real, x.imaginary)[0]


def by_parts(tracer, equation, twin, operands) -> list:
    """Outputs of an equation on complex values. Raises: NotImplementedError if there is no rule for their parts."""
    name, (x, *rest) = equation.primitive.name, operands
    if name == "convert_element_type" and jnp.issubdtype(equation.params["new_dtype"], jnp.complexfloating):
        return operands if isinstance(x, Complex) else [Complex(x, tracer.inline(lambda a: 0 * a, x)[0])]
    if name == "complex" and all(isinstance(o, Node) for o in operands):
        return [Complex(*operands)]
    if isinstance(x, Complex) and name in ("real", "imag"):
        return [x.real if name == "real" else x.imaginary]
    if isinstance(x, Complex) and name == "abs":
        return [absolute(tracer, x)]
    if isinstance(x, Complex) and name == "conj":
        return [Complex(x.real, tracer.inline(jnp.negative, x.imaginary)[0])]
    if isinstance(x, Complex) and name == "exp":
        turns = [
            tracer.inline(lambda a, b, wave=wave: jnp.exp(a) * wave(b), x.real, x.imaginary)[0] for wave in (jnp.cos, jnp.sin)
        ]
        return [Complex(*turns)]
    if name in ("add", "sub", "mul") and len(operands) == 2:
        return [_arithmetic(tracer, name, *operands)]
    if name in MOVING and isinstance(x, Complex) and not any(isinstance(r, Complex) for r in rest):
        others = zip(*((_parts(r) if jnp.iscomplexobj(r) else (r, r)) for r in rest), strict=True) if rest else ((), ())
        parts = zip((x.real, x.imaginary), others, strict=True)
        return [Complex(*(tracer.outputs(equation, twin, [part, *other])[0] for part, other in parts))]
    raise NotImplementedError(f"no bounds of {name} of complex values{tracer.where}")


MAKES_COMPLEX = frozenset("fft convert_element_type complex add sub mul".split())
MOVING = frozenset(
    "slice squeeze expand_dims transpose broadcast_in_dim reshape neg reduce_sum rev copy stop_gradient pad gather".split()
)


def _arithmetic(tracer, name, left, right):
    pairs = [_parts(o) for o in (left, right)]
    if name in ("add", "sub"):
        function = lax.add if name == "add" else lax.sub
        return Complex(*(tracer.inline(function, a, b)[0] for a, b in zip(*pairs, strict=True)))
    (a, b), (c, d) = pairs
    real = tracer.inline(lambda a, b, c, d: a * c - b * d, a, b, c, d)[0]
    return Complex(real, tracer.inline(lambda a, b, c, d: a * d + b * c, a, b, c, d)[0])


def _parts(x):
    return (x.real, x.imaginary) if isinstance(x, Complex) else (jnp.real(x), jnp.imag(x))


RULES = {"fft": fourier}
