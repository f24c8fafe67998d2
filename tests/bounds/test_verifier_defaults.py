"""The methods that the verifier takes by default, and deep networks, whose roundings loose bounds magnify."""

import jax
import numpy as np
import pytest

from dsrna_jax import bounds
from dsrna_jax.bounds.verifier import defaults
from dsrna_jax.bounds.verifier.beta_crown import layers_of
from dsrna_jax.bounds.verifier.pairwise import splittable

RNG = np.random.default_rng(0)


def dense(*widths, activation=jax.nn.relu):
    weights = [
        (RNG.normal(size=pair) * 1.5 / np.sqrt(pair[0])).astype(np.float32) for pair in zip(widths, widths[1:], strict=False)
    ]

    def f(x):
        for w in weights[:-1]:
            x = activation(x @ w)
        return x @ weights[-1]

    return f


def graph_of(f, inputs):
    graphs = []
    jax.eval_shape(lambda x: graphs.append(splittable(f, x)), jax.ShapeDtypeStruct((1, inputs), np.float32))
    return graphs[0]


@pytest.mark.parametrize(
    ("widths", "method"),
    [
        ((30, *[20] * 9, 2), "alpha_crown"),  # small
        ((30, *[20] * 15, 2), "crown"),  # its programs of alpha_crown would compile for long
        ((30, *[1500] * 5, 2), "crown"),  # its alpha_crown would run for long
        ((30, *[20] * 25, 2), "hz_crown"),  # as would the programs of crown
    ],
)
def test_bounds_that_splits_of_hinges_start_from_are_the_tightest_that_take_little_time(widths, method):
    assert defaults.of_hinges(graph_of(dense(*widths), widths[0])) == method


def test_sub_boxes_are_bounded_by_optimised_planes_where_many_inputs_vary():
    graph = graph_of(dense(30, 20, 20, 2, activation=jax.nn.sigmoid), 30)
    assert defaults.of_boxes(graph, 30) == "alpha_crown"
    assert defaults.of_boxes(graph, defaults.FEW_INPUTS) == "crown"
    deep = graph_of(dense(30, *[20] * 14, 2, activation=jax.nn.sigmoid), 30)
    assert defaults.of_boxes(deep, 30) == "crown"


@pytest.mark.parametrize(("layers", "count"), [(6, 6), (7, 0)])
def test_smooth_functions_are_split_where_there_are_few(layers, count):
    assert len(layers_of(graph_of(dense(30, *[20] * layers, 2, activation=jax.nn.sigmoid), 30))) == count
    mixed = dense(30, *[20] * layers, 2, activation=lambda x: jax.nn.relu(jax.nn.sigmoid(x) - 0.5))
    assert len(layers_of(graph_of(mixed, 30))) == layers + count


def test_a_property_is_given_up_only_if_no_choice_of_sides_certifies_it():
    """Zonotopes widen in 10 layers by more than the property leaves, at a point too; hinges whose sides are chosen do not."""
    f, x = dense(*[30] * 10, 1), RNG.uniform(size=(1, 30)).astype(np.float32)
    box, y = bounds.Box(x - np.float32(1e-6), x + np.float32(1e-6)), float(f(x)[0, 0])
    (_, upper), least = bounds.bound(f, x, box=bounds.Box(x, x), method="hz_crown"), 0.01
    assert upper[0, 0] - y > least, "zonotopes are to be loose at the point"
    property_ = bounds.Specification(-np.ones((1, 1), np.float32), np.array([y + least]))
    assert bounds.verify(f, box, property_, method="hz_crown", split="hinges", timeout=1000).status == "verified"
