"""The formulas of intervals and relaxations: affine maps of boxes, the change of a hinge, the leads of a maximum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.bounds import forward
from dsrna_jax.bounds.balls import ball
from dsrna_jax.bounds.relaxations.hinge import change
from dsrna_jax.bounds.rounding import EXACT_VALUES
from dsrna_jax.bounds.rules.registry import RULES
from dsrna_jax.bounds.tracing import trace
from dsrna_jax.kernels.depthwise import depthwise, square_taps
from dsrna_jax.kernels.pointwise import pointwise

RNG = np.random.default_rng(0)
KERNEL, FILTERS = RNG.normal(size=(4, 3)), RNG.normal(size=(9, 1, 2, 3))


def maps(x):
    """[batch, height, width, channel] -> [channel, batch, height, width], the layout of the project's convolutions."""
    return jnp.transpose(x, (3, 0, 1, 2))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.moveaxis(pointwise(maps(x), KERNEL), 1, 0),
        lambda x: jnp.moveaxis(depthwise(maps(x)[None], FILTERS, square_taps(3), stride=2), 3, 0),
        lambda x: jnp.stack([p * (i + 1) for i, p in enumerate(jnp.split(x, 3, axis=3))], 1),
        lambda x: jnp.split(x, [1], axis=3)[1],
        lambda x: jnp.unstack(x, axis=3)[2] - 2 * jnp.unstack(x, axis=3)[0],
    ],
    ids=["pointwise", "depthwise", "split", "rest", "unstack"],
)
def test_affine_functions_map_boxes_exactly_also_off_centre(f):
    with jax.enable_x64(True):
        x, radius, clip = RNG.uniform(size=(2, 5, 4, 3)), 0.3, (0.0, 1.0)
        low, high = np.maximum(x - radius, clip[0]), np.minimum(x + radius, clip[1])

        @quick
        def computed(x):
            matrix = jax.vmap(jax.jacobian(lambda x: f(x[None]).ravel()))(x).reshape(2, -1, x[0].size)
            return matrix, bounds.bound(f, x, radius=radius, clip=clip, method="ibp"), f(x)

        matrix, sides, value = jax.tree.map(np.asarray, computed(x))
        middle, half = (side.reshape(2, -1, 1) for side in ((low + high) / 2 - x, (high - low) / 2))
        moved, size = (matrix @ middle)[..., 0], (np.abs(matrix) @ half)[..., 0]
        for side, sign in zip(sides, (-1, 1), strict=True):
            np.testing.assert_allclose((side - value).reshape(2, -1), moved + sign * size, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("left, right", [(0.0, 1.0), (0.1, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_the_change_of_a_hinge_and_its_derivatives_are_those_of_the_plain_formula(left, right):
    def phi(x, left, right):
        return jnp.where(x >= 0, right * x, left * x)

    def plainly(t, d, left, right):
        return phi(t + d, left, right) - phi(t, left, right)

    with jax.enable_x64(True):
        t, d = np.random.default_rng(0).normal(size=(2, 50))
        arguments = t, d, np.full(50, left), np.full(50, right)

        @quick
        def of_both(*a):
            derived = [[derive(each, (0, 1, 2, 3))(*a) for derive in (jax.jacobian, jax.jacfwd)] for each in (change, plainly)]
            return [(each(*a), of_each) for each, of_each in zip((change, plainly), derived, strict=True)]

        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15), *of_both(*arguments))


def test_the_change_of_a_hinge_has_no_cancellation():
    large, small = np.float32(1e6), np.float32(1e-3)
    assert change(large, small, 0.0, 1.0) == small
    assert change(-large, small, 0.1, 1.0) == np.float32(0.1) * small


def test_leads_that_no_method_has_narrowed_do_not_tighten_a_maximum():
    rng = np.random.default_rng(1)
    x, scale = (rng.normal(size=size).astype(np.float32) for size in ((2, 5, 5, 3), (5, 5, 3)))

    @quick
    def enclosures(x):
        graph = trace(lambda x: nn.max_pool(jnp.tanh(scale[None] * x), (3, 3), padding="SAME"), x, RULES)
        known = forward.intervals(graph, ball([x], np.float32([0.1, 0.3]), "linf", None), EXACT_VALUES)
        top = graph.output
        parents = [known[p] for p in top.parents]
        return [top.operation.enclosure(top, parents, leads_are_narrowed=narrowed) for narrowed in (True, False)]

    with_leads, without = enclosures(x)
    assert np.all(np.asarray(without.radius) > 0)
    np.testing.assert_allclose(with_leads, without, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("double", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ["relu", *(pytest.param(name, marks=pytest.mark.slow) for name in ("max", "silu"))])
def test_derivatives_are_finite_where_entries_are_always_0(name, double):
    """Their intervals are nothing but the allowance for rounding, whose square leaves the type."""
    activation = {"relu": jax.nn.relu, "max": lambda x: x.max(1, keepdims=True), "silu": jax.nn.silu}[name]
    with jax.enable_x64(double):
        x, w = np.ones((1, 4)), np.zeros(4)

        def width(w):
            lower, upper = bounds.bound(lambda x: activation(x * w[None]).sum(1), x, radius=0.1, method="crown")
            return (upper - lower).sum()

        for gradient in quick(lambda w: (jax.grad(width)(w), jax.jacfwd(width)(w)))(w):
            assert np.isfinite(gradient).all()
