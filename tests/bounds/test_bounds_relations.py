"""Bounds against each other: clipping, order, jit, chunks and vmap, radius 0, and derivatives by finite differences."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_networks import dense, layers, sides
from quick import quick

from dsrna_jax import bounds


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def test_clipping_tightens_bounds_and_a_wide_clip_changes_nothing():
    network, rng = dense(layers(4, 6, 3)), np.random.default_rng(0)
    x = rng.uniform(size=(3, 4))
    for norm in ("linf", "l2"):
        free = sides(network, x, 0.4, norm=norm, method="crown")
        cut = sides(network, x, 0.4, norm=norm, method="crown", clip=(0.0, 1.0))
        assert np.all(cut[0] >= free[0] - 0.05) and np.mean(cut[1] - cut[0]) < np.mean(free[1] - free[0])
        for a, b in zip(free, sides(network, x, 0.4, norm=norm, method="crown", clip=(-9.0, 9.0)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    "method,norm,clip",
    [
        ("ibp", "linf", (0.0, 1.0)),
        pytest.param("crown_ibp", "l2", (0.0, 1.0), marks=pytest.mark.slow),
        pytest.param("fastlin", "linf", None, marks=pytest.mark.slow),
        pytest.param("crown", "l1", (0.0, 1.0), marks=pytest.mark.slow),
        pytest.param("hz_crown", "l2", None, marks=pytest.mark.slow),
    ],
)
def test_gradients_of_bounds_are_finite_differences(method, norm, clip):
    network, x = layers(3, 5, 4, 2, seed=3), np.random.default_rng(0).uniform(0.1, 0.9, size=(2, 3))

    def total(weights, x, radius):
        lower, upper = bounds.bound(dense(weights), x, radius=radius, norm=norm, method=method, clip=clip)
        return (upper - 2 * lower).sum()

    point = (network, x, np.array([0.15, 0.3]))
    direction = jax.tree.map(lambda w: np.random.default_rng(1).normal(size=w.shape), point)
    moved = lambda t: jax.tree.map(lambda w, d: w + t * d, point, direction)  # noqa: E731
    # Without optimisation XLA computes equal bounds twice, with other roundings, and the derivative of their maximum is wrong.
    value, gradient = quick(total), jax.jit(jax.grad(total, (0, 1, 2)), compiler_options={"xla_backend_optimization_level": 1})

    def agrees(t):
        along = sum(jax.tree.leaves(jax.tree.map(lambda g, d: np.sum(np.asarray(g) * d), gradient(*moved(t)), direction)))
        return np.isclose(along, (value(*moved(t + 1e-7)).item() - value(*moved(t - 1e-7)).item()) / 2e-7, rtol=1e-5)

    assert sum(map(agrees, np.linspace(0, 1e-3, 6))) >= 5  # adaptive slopes jump: a difference may straddle one


@pytest.mark.parametrize("method, norm", [("crown_ibp", "l2"), pytest.param("alpha_crown", "linf", marks=pytest.mark.slow)])
def test_bounds_do_not_depend_on_order_jit_chunks_or_vmap(method, norm):
    f, x = dense(layers(4, 5, 4, 3, seed=1)), np.random.default_rng(0).uniform(size=(4, 4))
    radius = np.array([0.05, 0.1, 0.2, 0.3])

    def compute(x, radius, **options):
        return bounds.bound(f, x, radius=radius, norm=norm, method=method, iterations=2, **options)

    whole = list(map(np.asarray, quick(compute)(x, radius)))
    order = np.array([2, 0, 3, 1])
    others = {
        "order": quick(lambda x, r: [s[np.argsort(order)] for s in compute(x[order], r[order])])(x, radius),
        "chunk": quick(functools.partial(compute, chunk=2))(x, radius),
        "vmap": quick(jax.vmap(lambda x, r: [s[0] for s in compute(x[None], r)]))(x, radius),
    }
    if method != "crown_ibp":
        others["eager"] = compute(x, radius)
    for what, other in others.items():
        np.testing.assert_allclose(other, whole, rtol=1e-9, err_msg=what)
    single = quick(lambda x: compute(x, 0.1))(x[1:2])  # the radius a number, not traced
    np.testing.assert_allclose(single, [side[1:2] for side in whole], rtol=1e-9)


def test_the_certified_radius_is_certified_and_has_the_implicit_gradient():
    network = layers(4, 8, 6, 3, seed=4)
    direction = jax.tree.map(lambda w: np.random.default_rng(1).normal(size=w.shape), network)
    x = np.random.default_rng(1).uniform(size=(5, 4))
    labels = np.asarray(quick(dense(network))(x)).argmax(1)
    labels[4] = (labels[4] + 1) % 3

    @quick
    def along(network, direction):
        """Radii, and their derivative along a direction, from one program."""
        radius = lambda of: bounds.certified_radius(dense(of), x, labels, norm="l2", method="crown", steps=60)  # noqa: E731
        return jax.jvp(radius, (network,), (direction,))

    margin = quick(lambda r: bounds.margin(dense(network), x, labels, radius=r, norm="l2", method="crown"))
    radii, slope = map(np.asarray, along(network, direction))
    assert np.all(radii[:4] > 1e-3) and radii[4] == 0
    assert np.all(np.asarray(margin(radii))[:4] > 0) and np.all(np.asarray(margin(1.001 * radii))[:4] <= 1e-3)
    move = lambda t: np.asarray(along(jax.tree.map(lambda w, d: w + t * d, network, direction), direction)[0])  # noqa: E731
    np.testing.assert_allclose(slope, (move(1e-5) - move(-1e-5)) / 2e-5, rtol=1e-3, atol=1e-9)


def test_a_certified_radius_without_gradient_compiles_one_margin():
    f, x, labels = dense(layers(4, 8, 6, 3)), np.zeros((2, 4)), np.zeros(2, int)
    programs = [
        jax.jit(lambda r: bounds.margin(f, x, labels, radius=r, method="crown")),
        jax.jit(lambda start: bounds.certified_radius(f, x, labels, method="crown", start=start)),
    ]
    one, search = (p.lower(0.1).compile().as_text().count(" dot(") for p in programs)
    assert 0 < search <= one


def test_radius_zero_is_exact_beside_other_radii():
    f, x = dense(layers(4, 6, 3)), np.random.default_rng(0).uniform(size=(2, 4))
    value = np.asarray(f(x))[0]
    options = itertools.product((None, (0.0, 1.0)), bounds.NORMS)
    for method, (clip, norm) in zip(bounds.METHODS, options, strict=True):
        lower, upper = sides(f, x, np.array([0.0, 0.1]), norm=norm, clip=clip, method=method)
        np.testing.assert_allclose([lower[0], upper[0]], [value] * 2, rtol=1e-15)
        assert np.all(upper[1] > lower[1])


def test_two_relus_of_one_state_are_one_node():
    (w, b), (v, c) = layers(4, 6, 3)
    state = lambda x: x @ w.T + b[None]  # noqa: E731
    twice = lambda x: jax.nn.relu(state(x)) @ v.T + c[None] + jnp.maximum(state(x), 0.0) @ v.T  # noqa: E731
    once = lambda x: 2 * jax.nn.relu(state(x)) @ v.T + c[None]  # noqa: E731
    x = np.random.default_rng(0).uniform(size=(1, 4))
    assert bounds.explain(lambda x: jax.nn.relu(x) - jax.nn.relu(x) * 2, x).operations["relu"] == 1
    np.testing.assert_allclose(sides(twice, x, 0.3, method="crown"), sides(once, x, 0.3, method="crown"), rtol=1e-9)
