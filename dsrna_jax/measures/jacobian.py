"""The size of df/dx for each example: exact, or estimated from random projections."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from dsrna_jax.errors import InputError

ESTIMABLE = {
    "exact": ("row_l2", "row_l1", "fro", "fro_squared"),
    "rows": ("row_l2", "row_l1", "fro_squared"),
    "jvp": ("row_l2", "fro_squared"),
    "sphere": ("fro_squared",),
}
"""For each method, the norms that it computes (exact) or estimates without bias (the others)."""


def jacobian_norm(
    f: Callable[[Array], Array],
    x: Array,
    key: Array | None = None,
    *,
    norm: str = "row_l2",
    method: str = "rows",
    n_proj: int = 1,
) -> Array:
    """Norm of the Jacobian J = df/dx of each example.

    Norms, with J_k the gradient of logit k with respect to one example:
      row_l2: sum_k ||J_k||_2, the quantity of DSRNA Eq. (15) for l2 attacks. (The paper calls it the Frobenius norm,
        which it is not: ||J||_F <= row_l2 <= sqrt(K) ||J||_F for K classes.)
      row_l1: sum_k ||J_k||_1, Eq. (15) for l_inf attacks.
      fro, fro_squared: ||J||_F and its square.

    Methods; each random one is unbiased for the norms it is listed with, for every example by itself:
      exact: all norms, from K backward passes, one after the other so that memory does not grow with K.
      rows: row_l2, row_l1, fro_squared, from `n_proj` backward passes. Every example draws `n_proj` different class rows, which
        are spread evenly over the batch; `n_proj` = K is exact. The least variance while rows are alike, as those
        of logits are; those of probabilities are not.
      jvp: row_l2, fro_squared, from `n_proj` forward passes along Gaussian directions u: (Ju)_k is normal with deviation
        ||J_k||_2. `f` must not contain `jax.custom_vjp`, which JAX cannot differentiate forwards.
      sphere: fro_squared, from `n_proj` backward passes of unit vectors of logits (Hoffman et al. 2019, arXiv:1908.02729;
        theirs is half the mean of this).
    No projection gives `fro` without bias: the root of an estimate of fro_squared is too small on average.

    Args:
      f: maps [batch, ...] to logits [batch, classes], each example by itself: batch statistics must be frozen. What it
        closes over may be differentiated; gradients are finite, those of a zero Jacobian zero.
      x: [batch, ...], floating point; images in pixel units [0, 1].
      key: random key, needed by every method but `exact`, which ignores it. What example i draws depends on (key, i).
      norm: one of the norms above.
      method: one of the methods above.
      n_proj: number of projections, at most K for `rows`; ignored by `exact`.

    Returns: [batch], >= 0, per unit of x; at least float32.
    Raises: InputError if `method` cannot give `norm` (the message lists what it can), a key is missing, `n_proj` is out
      of range, or the shape or type of x or of the logits is not as above.
    """
    return logits_and_jacobian_norm(f, x, key, norm=norm, method=method, n_proj=n_proj)[1]


def logits_and_jacobian_norm(
    f: Callable[[Array], Array],
    x: Array,
    key: Array | None = None,
    *,
    norm: str = "row_l2",
    method: str = "rows",
    n_proj: int = 1,
) -> tuple[Array, Array]:
    """`f(x)` [batch, classes] and `jacobian_norm` [batch] from one forward pass; arguments as there."""
    check_estimable(norm, method)
    x = jnp.asarray(x)
    if x.ndim < 1 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(f"x must be floating point [batch, ...], got {x.dtype} {x.shape}; scale pixels to [0, 1]")
    if method != "exact" and key is None:
        raise InputError(f"method {method!r} draws at random: pass key=jax.random.key(0), or use method='exact'")
    if method != "exact" and n_proj < 1:
        raise InputError(f"n_proj must be at least 1, got {n_proj}")

    logits, linear = jax.linearize(f, x) if method == "jvp" else jax.vjp(f, x)
    if not isinstance(logits, Array) or logits.ndim != 2 or logits.shape[0] != len(x):
        got = jax.tree.map(jnp.shape, logits)
        raise InputError(f"f must map x {x.shape} to logits ({len(x)}, classes), one row for each example, got {got}")
    batch, classes = logits.shape
    if method == "rows" and n_proj > classes:
        raise InputError(f"n_proj must be at most the {classes} classes that f has for method 'rows', got {n_proj}")

    if method == "jvp":
        # The deviation of a centred normal variable is sqrt(pi / 2) times its mean absolute value.
        size, weight = {"row_l2": ("row_l1", (jnp.pi / 2) ** 0.5), "fro_squared": ("fro_squared", 1.0)}[norm]
        total = _total(lambda j: _size(size, linear(_normal(key, j, x))), n_proj)
        return logits, total * (weight / n_proj)

    if method == "exact":
        n_proj = classes
    probe = _output_directions(method, key, logits, n_proj)
    total = _total(lambda j: _size(norm, *linear(probe(j))), n_proj) * (classes / n_proj)
    return logits, _root(total) if norm == "fro" else total


def check_estimable(norm: str, method: str) -> None:
    """Raises InputError unless `method` computes `norm`, or estimates it without bias."""
    if norm not in ESTIMABLE.get(method, ()):
        pairs = "; ".join(f"{name}: {', '.join(norms)}" for name, norms in ESTIMABLE.items())
        raise InputError(f"norm {norm!r} cannot be had by method {method!r}; methods and their norms are {pairs}")


def _total(term: Callable[[Array | int], Array], count: int) -> Array:
    """term(0) + ... + term(count - 1), holding what one term needs: in the forward pass and when differentiated.

    Against `vmap`, the gradient of ten terms of a small convolutional net took under half the time and an eighth of the
    memory on a CPU. (Inside a loop, `checkpoint` is safe without `prevent_cse`, and faster.)
    """
    if count == 1:
        return term(0)
    return jax.lax.map(jax.checkpoint(term, prevent_cse=False), jnp.arange(count)).sum(0)


def _size(norm: str, values: Array) -> Array:
    """[batch, ...] -> [batch]: the l1 or l2 norm of each example's values, or (fro, fro_squared) the sum of their squares."""
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    inner = tuple(range(1, values.ndim))
    if norm == "row_l1":
        return jnp.abs(values).sum(inner)
    squares = jnp.square(values).sum(inner)
    return _root(squares) if norm == "row_l2" else squares


def _root(squares: Array) -> Array:
    """Square root, with gradient 0 instead of infinity at 0."""
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1)), 0)


def _output_directions(method: str, key: Array | None, logits: Array, n_proj: int) -> Callable[[Array | int], Array]:
    """j -> [batch, classes], j = 0 ... n_proj - 1: one vector of logits for each example."""
    batch, classes = logits.shape
    if method == "sphere":
        return lambda j: _unit(_normal(key, j, logits))
    if method == "exact":
        rows = jnp.broadcast_to(jnp.arange(classes), (batch, classes))
    else:
        rows = _stratified_rows(key, batch, classes, n_proj)
    return lambda j: jax.nn.one_hot(rows[:, j], classes, dtype=logits.dtype)


def _stratified_rows(key: Array, batch: int, classes: int, n_proj: int) -> Array:
    """[batch, n_proj] class numbers: different within an example, each class equally often in `classes` examples.

    Every `classes` consecutive examples deal out `n_proj` rounds of a shuffled deck of classes of their own.
    """
    example = jnp.arange(batch)[:, None]
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(-(-batch // classes)))
    decks = jax.vmap(lambda k: jax.random.permutation(k, classes))(keys)
    return decks[example // classes, (example * n_proj + jnp.arange(n_proj)[None]) % classes]


def _normal(key: Array, draw: Array | int, like: Array) -> Array:
    """Standard normal values, shaped like [batch, ...]; those of example i depend on key, draw and i alone."""
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.fold_in(key, draw)))(jnp.arange(len(like)))
    return jax.vmap(lambda k: jax.random.normal(k, like.shape[1:], like.dtype))(keys)


def _unit(vectors: Array) -> Array:
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)
