"""Randomised smoothing: closed forms on linear models, exact counts, and draws that depend on the example alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy import stats

from dsrna_jax.attacks.keys import example_keys
from dsrna_jax.evaluation.certify.smoothing import ABSTAINED, certificate, class_counts, lower_share

RANDOM = np.random.default_rng(0)
W = np.float32(RANDOM.normal(size=(6, 2)))
X = np.float32(RANDOM.uniform(0, 1, (16, 6)))
KEYS = example_keys(jax.random.key(0), 16)


def affine(weights, x):
    return x @ weights


LINEAR = Partial(affine, jnp.asarray(W))
DISTANCE = np.abs(X @ (W[:, 0] - W[:, 1]).astype(float)) / np.linalg.norm(W[:, 0] - W[:, 1])


def counts(samples, first=0, x=X, keys=KEYS, sigma=0.5, chunk=256):
    return class_counts(LINEAR, x, keys, sigma=sigma, first=first, samples=samples, chunk=chunk)


def test_a_linear_model_is_certified_up_to_its_distance():
    """Smoothing does not change a linear classifier: the radius of g is the distance of f, and the certificate lies below."""
    smoothed = certificate(counts(100), counts(20_000, first=100), sigma=0.5, alpha=0.001)
    decided = smoothed.classes != ABSTAINED
    np.testing.assert_array_equal(smoothed.classes[decided], (X @ W).argmax(1)[decided])
    assert (smoothed.radius <= DISTANCE).all()
    clear = (DISTANCE > 0.1) & (DISTANCE < 1)
    assert clear.sum() > 4
    np.testing.assert_allclose(smoothed.radius[clear], DISTANCE[clear], atol=0.05)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16], ids=lambda dtype: dtype.__name__)
def test_no_radius_exceeds_the_distance_of_a_linear_model_in_any_precision(dtype):
    """The boundary lies 3 sigma away. Of standard normal draws of bfloat16 none is as far."""

    def far(x):
        return jnp.stack([jnp.zeros(len(x)), x[:, 0].astype(jnp.float32) - 1.25], 1)

    images, keys = jnp.full((1, 2), 0.5, dtype), example_keys(jax.random.key(0), 1)
    first, drawn = (
        class_counts(far, images, keys, sigma=0.25, first=f, samples=n, chunk=2000) for f, n in ((0, 100), (100, 20_000))
    )
    radius = certificate(first, drawn, sigma=0.25, alpha=0.001).radius
    assert 0.7 < radius <= 0.75


def test_the_radius_of_unanimous_draws_is_exact():
    won = np.array([[0, 1000]])
    smoothed = certificate(won, won, sigma=0.25, alpha=0.001)
    np.testing.assert_allclose(smoothed.radius, 0.25 * stats.norm.ppf(0.001 ** (1 / 1000)), rtol=1e-9)
    assert smoothed.classes == [1]


def test_the_largest_radius_is_that_of_the_paper():
    won = np.array([[100_000, 0]])
    assert certificate(won, won, sigma=1.0, alpha=0.001).radius[0] == pytest.approx(3.8, abs=0.02)


def test_few_and_close_draws_abstain():
    nine, close = np.array([[9, 0]]), np.array([[505, 495]])
    assert certificate(nine, nine, sigma=0.25, alpha=0.001) == (ABSTAINED, 0)
    assert certificate(close, close, sigma=0.25, alpha=0.001) == (ABSTAINED, 0)
    ten = np.array([[10, 0]])
    assert certificate(ten, ten, sigma=0.25, alpha=0.001).classes == [0]


def test_the_class_is_chosen_by_the_first_draws_alone():
    smoothed = certificate(np.array([[10, 90]]), np.array([[990, 10]]), sigma=0.25, alpha=0.001)
    assert smoothed == (ABSTAINED, 0)


def test_the_lower_confidence_bound_is_exact():
    """At the bound itself, `alpha` is the probability of as many successes as were seen, or more."""
    successes, trials = np.array([1, 30, 77, 100]), np.full(4, 100)
    shares = lower_share(successes, trials, 0.01)
    np.testing.assert_allclose(stats.binom.sf(successes - 1, trials, shares), 0.01, rtol=1e-6)
    assert lower_share(np.array([0]), np.array([100]), 0.01) == [0]


def test_counts_add_up_and_depend_on_the_example_alone():
    every = counts(700)
    assert every.shape == (16, 2) and (every.sum(1) == 700).all()
    np.testing.assert_array_equal(every, counts(700, chunk=64))
    np.testing.assert_array_equal(every, counts(300) + counts(400, first=300))
    order = RANDOM.permutation(16)[:5]
    np.testing.assert_array_equal(every[order], counts(700, x=X[order], keys=KEYS[order]))
    assert (counts(700, first=700) != every).any()


def test_without_noise_the_network_itself_is_counted():
    np.testing.assert_array_equal(counts(50, sigma=1e-9).argmax(1), (X @ W).argmax(1))


def test_counting_can_stop_between_two_chunks():
    calls = []

    def pause():
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        class_counts(LINEAR, X, KEYS, sigma=0.5, first=0, samples=1000, chunk=100, pause=pause)
    assert len(calls) == 2
