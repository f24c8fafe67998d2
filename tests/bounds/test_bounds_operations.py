"""Soundness: attacked points of the ball lie within the bounds, for operations with random attributes and for chains of them.

DSRNA_SOAK=n makes `test_bounds_of_random_networks_are_sound` draw n new examples, with every method, and shrink failures.
"""

import itertools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounded_operations import OPERATIONS, attacked, network
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from jax import lax
from quick import quick

from dsrna_jax import bounds

NESTED = [("ibp", "crown_ibp"), ("ibp", "crown"), ("crown_ibp", "crown"), ("crown_ibp", "hz_crown"), ("crown", "alpha_crown")]
RADII = (0.3, 0.1, 0.02, 1e-3)
SOAK = int(os.environ.get("DSRNA_SOAK", 0))


def check(names, seed, norm, clip, dtype, radius, methods):
    """Asserts that attacked points lie within the bounds, tighter methods within looser ones, and that radius 0 is exact.

    Returns: False where the function itself overflows, so that nothing was checked.
    """
    case = f"{names} seed={seed} {norm} clip={clip} {np.dtype(dtype)} radius={radius}"
    f = network(names, seed)
    with jax.enable_x64(True):
        x = np.random.default_rng(seed).uniform(size=(3, 2, 3)).astype(dtype)
        radii = (radius * np.array([1, 0.5, 0])).astype(dtype)

        def everything(x, radii):
            options = {"radius": radii, "norm": norm, "clip": clip, "iterations": 3, "chunk": 5}
            return {method: bounds.bound(f, x, method=method, **options) for method in methods}, f(x)

        bounded, here = quick(everything)(x, radii)
        bounded = {m: np.asarray(sides, np.float64) for m, sides in bounded.items()}
        exact = quick(lambda x, radii: attacked(f, x, radii, norm, clip, 3))
        values = np.asarray(exact(x.astype(np.float64), radii.astype(np.float64)))
        here = np.asarray(here, np.float64)
    if not np.all(np.isfinite(values)):
        return False
    # At radius 0 the bounds are f(x) in the precision of x, and so off by its rounding.
    resolution = np.where(radii == 0, 3e-6, 4e-16)[:, None, None] * np.abs(values).max()
    for method, (lower, upper) in bounded.items():
        assert np.all(lower[:, None] <= values + resolution), f"{method}: below the lower bound: {case}"
        assert np.all(upper[:, None] >= values - resolution), f"{method}: above the upper bound: {case}"
        np.testing.assert_allclose([lower[2], upper[2]], [here[2]] * 2, rtol=1e-5, atol=1e-6, err_msg=f"{method} {case}")
    rounding = 1e-4 if dtype == np.float32 else 1e-9
    for loose, tight in NESTED:
        if loose in bounded and tight in bounded:
            slack = rounding * (1e-3 + np.abs(bounded[loose]).max()) * np.array([1, -1]).reshape(2, 1, 1)
            inside = (bounded[loose] - slack - bounded[tight]) * np.array([1, -1]).reshape(2, 1, 1)
            assert np.all(inside[np.isfinite(inside)] <= 0), f"{tight} leaves {loose}: {case}"
    return True


def cases():
    """Each operation once in a pair of two, with norm, clipping, precision, radius and methods taken in turn.

    Once by the best of intervals and one backward pass, and once, among the slow tests, by intervals, CROWN and another method.
    """
    order = np.random.default_rng(0).permutation(sorted(OPERATIONS))
    order = np.concatenate([order, order[: len(order) % 2]])
    turns = zip(
        itertools.cycle(bounds.NORMS),
        itertools.cycle([None, (0.0, 1.0)]),
        itertools.cycle([np.float32, np.float32, np.float64, np.float64]),
        itertools.cycle((*RADII, 0.05)),
        itertools.cycle(["alpha_crown", "crown_ibp", "hz_crown", "fastlin", "crown_ibp"]),
    )
    for pair, (norm, clip, dtype, radius, method) in zip(order.reshape(-1, 2), turns, strict=False):
        names = tuple(map(str, pair))
        yield pytest.param(names, norm, clip, dtype, radius, ("crown_ibp",), id="-".join(names))
        more = ("ibp", "crown", method)
        yield pytest.param(names, norm, clip, dtype, radius, more, id="-".join((*names, method)), marks=pytest.mark.slow)


@pytest.mark.parametrize("names,norm,clip,dtype,radius,methods", list(cases()))
def test_attacked_points_lie_within_the_bounds(names, norm, clip, dtype, radius, methods):
    assert any(check(names, seed, norm, clip, dtype, radius, methods) for seed in (7, 8, 9)), "the function overflows"


@pytest.mark.slow
@settings(
    max_examples=SOAK or 3, derandomize=not SOAK, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    names=st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=3),
    seed=st.integers(0, 1 << 30),
    norm=st.sampled_from(bounds.NORMS),
    clip=st.sampled_from([None, (0.0, 1.0)]),
    dtype=st.sampled_from([np.float32, np.float64]),
    radius=st.sampled_from((*RADII, 1e-5)),
)
def test_bounds_of_random_networks_are_sound(names, seed, norm, clip, dtype, radius):
    methods = bounds.METHODS if SOAK else ("ibp", "crown_ibp", "alpha_crown")
    if not check(tuple(names), seed, norm, clip, dtype, radius, methods):
        reject()


def test_products_over_windows_and_approximate_maxima_are_bounded():
    """Approximate maxima are exact but on a TPU."""
    products = lambda x: lax.reduce_window(x, 1.0, lax.mul, (1, 2), (1, 1), [(0, 0), (1, 0)])  # noqa: E731
    f = lambda x: jnp.concatenate([products(x), lax.approx_max_k(x, 2)[0], lax.approx_min_k(x, 2)[0]], 1)  # noqa: E731
    x = np.array([[0.5, -1.0, 2.0]], np.float32)
    corners = x + 0.1 * np.float32(list(itertools.product((-1, 0, 1), repeat=3)))
    both = quick(lambda x, corners: (f(corners), *bounds.bound(f, x, radius=0.1, method="ibp")))
    values, lower, upper = map(np.asarray, both(x, corners))
    assert (lower <= values).all() and (values <= upper).all()
    np.testing.assert_allclose([lower[0], upper[0]], [values.min(0), values.max(0)], rtol=1e-5)


OF_TWO = {
    "atan2": lax.atan2,
    "equal": lambda a, b: jnp.where((a == b) | (b != b), a, b),
    "hypot": jnp.hypot,
    "logaddexp": jnp.logaddexp,
    "modulus of a complex number": lambda a, b: jnp.abs(lax.complex(a, b)),
    "power": lax.pow,
    "remainder": lax.rem,
    "truth values": lambda a, b: 1.0 * ((a > 0.8) ^ (b > 1) | (a < 0.6) & (b < 1.2)),
    "xlogy": jax.scipy.special.xlogy,
    **{each.__name__: each for each in (lax.add, lax.sub, lax.mul, lax.div, lax.max, lax.min)},
}
PARTS = {"row": lambda x: x[:, :1], "all": lambda x: x}


@pytest.mark.parametrize("batch,width", [(1, 3), (2, 1)])
@pytest.mark.parametrize("first,second", [("row", "constant"), ("constant", "row"), ("all", "constant"), ("row", "all")])
def test_operations_repeat_operands_along_axes_of_length_one(first, second, batch, width):
    """Every operation of two operands, one of which JAX repeats: also along the batch."""
    x = np.random.default_rng(0).uniform(0.5, 1.5, (batch, 2, 3)).astype(np.float32)
    constant = x[:1, :, :width]

    def f(x):
        operands = [constant if part == "constant" else PARTS[part](x) for part in (first, second)]
        return jnp.stack([operation(*operands) for operation in OF_TWO.values()], 1)

    moved = x + 0.01 * np.sign(np.random.default_rng(1).normal(size=(8, *x.shape))).astype(np.float32)
    both = quick(lambda x, moved: (jax.lax.map(f, moved), *bounds.bound(f, x, radius=0.0101, method="ibp")))
    values, lower, upper = map(np.asarray, both(x, moved))
    assert ((lower <= values) & (values <= upper)).all()
    assert np.isfinite([lower, upper]).all() and upper.shape == (batch, len(OF_TWO), 2, 3)


@pytest.mark.parametrize("norm", bounds.NORMS)
def test_interval_bounds_nest_with_the_radius(norm):
    f = network(("convolution", "max_pool", "silu"), 3)
    x = np.random.default_rng(0).uniform(size=(2, 2, 3)).astype(np.float32)
    compute = jax.jit(lambda radius: bounds.bound(f, x, radius=radius, norm=norm, method="ibp", clip=(0.0, 1.0)))
    nested = [np.asarray(compute(r)) for r in (0.0, 1e-4, 0.01, 0.1, 0.5)]
    for (low, high), (lower, higher) in itertools.pairwise(nested):
        assert np.all(lower <= low) and np.all(higher >= high)
