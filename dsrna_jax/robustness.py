"""Robustness measures R (DSRNA Eq. 16): one shape for all, differentiable, higher is more robust."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from dsrna_jax.errors import InputError
from dsrna_jax.jacobian import check_estimable, logits_and_jacobian_norm

Measure = Callable[[Callable[[Array], Array], Array, Array, Array | None], tuple[Array, Array]]
"""(logits_fn, images, labels, key) -> (logits [batch, classes], R [batch]), both from one forward pass.

`logits_fn` maps images [batch, ...] in [0, 1] to logits, each image by itself. Gradients with respect to what it closes
over (alphas, weights) flow through both results. A measure ignores what it does not need of labels and key.
"""


def none() -> Measure:
    """R = 0: plain architecture search."""

    def zero(logits_fn, images, labels, key):
        logits = logits_fn(images)
        return logits, jnp.zeros(len(logits), jnp.promote_types(logits.dtype, jnp.float32))

    return zero


def jacobian(norm: str = "row_l2", method: str = "rows", n_proj: int = 1) -> Measure:
    """R = -(1/K) sum_k ||J_k||_q: minus the Jacobian norm bound of DSRNA Eq. (15), for delta = 1.

    `row_l2` is q = 2, against l2 attacks; `l1` is q = 1, against l_inf ones; `fro` and `fro2` are divided by K too.
    In pixel units, so the scale depends on the norm (for D inputs `l1` is about sqrt(2 D / pi) times `row_l2`), and
    gamma must follow. Options as in `jacobian_norm`; InputError at once if `method` cannot estimate `norm`.
    """
    check_estimable(norm, method)

    def minus_mean_row_norm(logits_fn, images, labels, key):
        logits, norms = logits_and_jacobian_norm(logits_fn, images, key, norm=norm, method=method, n_proj=n_proj)
        return logits, -norms / logits.shape[1]

    return minus_mean_row_norm


MEASURES = {"none": none, "jacobian": jacobian}


def measure(name: str, **options) -> Measure:
    """The measure of that name, built with its own options; InputError for a name that is not in `MEASURES`."""
    if name not in MEASURES:
        raise InputError(f"unknown robustness measure {name!r}; expected one of {', '.join(MEASURES)}")
    return MEASURES[name](**options)
