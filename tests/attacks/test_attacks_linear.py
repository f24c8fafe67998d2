"""Attacks on linear models, whose closest boundary and largest loss have closed forms."""

import functools

import jax
import numpy as np
import pytest

from dsrna_jax import attacks
from dsrna_jax.attacks import losses

KEY = jax.random.key(0)


def linear_model(norm):
    """A linear network of 4 classes, images far from the walls of the box, and the exact distance of each to its boundary."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(20, 4)).astype(np.float32)
    images = rng.uniform(0.45, 0.55, size=(40, 5, 4, 1)).astype(np.float32)
    z = images.reshape(40, -1) @ weights
    labels = z.argmax(1)
    slopes = weights.T[None] - weights.T[labels][:, None]
    slopes = np.abs(slopes).sum(2) if norm == "linf" else np.linalg.norm(slopes, axis=2)
    gaps = z[np.arange(40), labels][:, None] - z
    is_other = np.arange(4) != labels[:, None]
    distance = np.where(is_other, gaps / np.where(is_other, slopes, 1), np.inf).min(1)
    return lambda images: images.reshape(len(images), -1) @ weights, images, labels, distance


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("multi_targeted", {"steps": 20}),
        ("apgd", {"loss": "dlr"}),
        ("apgd_t", {"steps": 20}),
        ("fab", {"steps": 10, "overshoot": 1.001}),
    ],
)
def test_linear_models_fall_just_beyond_their_exact_distance(name, options, norm):
    f, images, labels, distance = linear_model(norm)
    run = jax.jit(functools.partial(attacks.attack(name), f, norm=norm, **options))
    for factor, falls in ((0.995, False), (1.005, True)):
        assert (np.asarray(run(images, labels, KEY, radius=factor * distance).success) == falls).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_reaches_the_exact_loss_of_a_linear_model_with_two_classes(norm):
    f, images, *_ = linear_model(norm)
    labels = np.zeros(40, int)

    @jax.jit
    def losses_before_and_after(images, labels):
        result = attacks.fgsm(lambda images: f(images)[:, :2], images, labels, radius=0.1, norm=norm, loss="margin")
        return losses.margin_loss(f(images)[:, :2], labels), result.loss

    w = f(np.eye(20).reshape(20, 5, 4, 1))
    slope = w[:, 1] - w[:, 0]
    dual = np.abs(slope).sum() if norm == "linf" else np.linalg.norm(slope)
    before, after = losses_before_and_after(images, labels)
    np.testing.assert_allclose(after, np.asarray(before) + 0.1 * dual, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "norm", "options", "tolerance"),
    [
        ("cw", "l2", {"rate": 0.02, "steps": 200}, 0.02),
        ("ddn", "l2", {"steps": 300}, 0.02),
        # It draws back by a tenth and overshoots by a twentieth of that.
        ("fab", "l2", {}, 6e-3),
        ("fab", "linf", {}, 6e-3),
    ],
)
def test_smallest_perturbations_of_linear_models_have_the_exact_distance(name, norm, options, tolerance):
    f, images, labels, distance = linear_model(norm)
    result = jax.jit(functools.partial(attacks.attack(name), f, norm=norm, **options))(images, labels)
    assert result.success.all()
    np.testing.assert_array_equal(result.loss, -np.asarray(result.distance))
    assert (np.asarray(result.distance) >= distance * (1 - 1e-4)).all()
    assert np.median(np.asarray(result.distance) / distance) <= 1 + tolerance
