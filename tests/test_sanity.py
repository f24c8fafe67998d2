"""The sanity checks pass an honest network and see through one that hides its gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from small_network import WEIGHTS, X, Y, network

from dsrna_jax.evaluation.attack import sanity

x, y = X[:48], Y[:48]
KEY = jax.random.key(0)


def masked(weights, factor, levels, x):
    """Logits times a factor: the softmax is one-hot, and the gradient of cross-entropy vanishes. Inputs rounded: no gradient."""
    return factor * network(weights, jnp.where(levels > 0, jnp.round(x * levels) / jnp.maximum(levels, 1), x))


def coupled(weights, x):
    """Batch norm in training mode: centred by the batch."""
    return network(weights, x - x.mean(0) + 0.3)


def probable(weights, x):
    return jax.nn.softmax(network(weights, x))


def noisy(weights, x):
    """Dropout left on: what it hits depends on the place in the batch."""
    return network(weights, x * jax.random.bernoulli(jax.random.key(0), 0.8, x.shape))


@functools.cache
def found(factor=1.0, levels=0):
    network_of = Partial(masked, WEIGHTS, np.float32(factor), np.float32(levels))
    checks = list(sanity.checks(network_of, x, y, KEY, radius=0.1, norm="linf", batch_size=48))
    assert len(checks) == sanity.COUNT == len({check.name for check in checks})
    return {check.name: check for check in checks}


def warned(checks):
    return {check.name for check in checks.values() if check.status != "PASS"}


def test_an_honest_network_passes_every_check():
    honest = found()
    assert not warned(honest), honest
    assert honest["normalisation inside"].value == 1 and honest["unbounded"].value == 0
    assert all(check.value is not None and check.says for check in honest.values())


def test_loud_logits_are_seen_through():
    checks = found(factor=100.0)
    assert warned(checks) >= {"zero gradients", "scale of the logits"}, checks
    assert checks["zero gradients"].value > 0.9
    assert "batch neighbours" not in warned(checks)


def test_rounded_inputs_are_seen_through():
    checks = found(levels=16)
    assert warned(checks) >= {"zero gradients", "black box", "unbounded"}, checks
    assert checks["zero gradients"].value == 1 and checks["black box"].value > 0.1


def test_a_surrogate_sees_through_rounded_inputs_and_not_through_an_honest_network():
    honest, rounded = (Partial(masked, WEIGHTS, np.float32(1), np.float32(levels)) for levels in (0, 16))
    options = {"radius": 0.1, "norm": "linf", "batch_size": 48}
    assert sanity.transfer_check(rounded, honest, x, y, KEY, **options).value > 0.1
    assert sanity.transfer_check(honest, rounded, x, y, KEY, **options).status == "PASS"
    *_, last = sanity.checks(rounded, x[:8], y[:8], KEY, radius=0.1, batch_size=48, surrogate=honest)
    assert (last.name, last.status) == ("transfer", "WARN")


@pytest.mark.parametrize(("function", "name"), [(coupled, "batch neighbours"), (noisy, "batch neighbours"), (probable, "logits")])
def test_a_few_forward_passes_see(function, name):
    checks = {check.name: check for check in sanity.forward_checks(Partial(function, WEIGHTS), x, radius=0.1)}
    assert warned(checks) == {name}


@pytest.mark.parametrize("images", [x / 255, 2 * x - 0.5], ids=["divided twice", "normalised"])
def test_pixels_that_are_not_in_the_unit_box(images):
    checks = {check.name: check for check in sanity.forward_checks(Partial(network, WEIGHTS), images, radius=0.1)}
    assert warned(checks) == {"normalisation inside"}


def test_finite_differences_see_a_wrong_gradient():
    @jax.custom_jvp
    def crooked(z):
        return z

    crooked.defjvp(lambda primals, tangents: (primals[0], tangents[0] * jnp.arange(10)))
    checks = sanity.gradient_checks(Partial(lambda w, x: crooked(network(w, x)), WEIGHTS), x, y, KEY, radius=0.1)
    assert warned({check.name: check for check in checks}) == {"finite differences"}


def test_one_batch_of_one_image():
    checks = list(sanity.forward_checks(Partial(network, WEIGHTS), np.resize(x[:1], (2, *x.shape[1:])), radius=0.1))
    assert [check.status for check in checks] == ["PASS"] * 3
