"""Errors of one line for functions that cannot be bounded."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.bounds import explanation
from dsrna_jax.bounds.explanation import memory_of_device
from dsrna_jax.bounds.methods import RECORDS
from dsrna_jax.bounds.rules import registry
from dsrna_jax.errors import InputError

X = np.random.default_rng(0).uniform(size=(3, 4)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
PERMUTATION = np.array([2, 0, 1, 3])


def linear(x):
    return x @ W


def error(f, x=X, radius=0.1, **options) -> str:
    with pytest.raises(InputError) as caught:
        bounds.bound(f, x, radius=radius, **options)
    (line,) = str(caught.value).splitlines()
    return line


MIXING = {
    "mean": lambda x: x - x.mean(0, keepdims=True),
    "batch norm": lambda x: (x - x.mean(0, keepdims=True)) / jnp.sqrt(x.var(0, keepdims=True) + 1e-5),
    "reversed": lambda x: x[::-1],
    "roll": lambda x: jnp.roll(x, 1, 0),
    "gram": lambda x: x @ x.T,
    "covariance": lambda x: x.T @ x,
    "slice": lambda x: x[:2],
    "sum": lambda x: x.sum(),
    "cumulated": lambda x: jnp.cumsum(x, 0),
    "gathered": lambda x: x[jnp.arange(len(x)) // 2],
    "gathered before": lambda x: x[jnp.arange(len(x)) - 1, 0],
    "taken": lambda x: jnp.take(x, jnp.arange(len(x))[::-1], axis=0),
    "reshaped": lambda x: x.reshape(x.shape[1], -1).T,
    "flattened": lambda x: x.reshape(-1),
    "padded": lambda x: lax.pad(x, np.float32(0), [(1, -1, 0), (0, 0, 0)]),
    "mixed": lambda x: jnp.ones((len(x), len(x))) @ x,
    "pooled": lambda x: lax.reduce_window(x, -np.inf, lax.max, (3, 1), (1, 1), "SAME"),
    "averaged": lambda x: lax.reduce_window(x, 0.0, lax.add, (3, 1), (1, 1), "SAME"),
    "convolved": lambda x: lax.conv_general_dilated(
        x[None], np.ones((3, 4, 2), np.float32), (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")
    ),
    "scattered": lambda x: jnp.zeros_like(x).at[jnp.arange(len(x))[::-1]].set(x),
    "scanned": lambda x: lax.scan(lambda c, a: (c + a, c), jnp.zeros(4), x)[1],
    "more when larger": lambda x: x if len(x) == 3 else jnp.tanh(x),
    "transposed": lambda x: x.T,
}  # fmt: skip


def test_functions_that_go_through_the_batch_in_blocks_are_bounded_as_the_message_advises():
    weights = W[:, :2]

    def in_blocks(x):
        return lax.map(lambda row: jnp.tanh(row @ weights), x, batch_size=2)

    assert "bound jax.vmap(lambda example: f(example[None])[0])" in error(in_blocks)
    advised, direct = jax.vmap(lambda example: in_blocks(example[None])[0]), lambda x: jnp.tanh(x @ weights)
    both = quick(lambda x: [bounds.bound(f, x, radius=0.1, method="ibp") for f in (advised, direct)])(X)
    np.testing.assert_allclose(*both, rtol=1e-5)


@pytest.mark.parametrize("name", MIXING)
def test_functions_that_mix_examples_are_refused(name):
    assert re.search("not batch-separable|must return .batch", error(MIXING[name]))
    jitted = jax.jit(lambda x: bounds.bound(MIXING[name], x, radius=0.1))  # also where all numbers are traced
    with pytest.raises(InputError):
        jitted(X)


def test_moving_entries_within_examples_is_allowed_and_exact():
    for f in (
        lambda x: x.reshape(len(x), 2, 2).swapaxes(0, 1).reshape(2, -1, 2).transpose(1, 2, 0).reshape(len(x), -1),
        lambda x: jnp.take_along_axis(x, jnp.broadcast_to(PERMUTATION, x.shape), 1),
        lambda x: x.at[jnp.arange(len(x)), 1].set(0.0),
        lambda x: x[jnp.arange(len(x)), 1][:, None],
        lambda x: jnp.concatenate(jnp.split(x, 2, 1), 1)[:, ::-1],
        lambda x: jax.vmap(lambda row: jnp.convolve(row, jnp.ones(2)))(x),
        lambda x: jax.vmap(lambda row: row[PERMUTATION] @ W)(x),
    ):
        (lower, upper), value = quick(lambda x, f=f: (bounds.bound(f, x, radius=0.1, method="crown"), f(x)))(X)
        np.testing.assert_allclose(np.add(lower, upper) / 2, value, rtol=1e-5, atol=1e-6)


def test_what_the_output_does_not_depend_on_may_have_no_bounds():
    for f, same in (
        (lambda x: jax.jit(lambda values, places: values)(*lax.top_k(x, 2)), lambda x: lax.top_k(x, 2)[0]),
        (lambda x: jnp.concatenate([x[:0], x + x.sum(0)[None][:, :0].sum()]), lambda x: x),
        (lambda x: lax.cond(True, lambda a, b: a, lambda a, b: b, x, x[::-1]), lambda x: x),
    ):
        sides = quick(lambda x, f=f, same=same: [bounds.bound(each, x, radius=0.1) for each in (f, same)])(X)
        np.testing.assert_allclose(*sides, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn])
def test_functions_that_compute_in_narrow_floats_are_refused(dtype):
    name = jnp.dtype(dtype).name
    for f in (
        lambda x: linear(x.astype(dtype).astype(jnp.float32)),
        lambda x: jax.jit(lambda x: x.astype(dtype) @ jnp.asarray(W, dtype))(x).astype(jnp.float32),
        lambda x: lax.dot_general(x, jnp.asarray(W, x.dtype), (((1,), (0,)), ((), ())), preferred_element_type=dtype).astype(
            x.dtype
        ),
    ):
        with pytest.raises(NotImplementedError, match=f"in {name}.*float32"):
            bounds.bound(f, X, radius=0.1)
    assert name in error(linear, X.astype(dtype))
    with pytest.raises(NotImplementedError, match="by the algorithm BF16_BF16_F32"):
        bounds.bound(lambda x: jnp.dot(x, W, precision="BF16_BF16_F32"), X, radius=0.1)
    with pytest.raises(NotImplementedError, match="reduce_precision"):
        bounds.bound(lambda x: lax.reduce_precision(x, 5, 3), X, radius=0.1)


@pytest.mark.parametrize(
    "f",
    [
        jax.nn.gelu,
        lambda x: jnp.logaddexp(x, 0.5),
        lambda x: jnp.where(x > 0.05, x, 0.05 * jnp.exp(x - 0.05)),
        jax.nn.standardize,
        pytest.param(jax.nn.softplus, marks=pytest.mark.slow),
        pytest.param(jax.nn.mish, marks=pytest.mark.slow),
        pytest.param(lambda x: jnp.where(x > 0, x, -x), marks=pytest.mark.slow),
        pytest.param(lambda x: (x - x.mean(1, keepdims=True)) / jnp.sqrt(x.var(1, keepdims=True) + 1e-5), marks=pytest.mark.slow),
    ],
)
def test_float32_inputs_are_bounded_in_float32_also_where_x64_is_on(f):
    with jax.enable_x64(True):
        sides = quick(lambda x: (f(x), *bounds.bound(lambda x: f(x), x, radius=0.1, method="crown_ibp")))
        value, lower, upper = map(np.asarray, sides(X))
        assert lower.dtype == np.float32 and np.all(lower <= value) and np.all(value <= upper)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.where(x > 0.5, x, np.zeros((1, 4))),
        lambda x: jax.nn.one_hot(x.argmax(1), 4) + x,
        lambda x: jnp.select([x > 0.5, x > 0.2], [x, 2 * x], np.zeros((1, 4))),
    ],
    ids=["where", "one_hot", "select"],
)
def test_choices_between_values_of_two_types_are_bounded_where_x64_is_on(f):
    with jax.enable_x64(True):
        sides = quick(lambda x: (f(x), *bounds.bound(f, x, radius=0.1, method="crown")))
        value, lower, upper = map(np.asarray, sides(X))
        assert lower.dtype == upper.dtype == value.dtype == np.float64 and np.all(lower <= value) and np.all(value <= upper)


def test_whole_numbers_are_bounded_in_the_type_of_what_they_depend_on():
    def f(x):
        place = x.argmax(1)
        chosen = jnp.where(x[:, 0] > 0.5, place, 3 - place)
        return jnp.stack([x[jnp.arange(len(x)), place], jnp.concatenate([chosen[:, None], 0 * place[:, None] + 1], 1).sum(1)], 1)

    with jax.enable_x64(True):
        sides = quick(lambda x: (f(x), *bounds.bound(f, x, radius=0.1, method="ibp")))(X.astype(np.float64))
        value, lower, upper = map(np.asarray, sides)
        assert lower.dtype == np.float64 and np.all(lower <= value) and np.all(value <= upper)


def test_bad_input_is_refused_in_one_line():
    assert "integer" not in error(linear, np.zeros((2, 4), np.int32)) and "int32" in error(linear, np.zeros((2, 4), np.int32))
    assert "at least 0, got -0.1" in error(linear, radius=-0.1)
    assert "at least 0" in error(linear, radius=np.nan)
    assert "one for each of the 3 examples" in error(linear, radius=np.ones(2))
    assert all(norm in error(linear, norm="l3") for norm in bounds.NORMS)
    assert all(method in error(linear, method="crowns") for method in bounds.METHODS)
    assert "not finite" in error(lambda x: x @ (W * np.nan))
    assert "holds -inf" in error(lambda x: jnp.where(np.arange(4) > 1, -jnp.inf, x))
    assert "clip" in error(linear, X + 1, clip=(0.0, 1.0)) and "(low, high)" in error(linear, clip=(1.0, 0.0))
    assert "chunk=0: expected at least 1" in error(linear, chunk=0)
    assert "iterations=-1: expected at least 0" in error(linear, iterations=-1)
    assert "does not depend on x" in error(lambda x: jnp.ones((len(x), 2)))
    assert "one array, got 2" in error(lambda x: (x, x))
    assert "relu_0" in error(lambda x: jax.nn.relu(linear(x)), given={"relu_7": (X, X)})
    assert "any size" in error(lambda x: x * jnp.ones((3, 4)))
    assert "[batch, ...]" in error(linear, np.float32(3.0))


@pytest.mark.parametrize(
    "f,labels,said",
    [
        (linear, [0, 1, 4], "labels go from 0 to 4, but the network has 4 classes"),
        (linear, [0, 1, -1], "labels go from -1 to 1"),
        (linear, [0, 1], "one for each of 3 images"),
        (linear, [0.0, 1.0, 2.0], "integers"),
        (lambda x: x.reshape(3, 2, 2) if len(x) == 3 else x.reshape(-1, 2, 2), [0, 1, 1], "logits"),
        (lambda x: x.reshape(len(x), 2, 2), [0, 1, 1], r"expected logits \[3, classes\] .* got float32 \(3, 2, 2\)"),
        (lambda x: linear(x)[:, :1], [0, 0, 0], "logits"),
    ],
)
@pytest.mark.usefixtures("unchecked_signatures")
def test_margins_need_logits_and_labels(f, labels, said):
    for function in (bounds.margin, bounds.certified_radius):
        radius = {"radius": 0.1} if function is bounds.margin else {}
        with pytest.raises(InputError, match=said):
            function(f, X, np.array(labels), **radius)


def test_a_primitive_without_a_rule_is_named_with_the_line_that_calls_it():
    def f(x):
        return lax.zeta(linear(x), 2.0)  # the line

    with pytest.raises(NotImplementedError) as caught:
        bounds.bound(f, X, radius=0.1)
    said = str(caught.value)
    line = f.__code__.co_firstlineno + 1
    assert "zeta" in said and f"{__file__}:{line}" in said and "register" in said and "\n" not in said


@pytest.mark.parametrize(
    "f,said",
    [
        (lambda x: jax.vmap(lambda v: lax.while_loop(lambda h: h.sum() < 10, lambda h: h + 1, v))(x), "while"),
        (lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), "reduce_sum"),
        (lambda x: x * (jnp.round(x).astype(int) << 1), "shift_left of whole numbers"),
        (lambda x: jax.vmap(lambda n: jax.random.uniform(jax.random.key(n), 4))((x[:, 0] > 0).astype(int)), "random_seed"),
        (lambda x: jax.vmap(lambda x: jnp.convolve(x, x, mode="same"))(x), "conv_general_dilated with two bounded operands"),
        (lambda x: jnp.where((x > 0)[::-1], x, 0), "not batch-separable"),
        (lambda x: jnp.where((x > 0).T, x.T, 0), "batch on axis 1"),
        (lambda x: lax.scan(lambda c, a: (c + a, c), jnp.zeros(4), x)[1], "one example to the next"),
        (lambda x: x > 0, "truth values"),
        (lambda x: jnp.take(x, jnp.argmax(x, 1), 0), "one example to another"),
        (lambda x: (x > 0.5).astype(int).cumsum(1)[:, np.array([0, 2])] * 1.0, "gather.*single entries"),
        (lambda x: lax.approx_max_k(x, 2, aggregate_to_topk=False)[0], "take lax.top_k"),
    ],
)
def test_what_has_no_bounds_is_refused_by_name(f, said):
    with pytest.raises((NotImplementedError, InputError), match=said):
        quick(lambda x: bounds.bound(f, x, radius=0.1))(X)


def test_a_method_that_needs_more_memory_than_is_free_is_refused():
    with memory_of_device(1000):
        said = error(lambda x: jax.nn.relu(linear(x)) @ W, method="crown")
    assert "crown would take about" in said and "1.0 kB are free" in said and "chunk" in said


def network(x):
    return jax.nn.relu(linear(x)) @ W


BOUNDED = {
    "bound": lambda: bounds.bound(network, X, radius=0.1, method="crown"),
    "margin": lambda: bounds.margin(network, X, np.zeros(3, int), radius=0.1, method="crown"),
    "certified_radius": lambda: bounds.certified_radius(network, X, np.zeros(3, int), method="crown"),
    "linear": lambda: bounds.linear(network, X, radius=0.1, method="crown"),
    "intermediate": lambda: bounds.intermediate(network, X, radius=0.1, method="crown"),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_all_bounds_are_refused_where_memory_does_not_suffice(name):
    with memory_of_device(1000), pytest.raises(InputError, match="1.0 kB are free"):
        BOUNDED[name]()


def test_labels_are_checked_before_anything_is_bounded():
    with memory_of_device(1000), pytest.raises(InputError, match="labels"):
        bounds.margin(network, X, np.full(3, 4), radius=0.1, method="crown")


def test_bounds_are_refused_by_the_memory_of_the_device_that_they_are_traced_for(monkeypatch):
    traced = jax.make_jaxpr(lambda x: bounds.bound(lambda x: jax.nn.relu(linear(x)) @ W, x, radius=0.1, method="crown"))
    with memory_of_device(1000), pytest.raises(InputError, match="1.0 kB are free"):
        traced(X)
    monkeypatch.setattr(explanation, "open", None, raising=False)  # what this host has free is not read
    with memory_of_device(None):
        traced(X)


def test_every_method_has_a_record_and_every_primitive_one_rule():
    assert tuple(RECORDS) == bounds.METHODS
    names = [name for family in registry.FAMILIES for name in family.RULES]
    assert len(names) == len(set(names))


def test_the_documentation_lists_every_primitive_that_has_a_rule():
    page = (Path(__file__).parents[2] / "docs" / "bounded_operations.md").read_text()
    table = "".join(line for line in page.splitlines() if line.startswith("| "))
    assert set(re.findall(r"`([\w-]+)`", table)) == set(registry.RULES)


def test_float64_inputs_are_bounded_in_float32_where_x64_is_off():
    lower, upper = jax.eval_shape(lambda: bounds.bound(linear, X.astype(np.float64), radius=0.1))
    assert lower.dtype == upper.dtype == jnp.float32


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.nanvar(x, axis=1, keepdims=True),
        lambda x: jnp.linalg.norm(jax.nn.relu(x - 2), ord=3, axis=1),
        lambda x: x * jnp.argmax(jnp.isnan(x), axis=1, keepdims=True),
        lambda x: x * jnp.where(jnp.isnan(x).sum(1, keepdims=True) > 0, 2.0, 1.0),
        lambda x: jax.vmap(lambda values: jnp.interp(np.array([0.5, 1.5], np.float32), np.arange(4.0), values))(x),
    ],
)
def test_functions_of_numpy_whose_parts_are_constants_are_bounded(f):
    sides = quick(lambda x: (f(x), *bounds.bound(f, x, radius=0.1, method="ibp")))
    value, lower, upper = map(np.asarray, sides(X))
    assert (lower <= value).all() and (value <= upper).all() and np.isfinite([lower, upper]).all()
