"""Planes of curves and products that alpha-CROWN may choose: sound for any shares, and the best ones are found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.bounds.functions import squareplus, swish
from dsrna_jax.bounds.relaxations.curve import Curve
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.product import Product
from dsrna_jax.bounds.relaxations.shared import Seen
from dsrna_jax.bounds.rules.curves import power_curve
from dsrna_jax.errors import InputError

RNG = np.random.default_rng(0)
COUNT, POINTS = 400, 301
# (curve, least and greatest argument): with no, one and two inflections, and poles.
CURVES = {
    "tanh": (Curve(jnp.tanh, (0.0,)), -6, 6),
    "sigmoid": (Curve(jax.nn.sigmoid, (0.0,)), -12, 12),
    "atan": (Curve(jnp.arctan, (0.0,)), -20, 20),
    "erf": (Curve(jax.lax.erf, (0.0,)), -4, 4),
    "cube": (power_curve(3), -3, 3),
    "square": (power_curve(2), -3, 3),
    "reciprocal": (power_curve(-1), -3, 3),
    "inverse square": (power_curve(-2), -3, 3),
    "exp": (Curve(jnp.exp), -8, 5),
    "log": (Curve(jnp.log), 0, 9),
    "sqrt": (Curve(jnp.sqrt), 0, 9),
    "silu": (swish(1.0), -9, 9),
    "squareplus": (squareplus(1.0), -5, 5),
}


def intervals(low, high):
    """Random (ends, trace point) within (low, high), of all widths; some begin at the low end."""
    a, b = np.sort(RNG.uniform(low, high, (2, COUNT)), 0)
    b = np.where(RNG.uniform(size=COUNT) < 0.3, a + (b - a) * 1e-3, b)
    a = np.where(RNG.uniform(size=COUNT) < 0.1, low, a)
    x = a + (b - a) * RNG.uniform(size=COUNT)
    return a, b, x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CURVES)
def test_planes_of_a_curve_are_sound_for_any_shares(name, dtype):
    curve, low, high = CURVES[name]
    with jax.enable_x64(True):
        a, b, x = (side.astype(dtype) for side in intervals(low, high))
        x = np.clip(x, a, b)
        shares = RNG.choice([0, 1, 0.5, 0.123, 0.87], (2, COUNT)).astype(dtype)

        @quick
        def planes(x, a, b, shares):
            node = Seen(curve.function(x), (Seen(x),))
            interval = Interval(a - x, b - x)
            known, own = curve.adjustable(node, [interval])
            return (
                node.value, interval, curve.planes(node, [interval]), curve.adjusted(known, tuple(shares)),
                curve.adjusted(known, own), [side.is_free for side in known[-1]],
            )  # fmt: skip

        value, (lower, upper), crown, free, started, is_free = jax.tree.map(np.asarray, planes(x, a, b, shares))
        d = np.linspace(lower.astype(float), upper.astype(float), POINTS)
        curve_there = np.asarray(quick(curve.function)(x + d)) - value
    for got in (free, started):
        below, above = (got.lower[0] * d - got.lower_gap, got.upper[0] * d + got.upper_gap)
        # NaN is no bound, as over a pole; elsewhere there must be one.
        assert np.all((below <= curve_there) | np.isnan(below)) and np.all((curve_there <= above) | np.isnan(above))
        np.testing.assert_array_equal(np.isnan(got.lower_gap), np.isnan(crown.lower_gap))
    assert np.mean(np.isnan(crown.lower_gap)) < 0.6
    assert np.mean(is_free[0] | is_free[1]) > 0.4, "hardly any plane is free"
    # CROWN's own planes are among the free ones.
    scale = np.abs(crown.lower_gap) + np.abs(crown.upper_gap) + np.abs(value) + np.abs(crown.lower[0]) * (upper - lower)
    tolerance = 2e-3 if dtype == np.float32 else 1e-6
    for one, other in ((started.lower_gap, crown.lower_gap), (started.upper_gap, crown.upper_gap)):
        assert np.all((np.abs(one - other) <= tolerance * scale) | np.isnan(scale))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_planes_of_a_product_are_sound_for_any_shares(dtype):
    with jax.enable_x64(True):
        (a, b), (low_a, low_b), (wide_a, wide_b) = RNG.normal(size=(2, COUNT)), *np.abs(RNG.normal(size=(2, 2, COUNT)))
        a, b, low_a, low_b, wide_a, wide_b = (side.astype(dtype) for side in (a, b, low_a, low_b, wide_a, wide_b))
        sides = Interval(-low_a, wide_a), Interval(-low_b, wide_b)
        node = Seen(jnp.asarray(a) * b, (Seen(jnp.asarray(a)), Seen(jnp.asarray(b))))
        known, own = Product().adjustable(node, sides)
        mean, crown = Product().adjusted(known, own), Product().planes(node, sides)
        for one, other in zip(jax.tree.leaves(mean), jax.tree.leaves(crown), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        shares = RNG.choice([0, 1, 0.3], (2, COUNT)).astype(dtype)
        planes = jax.tree.map(np.asarray, Product().adjusted(known, tuple(shares)))
    da = np.linspace(-low_a.astype(float), wide_a.astype(float), 21)[:, None]
    db = np.linspace(-low_b.astype(float), wide_b.astype(float), 21)[None]
    moved = (a.astype(float) + da) * (b.astype(float) + db) - a.astype(float) * b
    assert np.all(planes.lower[0] * da + planes.lower[1] * db - planes.lower_gap <= moved)
    assert np.all(moved <= planes.upper[0] * da + planes.upper[1] * db + planes.upper_gap)
    # A plane at a share of 0 or 1 touches the product in two of the corners.
    gaps = (moved - (planes.lower[0] * da + planes.lower[1] * db - planes.lower_gap))[::20, ::20].reshape(4, -1)
    is_corner = (shares[0] == 0) | (shares[0] == 1)
    np.testing.assert_allclose(np.sort(gaps, 0)[:2, is_corner], 0, atol=1e-4)


@pytest.mark.parametrize("slope", [0.2, 0.5, 0.95])
def test_the_best_tangent_gives_the_exact_minimum(slope):
    """tanh(x) - slope * x over [-3, 1] is least where tanh' = slope left of 0, and the tangent there lies below the curve."""
    point = -np.arctanh(np.sqrt(1 - slope))
    touches = np.tanh(point) + slope * (1 - point) <= np.tanh(1)  # at the right end
    assert touches == (slope < 0.9)
    exact = min(np.tanh(point) - slope * point, np.tanh(1) - slope, np.tanh(-3) + 3 * slope)
    with jax.enable_x64(True):

        @quick
        def all_of(shares):
            f = lambda x: jnp.tanh(x) - slope * x  # noqa: E731
            of = lambda x, **more: bounds.bound(f, x, radius=2.0, **more)[0][:, 0]  # noqa: E731
            of_shares = of(jnp.full_like(shares, -1.0), method="crown", slopes={"tanh_0": (shares, shares)})
            x = jnp.full((1, 1), -1.0)
            return of_shares, of(x, method="crown")[0], of(x, method="alpha_crown")[0]

        of_shares, crown, alpha = jax.tree.map(np.asarray, all_of(np.linspace(0, 1, 4001)[:, None]))
    assert of_shares.max() <= exact + 1e-12 and alpha <= exact + 1e-12
    assert alpha >= crown + (0.1 if touches else 0)
    if touches:
        assert of_shares.max() == pytest.approx(exact, abs=2e-3)
        assert alpha == pytest.approx(exact, abs=0.1)


WEIGHTS = [(RNG.normal(size=size) / np.sqrt(size[0]) * 1.5).astype(np.float32) for size in ((6, 16), (16, 16), (16, 3))]
X = RNG.uniform(-1, 1, (2, 6)).astype(np.float32)
ACTIVATIONS = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "gate": lambda x: x * jnp.tanh(jnp.roll(x, 1, -1)),
    "both": lambda x: jax.nn.relu(x) - jnp.tanh(x),
}


def network(activation):
    def f(x):
        for w in WEIGHTS[:-1]:
            x = activation(x @ w)
        return x @ WEIGHTS[-1]

    return f


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_optimised_bounds_of_smooth_networks_are_sound_and_tighter(name):
    f = network(ACTIVATIONS[name])

    @quick
    def all_of(x):
        of = lambda method, **more: bounds.bound(f, x, radius=0.15, method=method, **more)  # noqa: E731
        slopes = bounds.optimised_slopes(f, x, radius=0.15, iterations=10)
        return of("crown"), of("alpha_crown", iterations=10), of("alpha_crown", iterations=10, slopes="shared"), \
            of("crown", slopes=slopes), slopes  # fmt: skip

    crown, alpha, shared, given, slopes = jax.tree.map(np.asarray, all_of(X))
    moves = RNG.uniform(-1, 1, (4000, *X.shape)).astype(np.float32)
    moves = 0.15 * np.where(RNG.uniform(size=moves.shape) < 0.5, np.sign(moves), moves)
    outputs = np.asarray(quick(f)(X + moves))
    for lower, upper in (crown, alpha, shared, given):
        assert np.all(lower <= outputs.min(0)) and np.all(outputs.max(0) <= upper)
    width = lambda sides: (sides[1] - sides[0]).mean()  # noqa: E731
    assert width(alpha) < 0.97 * width(crown)
    assert width(alpha) <= width(shared) + 1e-5 and width(shared) <= width(crown) + 1e-5
    assert all(share.shape == (2, 16) and 0 <= share.min() and share.max() <= 1 for share in jax.tree.leaves(slopes))
    assert any(isinstance(shares, tuple) for shares in slopes.values())


def test_slopes_of_curves_are_pairs():
    f = network(jnp.tanh)
    shape, part = (2, 16), np.zeros((2, 16), np.float32)
    for wrong in (part, (part,), (part, part[:1]), 0.5):
        with pytest.raises(
            InputError, match=rf"slopes of tanh_0 must be two arrays \(below, above\) of shape \({shape[0]}, 16\)"
        ):
            bounds.bound(f, X, radius=0.1, method="crown", slopes={"tanh_0": wrong})
    with pytest.raises(InputError, match="slopes of tanh_0 hold NaN"):
        bounds.bound(f, X, radius=0.1, method="crown", slopes={"tanh_0": (part, part * np.nan)})
    with pytest.raises(InputError, match="f has those of tanh_0, tanh_1"):
        bounds.bound(f, X, radius=0.1, method="crown", slopes={"relu_0": part})


def test_a_smooth_network_of_many_inputs_is_verified_by_optimised_planes():
    """The property lies between what CROWN and what alpha-CROWN certify."""
    weights = [(RNG.normal(size=size) / np.sqrt(size[0]) * 1.5).astype(np.float32) for size in ((30, 20), (20, 20), (20, 1))]

    def f(x):
        return jnp.tanh(jnp.tanh(x @ weights[0]) @ weights[1]) @ weights[2]

    x = RNG.uniform(size=(1, 30)).astype(np.float32)
    lower = {
        m: float(quick(lambda x, m=m: bounds.bound(f, x, radius=0.05, method=m)[0])(x)[0, 0]) for m in ("crown", "alpha_crown")
    }
    assert lower["crown"] < lower["alpha_crown"] - 0.01
    between = bounds.Specification(np.ones((1, 1), np.float32), np.array([-(0.2 * lower["crown"] + 0.8 * lower["alpha_crown"])]))
    verdict = bounds.verify(f, bounds.Box(x - np.float32(0.05), x + np.float32(0.05)), between, timeout=1000)
    assert (verdict.status, verdict.branches) == ("verified", 1)
