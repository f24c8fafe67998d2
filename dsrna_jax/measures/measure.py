"""Robustness measures R (DSRNA Eq. 16): one shape for all, differentiable, higher is more robust."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from dsrna_jax.errors import InputError
from dsrna_jax.measures.certificates import CERTIFICATES
from dsrna_jax.measures.jacobian import check_estimable, logits_and_jacobian_norm

Measure = Callable[..., tuple[Array, Array, Array]]
"""(logits_fn, images, labels, key, log_radius=None) -> (logits [batch, classes], R [batch], slack [batch]).

`logits_fn` maps images [batch, ...] in [0, 1] to logits, each image by itself. Gradients with respect to what it closes
over (alphas, weights) flow through logits and R. A measure ignores what it does not need of labels, key and radius. `slack` is
what a radius schedule follows (`certificates`), zero for measures that have no radius.
"""


def none() -> Measure:
    """R = 0: plain architecture search."""

    def zero(logits_fn, images, labels, key, log_radius=None):
        logits = logits_fn(images)
        nothing = jnp.zeros(len(logits), jnp.promote_types(logits.dtype, jnp.float32))
        return logits, nothing, nothing

    return zero


def jacobian(norm: str = "row_l2", method: str = "rows", n_proj: int = 1) -> Measure:
    """R = -(1/K) sum_k ||J_k||_q: minus the Jacobian norm bound of DSRNA Eq. (15), for delta = 1.

    `row_l2` is q = 2, against l2 attacks; `row_l1` is q = 1, against l_inf ones; `fro` and `fro_squared` are divided by K too.
    In pixel units, so the scale depends on the norm (for D inputs `row_l1` is about sqrt(2 D / pi) times `row_l2`), and
    gamma must follow. Options as in `jacobian_norm`; InputError at once if `method` cannot estimate `norm`.
    """
    check_estimable(norm, method)

    def minus_mean_row_norm(logits_fn, images, labels, key, log_radius=None):
        logits, norms = logits_and_jacobian_norm(logits_fn, images, key, norm=norm, method=method, n_proj=n_proj)
        return logits, -norms / logits.shape[1], jnp.zeros_like(norms)

    return minus_mean_row_norm


def certified(certificate: str = "cell", norm: str = "linf", method: str = "ibp", entries: int = 4) -> Measure:
    """R of DSRNA-CB, from bounds over the ball of radius exp(log_radius): one of `certificates.CERTIFICATES`.

    `logits_fn` is a `network.NetworkFunction`, which shows its stages. norm and method as in `bounds`.
    """
    if certificate not in CERTIFICATES:
        raise InputError(f"unknown certificate {certificate!r}; expected one of {', '.join(CERTIFICATES)}")
    return functools.partial(CERTIFICATES[certificate], norm=norm, method=method, entries=entries)


MEASURES = {"none": none, "jacobian": jacobian, "certified": certified}


def measure(name: str, **options) -> Measure:
    """The measure of that name, built with its own options; InputError for a name that is not in `MEASURES`."""
    if name not in MEASURES:
        raise InputError(f"unknown robustness measure {name!r}; expected one of {', '.join(MEASURES)}")
    return MEASURES[name](**options)
