"""The set that an attack searches: a ball around each image, cut by the box [0, 1] of pixels."""

import jax
import jax.numpy as jnp
from jax import Array

from dsrna_jax.errors import InputError

NORMS = ("linf", "l2")


def check_norm(norm: str, norms: tuple[str, ...] = NORMS) -> None:
    """Raises InputError unless `norm` is one of `norms`."""
    if norm not in norms:
        raise InputError(f"norm {norm!r}: expected {' or '.join(map(repr, norms))}")


def per_example(values: Array | float, x: Array) -> Array:
    """A number, or [batch], shaped so that it broadcasts with x [batch, ...]."""
    return _column(jnp.asarray(values, x.dtype), x)


def pick(mask: Array, first: Array, second: Array) -> Array:
    """`first` for the examples where mask [batch] holds, `second` elsewhere."""
    return jnp.where(_column(mask, first), first, second)


def _column(values, x):
    return values.reshape(values.shape + (1,) * (x.ndim - 1)) if values.ndim else values


def size(delta: Array, norm: str) -> Array:
    """[batch]: the norm of each example's perturbation."""
    flat = delta.reshape(len(delta), -1)
    return jnp.abs(flat).max(1) if norm == "linf" else jnp.sqrt(jnp.square(flat).sum(1))


def unit(delta: Array, norm: str) -> Array:
    """Each example's perturbation scaled to size one; zero stays zero."""
    return delta / (per_example(size(delta, norm), delta) + 1e-12)


def ascent(gradient: Array, norm: str) -> Array:
    """The perturbation of size one that raises a linear function of this gradient most."""
    return jnp.sign(gradient) if norm == "linf" else unit(gradient, norm)


def project(points: Array, x: Array, radius: Array | float, norm: str) -> Array:
    """`points` brought back into the ball around x, then into the box.

    x is in the box, so the second step only shrinks perturbations and the result is in both. For linf it is the nearest such
    point; for l2 no iteration is spent on that.
    """
    radius = per_example(radius, x)
    if norm == "linf":
        points = jnp.clip(points, x - radius, x + radius)
    else:
        delta = points - x
        points = x + unit(delta, norm) * jnp.minimum(radius, per_example(size(delta, norm), x))
    return jnp.clip(points, 0, 1)


def normal(keys: Array, like: Array) -> Array:
    """Standard normal values, shaped like [batch, ...]; those of an example depend on its key alone."""
    return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:], like.dtype))(keys)


def uniform(keys: Array, x: Array, radius: Array | float, norm: str) -> Array:
    """Points drawn uniformly from the ball around x, cut to the box."""
    if norm == "linf":
        draws = jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:], x.dtype, minval=-1))(keys)
    else:
        radii = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1), (), x.dtype))(keys)
        draws = unit(normal(keys, x), norm) * per_example(radii ** (1 / x[0].size), x)
    return project(x + per_example(radius, x) * draws, x, radius, norm)


def on_sphere(keys: Array, x: Array, radius: Array | float, norm: str) -> Array:
    """Points at distance `radius` from x, cut to the box, in a direction drawn as in AutoAttack: uniform, or Gaussian for l2."""
    if norm == "linf":
        draws = jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:], x.dtype, minval=-1))(keys)
    else:
        draws = normal(keys, x)
    return jnp.clip(x + per_example(radius, x) * unit(draws, norm), 0, 1)
