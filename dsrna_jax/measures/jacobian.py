"""Norm of df/dx for each example, exact or estimated without bias; and R of DSRNA-Jacobian, minus the mean norm of its rows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrna_jax.data_parallel import device_count, example_numbers
from dsrna_jax.errors import InputError
from dsrna_jax.inputs import check_counts, checked_key
from dsrna_jax.measures import ESTIMABLE
from dsrna_jax.measures.measure import Measure, Measured, without_slack
from dsrna_jax.measures.units import UNITS, in_unit


def jacobian_norm(
    f: Callable[[Float[Array, "batch *shape"]], Float[Array, "batch outputs"]],
    x: Float[Array, "batch *shape"],
    key: PRNGKeyArray | None = None,
    *,
    norm: str = "row_l2",
    method: str = "rows",
    n_proj: int = 1,
) -> Float[Array, " batch"]:
    """Norm of the Jacobian J = df/dx of each example.

    Norms, with J_k the gradient of output k (a logit, in a classifier) with respect to one example:
      row_l2: sum_k ||J_k||_2, the quantity of DSRNA Eq. (15) for l2 attacks. (The paper calls it the Frobenius norm,
        which it is not: ||J||_F <= row_l2 <= sqrt(K) ||J||_F for K outputs.)
      row_l1: sum_k ||J_k||_1, Eq. (15) for l_inf attacks.
      fro, fro_squared: ||J||_F and its square.

    Methods; each random one is unbiased for its norms, for every example by itself:
      exact: all norms, from K backward passes, one after the other so that memory does not grow with K.
      rows: row_l2, row_l1, fro_squared, from `n_proj` backward passes. Every example draws `n_proj` different rows, which
        are spread evenly over the batch; `n_proj` = K is exact. The least variance while rows are alike, as those
        of logits are; those of probabilities are not.
      jvp: row_l2, fro_squared, from `n_proj` forward passes along Gaussian directions u: (Ju)_k is normal with standard
        deviation ||J_k||_2. `f` must not contain `jax.custom_vjp`, which JAX cannot differentiate forwards.
      sphere: fro_squared, from `n_proj` backward passes of random unit vectors of outputs (Hoffman et al. 2019, arXiv:1908.02729;
        theirs is half the mean of this).
    No projection gives `fro` without bias: the root of an estimate of fro_squared is too small on average.

    Args:
      f: maps [batch, ...] to [batch, outputs], each example by itself: batch statistics must be frozen. The norm can be
        differentiated by arrays that f closes over; gradients are finite, and zero for a zero Jacobian.
      x: [batch, ...], floating point; images in pixel units [0, 1].
      key: random key, needed by every method except `exact`, which ignores it. Draws of example i depend on (key, i).
      norm: one of the norms above.
      method: one of the methods above.
      n_proj: number of projections, at most K for `rows`; ignored by `exact`.

    Returns: [batch], >= 0, per unit of x; at least float32. NaN for examples of which x is not finite, or f(x) or J, as it is
      computed, holds NaN; for all if an array that f closes over does, also where f hides it by a `where`. Only `fro_squared`
      leaves the range of float32 before J does: below 1e-19 and above 1e19 it is 0 or infinite.
    Raises: InputError if `method` cannot give `norm` (the message lists the pairs that go together), a key is missing,
      `n_proj` is out of range, or the shape or type of x or of f(x) is not as above.
    """
    norms = value_and_jacobian_norm(f, x, key, norm=norm, method=method, n_proj=n_proj)[1]
    return jnp.where(_closes_over_nan(f, jnp.asarray(x)), jnp.nan, norms)


def value_and_jacobian_norm(
    f: Callable[[Float[Array, "batch *shape"]], Float[Array, "batch outputs"]],
    x: Float[Array, "batch *shape"],
    key: PRNGKeyArray | None = None,
    *,
    norm: str = "row_l2",
    method: str = "rows",
    n_proj: int = 1,
) -> tuple[Float[Array, "batch outputs"], Float[Array, " batch"]]:
    """`f(x)` and `jacobian_norm(f, x)` from one forward pass. Arguments, and Raises, as there.

    NaN that f closes over and hides is not looked for.
    """
    check_estimable(norm, method)
    x = jnp.asarray(x)
    if x.ndim < 1 or not len(x) or not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(
            f"x must be floating point [batch, ...], one example or more, got {x.dtype} {x.shape}; scale pixels to [0, 1]"
        )
    if method != "exact" and key is None:
        raise InputError(f"method {method!r} draws at random: pass key=jax.random.key(0), or use method='exact'")
    key = None if method == "exact" else checked_key(key, is_single=True)
    if method != "exact":
        check_counts(n_proj=n_proj)
        n_proj = int(n_proj)

    outputs, linear = jax.linearize(f, x) if method == "jvp" else jax.vjp(f, x)
    if not isinstance(outputs, jax.Array) or outputs.ndim != 2 or outputs.shape[0] != len(x) or outputs.shape[1] == 0:
        got = jax.tree.map(jnp.shape, outputs)
        raise InputError(f"f must map x {x.shape} to ({len(x)}, outputs), one row for each example, got {got}")
    if not jnp.issubdtype(outputs.dtype, jnp.floating):  # whole numbers and truth values have a Jacobian of 0
        raise InputError(f"f must return floating-point numbers, got {outputs.dtype}: take logits, or real and imaginary parts")
    rows = outputs.shape[1]
    if method == "rows" and n_proj > rows:
        raise InputError(f"n_proj must be at most the {rows} outputs that f has for method 'rows', got {n_proj}")

    if method == "jvp":
        # The standard deviation of a centred normal variable is sqrt(pi / 2) times its mean absolute value.
        size, weight = {"row_l2": (_l1, (jnp.pi / 2) ** 0.5), "fro_squared": (_sum_of_squares, 1.0)}[norm]
        total = _each(lambda j: size(linear(_normal(key, j, x))), n_proj).sum(0)
        return outputs, _known(total * (weight / n_proj), x, outputs)

    if method == "exact":
        n_proj = rows
    probe = _output_directions(method, key, outputs, n_proj)
    size = {"row_l1": _l1, "row_l2": _l2, "fro": _l2, "fro_squared": _sum_of_squares}[norm]
    sizes = _each(lambda j: size(*linear(probe(j))), n_proj)
    return outputs, _known(_l2(sizes.T) if norm == "fro" else sizes.sum(0) * (rows / n_proj), x, outputs)


def check_estimable(norm: str, method: str) -> None:
    """Raises: InputError unless `method` computes `norm`, or estimates it without bias."""
    if norm not in ESTIMABLE.get(method, ()):
        pairs = "; ".join(f"{name}: {', '.join(norms)}" for name, norms in ESTIMABLE.items())
        raise InputError(f"method {method!r} cannot estimate norm {norm!r}; methods and their norms are {pairs}")


def _each(term: Callable[[Array | int], Array], count: int) -> Array:
    """term(0) ... term(count - 1), stacked, with the memory of one term in the forward and in the backward pass.

    A `vmap` would hold the intermediate values of all terms. (Inside a loop, `checkpoint` is safe without `prevent_cse`, and
    faster.)
    """
    if count == 1:
        return term(0)[None]
    return jax.lax.map(jax.checkpoint(term, prevent_cse=False), jnp.arange(count))


def _l1(values: Float[Array, " batch *shape"]) -> Float[Array, " batch"]:
    """Sum of the absolute values of each example, at least in float32."""
    return jnp.abs(_at_least_single(values)).sum(tuple(range(1, values.ndim)))


def _sum_of_squares(values: Float[Array, " batch *shape"]) -> Float[Array, " batch"]:
    """Sum of squares of each example, at least in float32."""
    return jnp.square(_at_least_single(values)).sum(tuple(range(1, values.ndim)))


def _l2(values: Float[Array, " batch *shape"]) -> Float[Array, " batch"]:
    """Euclidean norm of the values of each example, at least in float32.

    Squares may leave the range: values are divided by a power of two beside the greatest first, which rounds nothing.
    """
    values = _at_least_single(values)
    limits = jnp.finfo(values.dtype)
    greatest = jnp.max(jnp.abs(values), tuple(range(1, values.ndim)), initial=0)
    scale = jax.lax.stop_gradient(jnp.clip(greatest, limits.tiny, 1 / limits.tiny))
    scale = jax.lax.reduce_precision(scale, limits.nexp, 0)
    return scale * _root(_sum_of_squares(values / jax.lax.expand_dims(scale, range(1, values.ndim))))


def _at_least_single(values: Array) -> Array:
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def _root(squares: Array) -> Array:
    """Square root, with gradient 0 instead of infinity at 0; NaN of NaN."""
    is_zero = squares == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, squares)))


def _known(norms: Float[Array, " batch"], x: Array, outputs: Array) -> Float[Array, " batch"]:
    """The norms, NaN where x is not finite or an output is NaN: operations such as tanh and relu have derivative 0 there."""
    is_unknown = ~jnp.isfinite(x).all(tuple(range(1, x.ndim))) | jnp.isnan(outputs).any(1)
    return jnp.where(is_unknown, jnp.nan, norms)


def _closes_over_nan(f: Callable[[Array], Array], x: Array) -> Array:
    """Whether an array that f closes over holds NaN: []."""
    arrays = [jnp.asarray(c) for c in _constants(jax.make_jaxpr(f)(x)) if jnp.issubdtype(c.dtype, jnp.floating)]
    return jnp.array([False, *(jnp.isnan(array).any() for array in arrays)]).any()


def _constants(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> list[Any]:
    """The constants of a jaxpr and of all jaxprs inside of it."""
    own, equations = (jaxpr.consts, jaxpr.jaxpr.eqns) if isinstance(jaxpr, core.ClosedJaxpr) else ([], jaxpr.eqns)
    inside = [p for p in jax.tree.leaves([e.params for e in equations]) if isinstance(p, core.ClosedJaxpr | core.Jaxpr)]
    return [*own, *(constant for each in inside for constant in _constants(each))]


def _output_directions(method: str, key, outputs: Array, n_proj: int) -> Callable[[Array | int], Array]:
    """j -> [batch, outputs], for j = 0 ... n_proj - 1: the vectors that are pulled back."""
    batch, count = outputs.shape
    if method == "sphere":
        return lambda j: _unit(_normal(key, j, outputs))
    if method == "exact":
        rows = jnp.broadcast_to(jnp.arange(count), (batch, count))
    else:
        rows = _stratified_rows(key, batch, count, n_proj)
    return lambda j: jax.nn.one_hot(rows[:, j], count, dtype=outputs.dtype)


def _stratified_rows(key: PRNGKeyArray, batch: int, outputs: int, n_proj: int) -> Int[Array, "batch n_proj"]:
    """Indices of rows: different within an example, and each row equally often in `outputs` consecutive examples.

    Each such group of examples takes `n_proj` times the rows in one random order.
    """
    example = example_numbers(batch)[:, None]
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(-(-batch * device_count() // outputs)))
    decks = jax.vmap(lambda k: jax.random.permutation(k, outputs))(keys)
    return decks[example // outputs, (example * n_proj + jnp.arange(n_proj)[None]) % outputs]


def _normal(key: Any, draw: Array | int, like: Array) -> Array:
    """Standard normal values, shaped like [batch, ...]; those of example i depend on key, draw and i alone."""
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.fold_in(key, draw)))(example_numbers(len(like)))
    wide = jnp.promote_types(like.dtype, jnp.float32)  # draws of 16 bits take few values
    return jax.vmap(lambda k: jax.random.normal(k, like.shape[1:], wide))(keys).astype(like.dtype)


def _unit(vectors: Array) -> Array:
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)


# ---- the measure


def robustness(
    logits_fn: Callable[[Float[Array, "batch *image"]], Float[Array, "batch classes"]],
    images: Float[Array, "batch *image"],
    labels: Int[Array, " batch"] | None = None,
    key: PRNGKeyArray | None = None,
    *,
    norm: str = "row_l2",
    method: str = "rows",
    n_proj: int = 1,
    unit: str = "one",
    log_radius: Float[Array, ""] | None = None,
) -> Measured:
    """R = -(1/K) sum_k ||J_k||_q: minus the Jacobian norm bound of DSRNA Eq. (15), for delta = 1.

    `row_l2` is q = 2, against l2 attacks; `row_l1` is q = 1, against l_inf ones; `fro` and `fro_squared` are divided by K too.
    Per pixel unit: the scale depends on the norm (`row_l1` is about sqrt(2 D / pi) times `row_l2` for normally distributed
    gradients of D inputs), and gamma with it. Options as in `jacobian_norm`; the radius is ignored.

    With a `unit` other than "one", R_i = -(1/K) sum_k ||J_k||_q / unit_i (`measures.units`): how far, to first order, a change of
    length 1 of the image moves its logits, in mean clean margins or in standard deviations of its logits. Labels are used by
    `margin` alone.
    """
    logits, norms = value_and_jacobian_norm(logits_fn, images, key, norm=norm, method=method, n_proj=n_proj)
    return without_slack(logits, -norms / logits.shape[1] / UNITS[unit](logits, labels))


def measure(config: Any) -> Measure:
    """The measure of a configuration's `jacobian_norm`, `jacobian_method`, `n_proj` and `metric_unit`.

    Raises: InputError if that method cannot estimate that norm.
    """
    norm, method = config.jacobian_norm, config.jacobian_method
    check_estimable(norm, method)
    options = {"norm": norm, "method": method, "n_proj": config.n_proj, "unit": config.metric_unit}
    return Measure(partial(robustness, **options), label=f"R {norm}{in_unit(config.metric_unit)}")
