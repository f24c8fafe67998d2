"""The curvature of the validation loss in the alphas: the dominant eigenvalue of its Hessian, whose rise goes before a collapse.

Zela et al. 2020 (arXiv:1909.09656, section 4). The Hessian is that of the loss alone, without R and without decay of the alphas.
The published code adds a decay to the diagonal, which adds the same number to every eigenvalue.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import eigh_tridiagonal
from jaxtyping import Array, Float, PRNGKeyArray

from dsrna_jax.data_parallel import batch_mean
from dsrna_jax.runtime.microbatches import Averaged, mean_derivative

STEPS = 10  # of Lanczos: the eigenvalue of a supernet is then exact to a thousandth

Vector = Float[Array, " size"]


def dominant_eigenvalue(loss: Callable | Averaged, point, key: PRNGKeyArray, steps: int = STEPS) -> Float[Array, ""]:
    """The largest eigenvalue of the Hessian of `loss` at `point`: an estimate that never exceeds it, exact at full `steps`.

    Args:
      loss: tree -> scalar, the mean over the examples of a device (`data_parallel`), or over parts of a batch.
      point: tree of arrays.
      key: of the direction at which Lanczos starts.
      steps: of Lanczos, each a product with the Hessian; the number of entries of `point` makes the estimate exact.
    """
    flat, tree_of = ravel_pytree(point)

    def product(direction):
        derivative = lambda f: jax.jvp(jax.grad(f), (point,), (tree_of(direction),))[1]  # noqa: E731
        return ravel_pytree(batch_mean(mean_derivative(loss, derivative)))[0]

    diagonal, beside = tridiagonal(product, jax.random.normal(key, (min(steps, flat.size), flat.size), flat.dtype))
    last = len(diagonal) - 1
    return eigh_tridiagonal(diagonal, beside, eigvals_only=True, select="i", select_range=(last, last))[0]


def tridiagonal(
    product: Callable[[Vector], Vector], directions: Float[Array, "step size"]
) -> tuple[Float[Array, " step"], Float[Array, " beside"]]:
    """The matrix [step, step] of a symmetric map in the basis that Lanczos finds: its diagonal, and what stands beside it.

    Each new vector is made orthogonal to all before it. Where the map leads no further, the next of `directions` takes its place.

    Args:
      product: the map; it is traced once.
      directions: random vectors, the first of which begins; at most as many as they have entries.
    """
    smallest = 10 * jnp.finfo(directions.dtype).eps

    def orthogonal(vector, basis):
        """The part of `vector` that is orthogonal to the rows of `basis`; twice, since once leaves some by rounding."""
        for _ in range(2):
            vector = vector - (basis @ vector) @ basis
        return vector

    def step(basis, number_and_direction):
        number, direction = number_and_direction
        image = product(basis[number])
        rest = orthogonal(image, basis)
        is_over = jnp.linalg.norm(rest) <= smallest * jnp.linalg.norm(image)
        following = orthogonal(_unit(jnp.where(is_over, orthogonal(direction, basis), rest)), basis)
        row = (basis[number] @ image, jnp.where(is_over, 0, jnp.linalg.norm(rest)))
        return basis.at[number + 1].set(_unit(following), mode="drop"), row

    basis = jnp.zeros_like(directions).at[0].set(_unit(directions[0]))
    following = jnp.roll(directions, -1, axis=0)
    _, (diagonal, beside) = jax.lax.scan(step, basis, (jnp.arange(len(directions)), following))
    return diagonal, beside[:-1]


def _unit(vector: Vector) -> Vector:
    return vector / jnp.linalg.norm(vector)
