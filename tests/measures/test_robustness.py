"""The shape that all robustness measures share, DSRNA-Jacobian by hand, and the options that a configuration gives them."""

import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.errors import InputError
from dsrna_jax.measures import MEASURES, jacobian, none
from dsrna_jax.measures.jacobian import jacobian_norm
from dsrna_jax.measures.measure import configured
from dsrna_jax.search.config import SearchConfig

W = np.array([[3.0, 0.0], [-4.0, 0.0], [0.0, 2.0]], np.float32)  # gradients of length 5 and 2
IMAGES = np.ones((4, 1, 3), np.float32)
LABELS = np.array([0, 1, 1, 0])
LOG_RADIUS = math.log(0.03)


def logits_fn(images, alpha=1.0):
    return alpha * images.reshape(len(images), -1) @ W


@pytest.mark.parametrize("name", sorted(set(MEASURES) - {"certified"}))  # that one needs a network: test_certificates.py
def test_every_measure_has_one_shape(name):
    measure = configured(SearchConfig(metric=name))
    apply = jax.jit(lambda x, y, key, log_radius: measure.apply(logits_fn, x, y, key, log_radius=log_radius))
    measured = apply(IMAGES, LABELS, jax.random.key(0), LOG_RADIUS)
    np.testing.assert_allclose(measured.logits, logits_fn(IMAGES), rtol=1e-6)
    for values in (measured.robustness, measured.slack):
        assert (values.shape, values.dtype) == ((4,), jnp.float32)


@pytest.mark.parametrize(("norm", "by_hand"), [("row_l2", 7 / 2), ("row_l1", 9 / 2), ("fro", 29**0.5 / 2)])
def test_jacobian_is_equation_15(norm, by_hand):
    """-(1/K) times the sum over K classes of the length of each gradient."""
    r = jax.jit(lambda images: jacobian.robustness(logits_fn, images, norm=norm, method="exact").robustness)(IMAGES)
    np.testing.assert_allclose(r, np.full(4, -by_hand), rtol=1e-6)


def test_jacobian_is_minus_the_configured_norm_over_classes():
    key = jax.random.key(3)
    measure = configured(SearchConfig(metric="jacobian", jacobian_norm="row_l1", jacobian_method="rows", n_proj=1))

    @jax.jit
    def both(images, key):
        r = measure.apply(logits_fn, images, LABELS, key, log_radius=LOG_RADIUS).robustness
        return r, -jacobian_norm(logits_fn, images, key, norm="row_l1", method="rows") / 2

    np.testing.assert_allclose(*both(IMAGES, key))


def test_none_is_zero_and_leaves_the_loss_alone():
    def loss(alpha, gamma):
        logits, r, _ = none.zero(lambda x: logits_fn(x, alpha), IMAGES)
        return jnp.sum(logits) - gamma * jnp.sum(r)

    assert not none.zero(logits_fn, IMAGES).robustness.any()
    slope = jax.jit(jax.grad(loss))
    assert slope(1.0, 0.0).item() == slope(1.0, 10.0).item() != 0


def test_smaller_gain_is_more_robust_and_gradients_flow_through_both():
    def both(alpha):
        logits, r, _ = jacobian.robustness(lambda x: logits_fn(x, alpha), IMAGES, LABELS, jax.random.key(1))
        return logits.sum(), r.mean()

    values_and_gradients = jax.jit(lambda alpha: (both(alpha), jax.jacrev(both)(alpha)))
    (logits, r), (by_logits, by_r) = values_and_gradients(2.0)
    assert values_and_gradients(1.0)[0][1] > r
    np.testing.assert_allclose([by_logits, by_r], [logits / 2, r / 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("metric", "label"),
    [("none", "R"), ("jacobian", "R row_l2"), ("certified", "R margin ibp l2")],
)
def test_a_measures_label_names_its_options(metric, label):
    assert configured(SearchConfig(metric=metric, certificate="margin", certificate_norm="l2")).label == label


def test_unknown_name_lists_the_known():
    with pytest.raises(InputError, match="'jacobi'; expected one of none, jacobian"):
        configured(types.SimpleNamespace(metric="jacobi"))


def test_impossible_pair_of_norm_and_method_is_refused_before_any_data():
    with pytest.raises(InputError, match="method 'jvp' cannot estimate norm 'row_l1'"):
        jacobian.measure(types.SimpleNamespace(jacobian_norm="row_l1", jacobian_method="jvp", n_proj=1))
