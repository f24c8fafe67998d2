"""R from certified bounds on a small supernet, in float64: derivatives, soundness of the chain of cells, and units of states."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.measures import certificates
from dsrna_jax.networks import spaces
from dsrna_jax.networks.function import NetworkFunction

KEY = jax.random.key(0)


PRIMITIVES = ("none", "skip_connect", "max_pool_3x3", "dil_conv_3x3")
NETWORK = spaces.supernet("darts", nodes=1, primitives=PRIMITIVES, cells=2, channels=2, classes=3, mean=(0.5,), std=(0.25,))


@pytest.fixture(scope="module")
def case():
    """(variables with the batch's moments, alphas, images) in float64."""
    with jax.enable_x64():
        images = jax.random.uniform(jax.random.key(0), (3, 5, 5, 1), jnp.float64, 0.1, 0.9)
        variables = jax.tree.map(lambda a: a.astype(jnp.float64), quick(NETWORK.init)(jax.random.key(1), images))
        alphas = spaces.initial_alphas(jax.random.key(2), "darts", 1, PRIMITIVES)
        alphas = jax.tree.map(lambda a: 1000 * a.astype(jnp.float64), alphas)
        mixtures = spaces.mixtures(alphas, 1, PRIMITIVES)
        _, moments = quick(lambda v, x: NETWORK.apply(v, x, mixtures, "batch", mutable=["moments"]))(variables, images)
        return {**variables, **moments}, alphas, images


def function(variables, alphas, statistics="frozen"):
    return NetworkFunction(NETWORK, variables, spaces.mixtures(alphas, 1, PRIMITIVES), statistics)


MEASURES = {
    "cell": (certificates.cell, -5.0),
    "cell, crown_ibp": (functools.partial(certificates.cell, method="crown_ibp", norm="l2", entries=2), -3.0),
    "margin": (certificates.margin, -6.0),
}
NEAR = np.linspace(0, 1e-3, 6)


@pytest.mark.parametrize("name", ["cell", *(pytest.param(name, marks=pytest.mark.slow) for name in MEASURES if name != "cell")])
def test_derivatives_are_those_of_finite_differences_and_no_image_dominates(case, name):
    """Derivatives by alphas and weights together, of every image; none has most of the batch's gradient."""
    measure, log_radius = MEASURES[name]
    variables, alphas, images = case
    with jax.enable_x64():
        labels = quick(lambda x: function(variables, alphas)(x))(images).argmax(1)

        def r(alphas, params):
            net = function({**variables, "params": params}, alphas)
            robustness = measure(net, images, labels, KEY, log_radius=jnp.float64(log_radius)).robustness
            return robustness, robustness

        point = jax.tree.map(np.asarray, (alphas, variables["params"]))
        direction = jax.tree.map(lambda a: np.random.default_rng(a.size).normal(size=a.shape), point)
        moved = lambda t: jax.tree.map(lambda p, d: p + t * d, point, direction)  # noqa: E731
        derived = quick(jax.jacrev(r, (0, 1), has_aux=True))  # with the value, so that one program is compiled

        def slope(gradient):
            pairs = zip(*map(jax.tree.leaves, (gradient, direction)), strict=True)
            return sum((np.asarray(leaf) * d[None]).reshape(3, -1).sum(1) for leaf, d in pairs)

        r_at = lambda t: np.asarray(derived(*moved(t))[1])  # noqa: E731
        differences = [(r_at(t + 1e-7) - r_at(t - 1e-7)) / 2e-7 for t in NEAR]
        gradients = [derived(*moved(t))[0] for t in NEAR]
        # Adaptive slopes jump: a difference now and then straddles one.
        agree = np.isclose([slope(each) for each in gradients], differences, rtol=1e-4, atol=1e-5)
        assert (agree.mean(0) >= 0.8).all()
        norms = np.sqrt(sum((np.asarray(leaf) ** 2).reshape(3, -1).sum(1) for leaf in jax.tree.leaves(gradients[0][0])))
        assert (norms > 0).all() and norms.max() < 0.8 * norms.sum()


@pytest.mark.slow
def test_the_radius_follows_its_implicit_gradient(case):
    """A step of the alphas along dr/dalpha moves the radius at which the margin vanishes by what it says."""
    variables, alphas, images = case
    with jax.enable_x64():
        labels = quick(lambda x: function(variables, alphas)(x))(images).argmax(1)

        def end(alphas):
            return bounds.certified_radius(function(variables, alphas), images, labels, method="ibp", clip=(0, 1), steps=60)

        slope = quick(jax.jacrev(end))(alphas)["normal"]
        step = 1e-4 * jnp.ones_like(slope[0]).at[:, 1].set(-1e-4)
        ends = [quick(end)(alphas | {"normal": alphas["normal"] + s * step}) for s in (1, -1)]
        np.testing.assert_allclose((slope * step[None]).sum((1, 2)), (ends[0] - ends[1]) / 2, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("method", ["ibp", pytest.param("crown_ibp", marks=pytest.mark.slow)])
def test_the_chain_of_cells_contains_what_the_network_does(case, method):
    variables, alphas, images = case
    with jax.enable_x64():
        net, radius = function(variables, alphas), np.array([0.01, 0.003, 0.0])
        generator = np.random.default_rng(0)
        corners = generator.choice([-1.0, 1.0], size=(40, *images.shape))
        inner = generator.uniform(-1, 1, size=(40, *images.shape))
        moves = np.concatenate([corners, inner]) * radius[:, None, None, None]

        @quick
        def everything(x, points):
            sides = [certified(net, x, radius=radius, method=method) for certified in (certificates.chained, bounds.bound)]
            return sides, jax.vmap(net)(points)

        ((lower, upper), whole), logits = jax.tree.map(np.asarray, everything(images, np.asarray(images) + moves))
        assert (lower <= logits + 1e-9).all() and (logits <= upper + 1e-9).all()
        assert (lower <= whole[0] + 1e-9).all() and (upper >= whole[1] - 1e-9).all()
        np.testing.assert_allclose(lower[2], upper[2], atol=1e-9)


@pytest.mark.parametrize("statistics", ["frozen", "running"])
def test_rescaled_states_change_only_the_unit(case, statistics):
    variables, alphas, images = case
    with jax.enable_x64():

        @quick
        def both(x):
            net = function(variables, alphas, statistics)
            return net.rescaled([1e-3, 10.0], zoom=64.0)(64 * x), 64e-2 * net(x)

        np.testing.assert_allclose(*both(images), rtol=1e-9, atol=1e-15)
