"""The verifier splits maxima of many values: answers about max pools against exact minima, and the graphs that it bounds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_programs import Program
from jax import lax
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.bounds import forward
from dsrna_jax.bounds.backward import Relaxed, lower_bound
from dsrna_jax.bounds.balls import ball
from dsrna_jax.bounds.rounding import EVALUATION
from dsrna_jax.bounds.verifier.linear_programs import is_piecewise_linear
from dsrna_jax.bounds.verifier.pairwise import splittable

SIDE, CHANNELS = 3, 2
convolve = functools.partial(
    lax.conv_general_dilated, window_strides=(1, 1), padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
)


def pool(x, size, stride, pad, dilation=1):
    window, strides, pads = (1, size, size, 1), (1, stride, stride, 1), ((0, 0), pad, pad, (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, pads, window_dilation=(1, dilation, dilation, 1))


def apply(grid, weights, x):
    kernel, bias, last = weights
    y = jax.nn.relu(convolve(x, kernel) + bias[None, None, None])
    return pool(y, *grid).reshape(len(x), -1) @ last


def problem(grid, seed):
    """A convolution, relu, max pool and row, a box, an offset, and the row's exact least value, 0.003 to 0.3 away from 0."""
    rng = np.random.default_rng(seed)
    shape = pool(jnp.zeros((1, SIDE, SIDE, CHANNELS)), *grid).shape
    kernel, bias, last = (
        (rng.normal(size=size) * scale).astype(np.float32)
        for size, scale in (((3, 3, 1, CHANNELS), 1 / 3), (CHANNELS, 0.2), ((np.prod(shape), 1), np.prod(shape) ** -0.5))
    )
    x = rng.uniform(size=(1, SIDE, SIDE, 1)).astype(np.float32)
    box = bounds.Box(x - np.float32(0.4), x + np.float32(0.4))
    program = Program(box.lower.astype(float), box.upper.astype(float))
    matrix = np.asarray(
        jax.jacobian(lambda x: convolve(x.reshape(x_shape), jnp.asarray(kernel)).ravel())(jnp.zeros(SIDE**2)), float
    )
    maps = program.relu(program.affine(matrix, np.tile(bias.astype(float), SIDE**2), program.inputs))
    maps = maps.reshape(SIDE, SIDE, CHANNELS, -1)
    size, stride, (low, _) = grid
    windows = [
        [i for i in range(start * stride - low, start * stride - low + size) if 0 <= i < SIDE] for start in range(shape[1])
    ]
    groups = [[maps[i, j, c] for i in rows for j in columns] for rows in windows for columns in windows for c in range(CHANNELS)]
    least = program.least(program.affine(last.astype(float).T, 0.0, program.largest(groups))[0])
    offset = np.float32(rng.choice([-1, 1]) * 10 ** rng.uniform(-2.5, -0.5) - least)
    f = jax.tree_util.Partial(functools.partial(apply, grid), (kernel, bias, last))
    return f, box, bounds.Specification(jnp.ones((1, 1)), jnp.array([offset])), least + offset


x_shape = (1, SIDE, SIDE, 1)
OVERLAPPING = (3, 2, (1, 1))


@pytest.mark.parametrize(
    ("grid", "seeds"),
    [
        pytest.param(OVERLAPPING, range(8), marks=pytest.mark.slow),
        pytest.param((2, 1, (0, 0)), range(8), marks=pytest.mark.slow),
        pytest.param((2, 2, (0, 1)), range(8), marks=pytest.mark.slow),
    ],
)
def test_answers_about_max_pools_are_the_exact_ones(grid, seeds):
    for seed in seeds:
        f, box, specification, least = problem(grid, seed)
        found = bounds.verify(f, box, specification, split="hinges", batch=16, method="crown", timeout=600)
        assert found.status == ("verified" if least > 0 else "counterexample"), (seed, least, found)


def maxout(weights, x):
    first, bias, last = weights
    return (x @ first + bias[None]).reshape(len(x), 4, 3).max(2) @ last


def test_answers_about_maxout_networks_are_the_exact_ones():
    """Four maxima of three affine functions each, and least values that are 0.003 to 0.3 away from 0."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        first, bias, last = (rng.normal(size=size).astype(np.float32) for size in ((3, 12), 12, (4, 1)))
        x = rng.uniform(-1, 1, (1, 3)).astype(np.float32)
        box = bounds.Box(x - np.float32(0.5), x + np.float32(0.5))
        program = Program(box.lower.astype(float), box.upper.astype(float))
        groups = program.largest(program.affine(first.T.astype(float), bias.astype(float), program.inputs).reshape(4, 3, -1))
        least = program.least(program.affine(last.T.astype(float), 0.0, groups)[0])
        offset = np.float32(rng.choice([-1, 1]) * 10 ** rng.uniform(-2.5, -0.5) - least)
        f = jax.tree_util.Partial(maxout, (first, bias, last))
        specification = bounds.Specification(np.ones((1, 1), np.float32), offset[None])
        found = bounds.verify(f, box, specification, split="hinges", batch=16, method="crown_ibp", timeout=600)
        assert found.status == ("verified" if least + offset > 0 else "counterexample"), (seed, least + offset, found)


FUNCTIONS = {
    "overlapping": lambda x: pool(x, *OVERLAPPING),
    "wider than the map": lambda x: pool(x, 5, 2, (3, 3)),
    "odd number": lambda x: x.reshape(len(x), -1)[:, :7].max(1),
    "least of two axes": lambda x: x.min((1, 3)),
    "two values": lambda x: jnp.minimum(x, 0.5 * x[:, ::-1]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_graphs_for_splits_are_piecewise_linear_and_their_bounds_hold(name):
    f = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    x, radius = rng.uniform(-1, 1, (2, 4, 4, 2)).astype(np.float32), 0.3

    @quick
    def everything(x, points):
        graph = splittable(f, x)
        assert is_piecewise_linear(graph)
        area = ball([x], radius, "linf", None)
        relaxed = Relaxed(forward.intervals(graph, area, EVALUATION)).prepared(graph, graph.output)
        rows = jnp.stack([jnp.ones_like(graph.output.value), -jnp.ones_like(graph.output.value)])
        return lower_bound(graph, area, relaxed, graph.output, rows), graph.output.value, f(x), jax.vmap(f)(points)

    moves = rng.uniform(-1, 1, (500, *x.shape)).astype(np.float32)
    moves = radius * np.where(rng.uniform(size=moves.shape) < 0.5, np.sign(moves), moves)
    below, of_graph, value, values = map(np.asarray, everything(x, x + moves))
    np.testing.assert_array_equal(of_graph, value)
    changes = (values - value).reshape(500, 2, -1).sum(-1)
    assert np.all(below[0] <= changes.min(0) + 1e-6) and np.all(-below[1] >= changes.max(0) - 1e-6)
    assert np.all(below[0] >= 4 * changes.min(0) - 1)


@pytest.mark.parametrize("grid", [(2, 2, (2, 0)), (2, 1, (1, 1), 2)])
def test_pools_whose_windows_miss_the_map_or_have_holes_keep_their_planes(grid):
    """Their padding is no entry of the map, and -inf has no bounds."""

    def check(x):
        assert not is_piecewise_linear(splittable(lambda x: jnp.maximum(pool(x, *grid), 0.0), x))

    jax.eval_shape(check, np.zeros((1, 4, 4, 2), np.float32))
