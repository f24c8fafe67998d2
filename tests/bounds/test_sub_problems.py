"""Bounds of the verifier's sub-problems hold on their parts of the region, and reach the least value of one neuron."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from verifier_problems import apply, problem

from dsrna_jax import bounds
from dsrna_jax.bounds.backward import lower_bound
from dsrna_jax.bounds.checks import traced
from dsrna_jax.bounds.options import Options
from dsrna_jax.bounds.output import output_bounds
from dsrna_jax.bounds.verifier.beta_crown import Split, borders_of, ends_of, restricted, with_neurons


@pytest.mark.parametrize("activation", [jax.nn.relu, jnp.tanh, jax.nn.silu], ids=lambda activation: activation.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_bounds_of_a_sub_problem_hold_on_its_part_of_the_region_for_any_variables(activation, seed):
    rng = np.random.default_rng(seed)
    weights, box = problem(seed)[0].args[0], problem(seed)[1]
    f = jax.tree_util.Partial(functools.partial(apply, activation=activation), weights)
    points = rng.uniform(box.lower, box.upper, size=(4000, 3)).astype(np.float32)
    layers = [points @ weights[0][0].T + weights[0][1]]
    layers.append(np.asarray(activation(layers[0])) @ weights[1][0].T + weights[1][1])
    rows = rng.normal(size=(1, 1, 2)).astype(np.float32)
    graph = traced(f, box.middle)
    nodes = with_neurons(graph)
    pieces, pairs = nodes[0].operation.pieces, nodes[0].operation.has_two_shares

    @jax.jit
    def bound(first, last, multipliers, shares):
        graph = traced(f, box.middle)
        known = output_bounds(graph, Options(method="crown", box=box))
        by_node = lambda parts: dict(zip(with_neurons(graph), parts, strict=True))  # noqa: E731
        ends = ends_of(graph, known.relaxations[0].intervals)
        borders = borders_of(graph, ends)
        parts = restricted(graph, ends, borders, by_node(first), by_node(last))
        relaxed = Split.of(graph, parts, by_node(shares), by_node(multipliers), {})
        lower = lower_bound(graph, known.ball, relaxed, graph.output, jnp.asarray(rows))[0, 0]
        return lower, (rows[0, 0] * graph.output.value[0]).sum(), list(borders.values())

    def random_variables():
        first = [np.zeros((1, 5), np.int8) for _ in layers]
        last = [np.full((1, 5), pieces - 1, np.int8) for _ in layers]
        multipliers = [rng.exponential(0.1, size=(1, 5)).astype(np.float32) for _ in layers]
        for low, high, multiplier in zip(first, last, multipliers, strict=True):
            for place in np.flatnonzero(rng.uniform(size=5) < 0.4):
                low[0, place], high[0, place] = np.sort(rng.integers(pieces, size=2))
            multiplier *= np.where(high < pieces - 1, rng.choice([-1, 1], size=(1, 5)), 1)
            multiplier *= np.where(multiplier > 0, low > 0, high < pieces - 1)
        shares = [rng.uniform(size=(1, 5)).astype(np.float32) for _ in range(2 * len(layers))]
        return first, last, multipliers, list(zip(shares[::2], shares[1::2], strict=True)) if pairs else shares[::2]

    tightened = tried = 0
    for _ in range(60):
        first, last, multipliers, shares = random_variables()
        below, value, borders = jax.device_get(bound(first, last, multipliers, shares))
        inside = np.ones(len(points), bool)
        for layer, border, low, high in zip(layers, borders, first, last, strict=True):
            ends = np.concatenate([np.full((1, 5), -np.inf), border[:, 0], np.full((1, 5), np.inf)])
            least, most = (np.take_along_axis(ends, number.astype(int), 0)[0] for number in (low, high + 1))
            inside &= np.all((least <= layer) & (layer <= most), 1)
        if not inside.any():
            continue
        true = np.asarray(activation(layers[1][inside])) @ weights[2][0].T + weights[2][1]
        assert value + below <= (true @ rows[0, 0]).min() + 1e-6
        whole = [0 * low for low in first], [0 * high + pieces - 1 for high in last], [0 * m for m in multipliers]
        tightened += below > bound(*whole, shares)[0]
        tried += 1
    assert tried > 5 and tightened > 0


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("activation", [jax.nn.relu, jnp.tanh, jax.nn.silu, jnp.exp], ids=lambda activation: activation.__name__)
def test_multipliers_find_the_least_value_of_one_neuron_on_its_part(activation, sign):
    """Multipliers from -5 to 5, some as large as the slopes of the planes leave the value at a border, and no more."""
    f, box = lambda x: sign * activation(x), bounds.Box(jnp.array([[-2.0]]), jnp.array([[1.5]]))
    pieces = with_neurons(traced(f, box.middle))[0].operation.pieces

    @jax.jit
    def bound(first, last, multiplier):
        graph = traced(f, box.middle)
        known = output_bounds(graph, Options(method="crown", box=box))
        (node,), ends = with_neurons(graph), ends_of(graph, known.relaxations[0].intervals)
        borders = borders_of(graph, ends)
        part = lambda number: {node: jnp.full((1, 1), number)}  # noqa: E731
        parts = restricted(graph, ends, borders, part(first), part(last))
        _, shares = node.operation.adjustable(node, [parts.ends[node.parents[0].index][0]])
        relaxed = Split.of(graph, parts, {node: shares}, part(multiplier), {})
        lower = lower_bound(graph, known.ball, relaxed, graph.output, jnp.ones((1, 1, 1)))[0, 0]
        return lower + graph.output.value[0, 0], borders[node.index][:, 0, 0]

    for first, last in [(0, 0), (pieces - 1, pieces - 1), (pieces // 2, pieces - 1), (pieces // 3, pieces // 2)]:
        lower, borders = jax.vmap(functools.partial(bound, first, last))(jnp.linspace(-5, 5, 201))
        allowed = lambda m: (first > 0 or m <= 0) and (last < pieces - 1 or m >= 0)  # noqa: E731, B023
        best = max(float(b) for b, m in zip(lower, np.linspace(-5, 5, 201), strict=True) if allowed(m))
        ends = np.concatenate([[-2.0], borders[0], [1.5]])
        values = f(jnp.linspace(ends[first], ends[last + 1], 1001))
        # The planes below a piece are off by its curvature, at most width^2 / 8 times the second derivative.
        off = 0.0 if activation is jax.nn.relu else np.exp(1.5) * (ends[last + 1] - ends[first]) ** 2 / 8
        assert values.min() - off - 0.15 <= best <= values.min() + 1e-5, (first, last)
