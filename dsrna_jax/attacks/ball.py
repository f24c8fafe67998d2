"""The set that an attack searches: a ball around each image, intersected with the box [0, 1] of pixels."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Key, Shaped

from dsrna_jax.errors import InputError
from dsrna_jax.kernels.reductions import max_over

ATTACK_NORMS = ("linf", "l2")


def check_norm(norm: str, norms: tuple[str, ...] = ATTACK_NORMS) -> None:
    """Raises: InputError unless `norm` is one of `norms`."""
    if norm not in norms:
        raise InputError(f"norm {norm!r}: expected {' or '.join(map(repr, norms))}")


def per_example(values: ArrayLike, images: Float[Array, "batch *image"]) -> Array:
    """A number, or [batch], reshaped so that it broadcasts with images [batch, ...]."""
    return _column(jnp.asarray(values, images.dtype), images)


def pick(
    mask: Bool[Array, " batch"], first: Shaped[Array, "batch *values"], second: Shaped[Array, "batch *values"]
) -> Shaped[Array, "batch *values"]:
    """`first` for the examples where the mask holds, `second` elsewhere."""
    return jnp.where(_column(mask, first), first, second)


def _column(values, images):
    return values.reshape(values.shape + (1,) * (images.ndim - 1)) if values.ndim else values


def size(delta: Float[Array, "batch *image"], norm: str) -> Float[Array, " batch"]:
    """The norm of each example's perturbation."""
    flat = delta.reshape(len(delta), -1)
    return max_over(jnp.abs(flat), 1) if norm == "linf" else jnp.sqrt(jnp.square(flat).sum(1))


def unit(delta: Float[Array, "batch *image"], norm: str) -> Float[Array, "batch *image"]:
    """Each example's perturbation scaled to norm 1, however small or large; zero stays zero."""
    largest = per_example(size(delta, "linf"), delta)
    delta = jnp.where(largest > 0, delta / jnp.where(largest > 0, largest, 1), 0)
    return delta if norm == "linf" else delta / per_example(jnp.maximum(size(delta, norm), 1), delta)


def ascent(gradient: Float[Array, "batch *image"], norm: str) -> Float[Array, "batch *image"]:
    """Direction of steepest ascent: the perturbation of norm 1 that raises a linear function of this gradient most."""
    return jnp.sign(gradient) if norm == "linf" else unit(gradient, norm)


def project(
    points: Float[Array, "batch *image"], images: Float[Array, "batch *image"], radius: ArrayLike, norm: str
) -> Float[Array, "batch *image"]:
    """`points` projected onto the ball around the images, then onto the box.

    Images are in the box, so that the second projection only shrinks perturbations, and the result is in both sets. For linf it
    is the nearest point of both; for l2 it need not be.
    """
    radius = per_example(radius, images)
    if norm == "linf":
        points = jnp.clip(points, images - radius, images + radius)
    else:
        delta = points - images
        points = images + unit(delta, norm) * jnp.minimum(radius, per_example(size(delta, norm), images))
    return jnp.clip(points, 0, 1)


def begun_at(
    x_init: ArrayLike | None, restart: ArrayLike, start: Float[Array, "batch *image"], images: Array, radius: ArrayLike, norm: str
) -> Float[Array, "batch *image"]:
    """The points at which a run begins: `start`, but for the first run `x_init`, projected, if it is given."""
    if x_init is None:
        return start
    return jnp.where(restart == 0, project(jnp.asarray(x_init, images.dtype), images, radius, norm), start)


def normal(keys: Key[Array, " batch"], like: Float[Array, "batch *image"]) -> Float[Array, "batch *image"]:
    """Standard normal values; those of an example depend on its key alone."""
    return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:], like.dtype))(keys)


def uniform(
    keys: Key[Array, " batch"], images: Float[Array, "batch *image"], radius: ArrayLike, norm: str
) -> Float[Array, "batch *image"]:
    """Points drawn uniformly from the ball around the images, projected onto the box."""
    if norm == "linf":
        draws = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:], images.dtype, minval=-1))(keys)
    else:
        radii = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1), (), images.dtype))(keys)
        draws = unit(normal(keys, images), norm) * per_example(radii ** (1 / images[0].size), images)
    return project(images + per_example(radius, images) * draws, images, radius, norm)


def on_sphere(
    keys: Key[Array, " batch"], images: Float[Array, "batch *image"], radius: ArrayLike, norm: str
) -> Float[Array, "batch *image"]:
    """Points at distance `radius` from the images, projected onto the box, as AutoAttack draws them.

    Directions are draws from the cube [-1, 1] for linf, and from the standard normal distribution for l2, scaled to norm 1.
    """
    if norm == "linf":
        draws = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:], images.dtype, minval=-1))(keys)
    else:
        draws = normal(keys, images)
    return jnp.clip(images + per_example(radius, images) * unit(draws, norm), 0, 1)
