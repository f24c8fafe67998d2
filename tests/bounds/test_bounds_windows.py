"""Backward rows on windows against rows that hold all entries, on random networks over the operations that keep windows."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick
from windowed_layers import KEEP_WINDOWS, LAYERS, conv, network, normal, plain_convolution, rectified

from dsrna_jax.bounds import backward, bound, forward, linear, linear_bounds
from dsrna_jax.bounds.backward import Relaxed, lower_bound, sides_of
from dsrna_jax.bounds.balls import ball, region
from dsrna_jax.bounds.checks import traced
from dsrna_jax.bounds.rounding import EVALUATION, EXACT_VALUES
from dsrna_jax.bounds.windows import frames, single, tracked


def both_ways(f, x, radius, norm, clip, chunk):
    """[(bounds with windows, bounds without)] of the input of the last relaxed operation, and of the output."""
    graph = traced(f, x)
    area = region([x], radius=radius, norm=norm, clip=clip, box=None, channel_axis=1 if norm == "l0" else None)
    intervals = forward.intervals(graph, area, EVALUATION)
    results = []
    for node in [*forward.relaxed_inputs(graph)][-1:] + [graph.output]:
        relaxed = Relaxed(intervals).prepared(graph, node)
        bound = lambda rows, node=node, relaxed=relaxed: lower_bound(graph, area, relaxed, node, rows)  # noqa: E731
        results.append([sides_of(node, bound, chunk=chunk, graph=graph, axes=axes) for axes in (tracked(graph, node), ())])
    return results


IMAGES = np.random.default_rng(3).uniform(0.2, 0.8, (2, 2, 7, 6))


HALF = (len(LAYERS) + 1) // 2  # so many pairs hold every layer


@pytest.mark.parametrize("number", [*range(HALF), *(pytest.param(n, marks=pytest.mark.slow) for n in range(HALF, len(LAYERS)))])
def test_windows_change_no_bound(number):
    """Over pairs of layers, norms and chunks: the same as rows that hold all entries, up to the order of sums."""
    other = LAYERS[(number + HALF) % len(LAYERS)]
    layers = [plain_convolution, rectified, LAYERS[number], other]
    balls = [("linf", (0.0, 1.0)), ("l2", None), ("l2", (0.0, 1.0)), ("l1", (0.0, 1.0)), ("linf", None), ("l0", (0.0, 1.0))]
    norm, clip = balls[number % 6]
    radius = 3.0 if norm == "l0" else 0.05
    with jax.enable_x64(True):
        x = jnp.asarray(IMAGES)
        f = network(layers, x, number)
        compared = quick(lambda x, radius: both_ways(f, x, radius, norm, clip, chunk=[40, 1000][number % 2]))(x, radius)
        for windows, dense in compared:
            for a, b in zip(windows, dense, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_bounds_on_windows_in_float32_hold_the_exact_minima_of_affine_layers():
    """In every norm, and no looser than by rounding; the minima are those of the Jacobian in float64."""
    x = np.tile(IMAGES, (1, 1, 2, 2)).astype(np.float32)
    rng = np.random.default_rng(5)
    kernels = [np.float32(normal(rng, *shape)) for shape in ((3, 2, 3, 3), (2, 3, 3, 2))]

    def f(x):
        first, second = (kernel.astype(x.dtype) for kernel in kernels)
        return conv(conv(x, first, 1, (1, 1)), second, 2, (0, 1))

    regions = {"linf": (1e-3, None), "l2": (0.7, None), "l1": (0.3, None), "l0": (3.0, (0.0, 1.0))}

    def sides(x, norm):
        radius, clip = regions[norm]
        graph = traced(f, x)
        area = region([x], radius=radius, norm=norm, clip=clip, box=None, channel_axis=1 if norm == "l0" else None)
        relaxed = Relaxed(forward.intervals(graph, area, EXACT_VALUES)).prepared(graph, graph.output)
        axes = tracked(graph, graph.output)
        assert axes == (2, 3)
        return sides_of(
            graph.output, lambda rows: lower_bound(graph, area, relaxed, graph.output, rows), chunk=64, graph=graph, axes=axes
        )

    found = quick(lambda x: {norm: sides(x, norm) for norm in regions})(x)
    with jax.enable_x64(True):
        jacobian = np.asarray(quick(jax.jacobian(lambda x: f(x[None])[0]))(jnp.asarray(x[0], float)))[None]
    low, high = (end - np.asarray(x, float)[:, None, None, None] for end in (0.0, 1.0))
    gains = np.maximum(-jacobian * low, -jacobian * high).sum(-3)  # the channels of a pixel change together
    size = np.abs(jacobian)
    falls = {
        "linf": 1e-3 * size.sum((-3, -2, -1)),
        "l2": 0.7 * np.sqrt(np.square(size).sum((-3, -2, -1))),
        "l1": 0.3 * size.max((-3, -2, -1)),
        "l0": np.sort(gains.reshape(*gains.shape[:-2], -1))[..., -3:].sum(-1),
    }
    for norm, fall in falls.items():
        below = np.asarray(found[norm][0], float)
        assert np.all(below <= -fall) and np.all(below >= -fall * (1 + 3e-4)), norm


@pytest.mark.parametrize("layer", sorted(KEEP_WINDOWS, key=LAYERS.index))
def test_rows_hold_no_more_than_their_receptive_field(layer):
    """Through a convolution of 3x3 and a layer that is given, the window at the first relu holds what the entry depends on."""
    x = np.tile(IMAGES, (1, 1, 3, 3)).astype(np.float32)[:1]
    f = network([rectified, layer, plain_convolution], x, 1)

    @quick
    def computed(x):
        graph = traced(f, x)
        axes = tracked(graph, graph.output)
        assert axes == (2, 3)
        reached = dict(frames(graph, graph.output, single(graph.output, axes)))
        first = next(n for n in graph.nodes if n.parents == graph.inputs)
        return [reached[first][2 + i].size for i in range(2)], jax.jacobian(lambda x: f(x)[0, 0, 3, 3])(x)

    sizes, depends = jax.tree.map(np.asarray, computed(x))
    assert sizes == [np.ptp(np.nonzero(depends.any((0, 1, 3 - i)))[0]) + 1 for i in range(2)]


def test_the_outputs_of_convolutions_are_bounded_on_windows_as_by_rows_that_hold_all_entries(monkeypatch):
    with jax.enable_x64(True):
        x, rng = jnp.asarray(np.tile(IMAGES, (1, 1, 2, 1))), np.random.default_rng(0)
        first, second = normal(rng, 2, 2, 3, 3), normal(rng, 2, 2, 3, 2)
        f = lambda x: conv(jax.nn.relu(conv(x, first, 1, (1, 1))), second, 2, (0, 1))  # noqa: E731

        def every(x):
            of = {"radius": 0.1, "chunk": 7}
            return bound(f, x, method="alpha_crown", iterations=1, **of), linear(f, x, **of)

        widest, found, expected = [], [], []
        for results, axes_of in ((found, backward.window_axes), (expected, lambda graph, node: ())):
            axes_of = lambda *pair, axes_of=axes_of: widest.append(axes_of(*pair)) or widest[-1]  # noqa: E731
            for module in (backward, linear_bounds):
                monkeypatch.setattr(module, "window_axes", axes_of)
            results.append(quick(lambda x: every(x))(x))
        assert {(2, 3), (2,)} & set(widest)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11), found, expected)


def test_bounds_have_the_same_derivatives_by_weights_and_by_slopes_of_each_row():
    with jax.enable_x64(True):
        x, rng = jnp.asarray(IMAGES), np.random.default_rng(0)
        kernels = [normal(rng, 3, 2, 3, 3), normal(rng, 2, 3, 3, 3)]

        def bounds(kernels, share, with_windows):
            graph = traced(lambda x: conv(jax.nn.relu(conv(x, kernels[0], 1, (1, 1))), kernels[1], 2, (0, 1)), x)
            area = ball([x], 0.1, "linf", None)
            intervals = forward.intervals(graph, area, EVALUATION)
            (relu,) = (n for n in graph.nodes if n.name == "relu_0")

            def bound(rows):
                array = rows.array[:, 0]
                entry = (array * jnp.arange(array[0].size).reshape(array[0].shape)[None]).sum((1, 2, 3))
                slopes = jnp.square(jnp.sin(entry)).reshape(-1, 1, 1, 1, 1) * share[None]
                return lower_bound(graph, area, Relaxed(intervals, {relu: slopes}), graph.output, rows)

            axes = tracked(graph, graph.output) if with_windows else ()
            sides = sides_of(graph.output, bound, chunk=10**6, graph=graph, axes=axes)
            order = jnp.arange(sides[0].size).reshape(sides[0].shape)
            return sum((jnp.sin(order) * side).sum() for side in sides)

        share = jnp.asarray(rng.uniform(size=(2, 3, 7, 6)))
        gradient = jax.grad(bounds, (0, 1))
        windows, dense = quick(lambda k, s: [gradient(k, s, way) for way in (True, False)])(kernels, share)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), windows, dense)


@pytest.mark.parametrize("mode", ["edge", "mean", "linear_ramp"])
def test_padded_entries_have_the_bounds_of_the_matrix_that_pads(mode):
    """`jnp.pad` joins the batch with empty borders along the axis of the batch."""
    w, x = normal(np.random.default_rng(0), 6, 3), IMAGES[:, 0, 0, :4].astype(np.float32)
    pad = lambda x: jnp.pad(x, ((0, 0), (1, 1)), mode=mode)  # noqa: E731
    matrix = quick(pad)(np.eye(4, dtype=np.float32))
    of = lambda padded, x: bound(lambda x: jax.nn.relu(padded(x) - 0.5) @ w, x, radius=0.2, method="crown")  # noqa: E731
    found, expected = quick(lambda x: (of(pad, x), of(lambda x: x @ matrix, x)))(x)
    chex.assert_trees_all_close(found, expected, atol=1e-5)
