"""Slopes of hinges: the caller's, those that alpha-CROWN hands out, and slopes that rows share."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.bounds import rows
from dsrna_jax.errors import InputError

RNG = np.random.default_rng(0)
WEIGHTS = [(RNG.normal(size=size) / 2).astype(np.float32) for size in ((4, 6), (6, 6), (6, 3))]
X = RNG.uniform(-1, 1, (2, 4)).astype(np.float32)
RADIUS = 0.4


def f(x):
    for w in WEIGHTS[:-1]:
        x = jax.nn.leaky_relu(x @ w, 0.1)
    return x @ WEIGHTS[-1]


def width(sides):
    return np.subtract(sides[1], sides[0]).mean()


@pytest.fixture(scope="module")
def found():
    """Bounds by name: of crown, of alpha_crown in both ways, and of crown with optimised slopes and with odd ones."""
    shares = {f"relu_{i}": RNG.choice([-3, 0.3, 4], (2, 6)).astype(np.float32) for i in range(2)}

    def all_of(x):
        crown = lambda **options: bounds.bound(f, x, radius=RADIUS, method="crown", **options)  # noqa: E731
        alpha = lambda **options: bounds.bound(f, x, radius=RADIUS, method="alpha_crown", iterations=8, **options)  # noqa: E731
        cut = {name: np.clip(share, 0, 1) for name, share in shares.items()}
        slopes = bounds.optimised_slopes(f, x, radius=RADIUS, iterations=8)
        joint = bounds.intermediate(f, x, radius=RADIUS, method="alpha_crown", iterations=8)
        sides = {"crown": crown(), "neuron": alpha(given=joint), "shared": alpha(slopes="shared"), "given": crown(given=joint)}
        sides["still"] = alpha(given=joint, optimizer=optax.set_to_zero())
        return slopes, sides | {"optimised": crown(slopes=slopes), "odd": crown(slopes=shares), "cut": crown(slopes=cut)}

    return jax.tree.map(np.asarray, quick(all_of)(X))


def test_bounds_hold_whatever_the_slopes(found):
    moves = RNG.uniform(-1, 1, (3000, 2, 4)).astype(np.float32)
    moves = RADIUS * np.where(RNG.uniform(size=moves.shape) < 0.5, np.sign(moves), moves)
    outputs = np.asarray(f(jnp.asarray(X + moves)))
    for name, (lower, upper) in found[1].items():
        assert np.all(lower <= outputs.min(0)) and np.all(outputs.max(0) <= upper), name


def test_shares_beyond_0_and_1_are_cut(found):
    np.testing.assert_array_equal(found[1]["odd"], found[1]["cut"])


def test_slopes_that_are_optimised_together_lie_between_crown_and_slopes_of_each_bound(found):
    slopes, sides = found
    assert width(sides["neuron"]) < width(sides["shared"]) < width(sides["crown"])
    assert width(sides["neuron"]) < width(sides["given"]) < width(sides["crown"])
    np.testing.assert_allclose(sides["still"], sides["given"], rtol=1e-5, atol=1e-5)
    assert width(sides["optimised"]) < width(sides["crown"])
    assert {name: share.shape for name, share in slopes.items()} == {"relu_0": (2, 6), "relu_1": (2, 6)}
    assert all(0 <= share.min() and share.max() <= 1 for share in slopes.values())


def test_what_is_certified_is_not_optimised_further(monkeypatch):
    """Crown certifies the first of three copies of an output with other offsets, some steps of alpha_crown the second.

    They are bounded one at a time, as those of large networks.
    """
    monkeypatch.setattr(rows, "CACHED", 1)

    @quick
    def margins(offsets):
        of = {"radius": RADIUS, "given": bounds.intermediate(f, X[:1], radius=RADIUS), "iterations": 8}
        thrice = bounds.Specification(np.eye(3)[[2, 2, 2]], offsets)
        return [bounds.specification_margins(f, X[:1], thrice, method=method, **of)[0] for method in ("crown", "alpha_crown")]

    (least, *_), (most, *_) = np.asarray(margins(np.full(3, -9.0, np.float32)))
    assert most > least + 0.1
    crown, stopped = np.asarray(margins(-9 - least + np.float32([0.001, -0.01, -5.0])))
    assert crown[0] > 0 and crown[0] == stopped[0]
    assert 0 < stopped[1] < most - least - 0.02
    np.testing.assert_allclose(stopped[2] - crown[2], most - least, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"slopes": "layer"}, "slopes must be neuron, shared, or a dict"),
        ({"slopes": {"relu_7": np.zeros((2, 6), np.float32)}}, "slopes of 'relu_7': f has those of relu_0, relu_1"),
        ({"slopes": {"relu_0": np.zeros(6, np.float32)}}, r"slopes of relu_0 must be of shape \(2, 6\), got \(6,\)"),
        ({"optimizer": "adam"}, "optimizer must be a transformation of optax"),
        ({"slopes": {}, "method": "fastlin"}, "fastlin has slopes of its own"),
    ],
)
def test_odd_slopes_are_refused_in_one_line(options, said):
    with pytest.raises(InputError, match=said):
        quick(lambda x: bounds.margin(f, x, np.zeros(2, int), radius=RADIUS, **options))(X)
