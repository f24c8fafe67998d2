"""Sanity checks: an ordinary network passes, one that hides its gradients is detected."""

import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from small_network import IMAGES, LABELS, WEIGHTS, network

from dsrna_jax.evaluation.attack import sanity
from dsrna_jax.evaluation.attack.sanity.remedies import REMEDIES

images, labels = IMAGES[:12], LABELS[:12]
KEY = jax.random.key(0)


def masked(weights, factor, levels, images):
    """Logits times a factor: the softmax is one-hot, and the gradient of cross-entropy vanishes. Inputs rounded: no gradient."""
    return factor * network(weights, jnp.where(levels > 0, jnp.round(images * levels) / jnp.maximum(levels, 1), images))


def coupled(weights, images):
    """Batch norm in training mode: centred by the batch."""
    return network(weights, images - images.mean(0, keepdims=True) + 0.3)


def probable(weights, images):
    return jax.nn.softmax(network(weights, images))


def noisy(weights, images):
    """Dropout left on: what it hits depends on the place in the batch."""
    return network(weights, images * jax.random.bernoulli(jax.random.key(0), 0.8, images.shape))


@functools.cache
def checks_of(factor=1.0, levels=0):
    network_of = Partial(masked, WEIGHTS, np.float32(factor), np.float32(levels))
    checks = list(sanity.checks(network_of, images, labels, KEY, radius=0.1, norm="linf", batch_size=12))
    assert len(checks) == sanity.COUNT == len({check.name for check in checks})
    return {check.name: check for check in checks}


def warned(checks):
    return {check.name for check in checks.values() if check.status != "PASS"}


def test_an_ordinary_network_passes_every_check():
    honest = checks_of()
    assert not warned(honest), honest
    assert honest["normalisation inside"].value == 1 and honest["unbounded"].value == 0
    assert all(check.value is not None and check.says for check in honest.values())


def test_large_logits_do_not_mislead_the_attacks():
    """In float32 the label has a softmax of 1 at all images, so that softmax - 1 would be 0."""
    checks = checks_of(factor=100.0)
    assert not warned(checks), checks
    assert checks["scale of the logits"].says == checks_of()["scale of the logits"].says


def test_rounded_inputs_are_detected():
    checks = checks_of(levels=16)
    assert warned(checks) >= {"zero gradients", "black box", "unbounded"}, checks
    assert checks["zero gradients"].value == 1 and checks["black box"].value > 0.1


def test_a_surrogate_fools_a_network_with_rounded_inputs_and_not_an_ordinary_one():
    honest, rounded = (Partial(masked, WEIGHTS, np.float32(1), np.float32(levels)) for levels in (0, 16))
    options = {"radius": 0.1, "norm": "linf", "batch_size": 12}
    assert sanity.transfer_check(rounded, honest, images, labels, KEY, **options).value > 0.1
    assert sanity.transfer_check(honest, rounded, images, labels, KEY, **options).status == "PASS"
    *_, last = sanity.checks(rounded, images[:8], labels[:8], KEY, radius=0.1, batch_size=12, surrogate=honest)
    assert (last.name, last.status) == ("transfer", "WARN")


@pytest.mark.parametrize(("function", "name"), [(coupled, "batch neighbours"), (noisy, "batch neighbours"), (probable, "logits")])
def test_forward_checks_warn_of_coupled_images_noise_and_probabilities(function, name):
    checks = {check.name: check for check in sanity.forward_checks(Partial(function, WEIGHTS), images, radius=0.1)}
    assert warned(checks) == {name}


@pytest.mark.parametrize("images", [images / 255, 2 * images - 0.5], ids=["divided twice", "normalised"])
def test_pixels_outside_the_unit_box_are_detected(images):
    checks = {check.name: check for check in sanity.forward_checks(Partial(network, WEIGHTS), images, radius=0.1)}
    assert warned(checks) == {"normalisation inside"}


def test_finite_differences_detect_a_wrong_gradient():
    @jax.custom_jvp
    def crooked(z):
        return z

    crooked.defjvp(lambda primals, tangents: (primals[0], tangents[0] * jnp.arange(10)[None]))
    wrong = Partial(lambda w, images: crooked(network(w, images)), WEIGHTS)
    checks = sanity.gradient_checks(wrong, images, labels, KEY, radius=0.1)
    assert warned({check.name: check for check in checks}) == {"finite differences"}


def test_forward_checks_take_two_copies_of_one_image():
    checks = list(sanity.forward_checks(Partial(network, WEIGHTS), np.resize(images[:1], (2, *images.shape[1:])), radius=0.1))
    assert [check.status for check in checks] == ["PASS"] * 3


def test_every_check_that_can_warn_says_what_to_do():
    sources = "".join(file.read_text() for file in Path(sanity.__file__).parents[1].rglob("*.py"))
    assert set(re.findall(r'\bcheck\(\s*"([^"]+)"', sources)) == set(REMEDIES)
