"""Networks as frameworks write them, names of intermediate values and bounds that are given, and what `explain` tells."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.bounds.explanation import memory_of_device
from dsrna_jax.errors import InputError

X = np.random.default_rng(0).uniform(size=(3, 4)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)


def linear(x):
    return x @ W


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(3, (3, 3))(x[..., None].reshape(len(x), 2, 2, 1))
        x = nn.max_pool(nn.relu(nn.BatchNorm(use_running_average=True)(x)), (2, 2), (1, 1))
        return nn.Dense(3)(x.reshape(len(x), -1))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.first, self.norm = nnx.Linear(4, 5, rngs=rngs), nnx.BatchNorm(5, use_running_average=True, rngs=rngs)
        self.second = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x):
        return self.second(nnx.gelu(self.norm(self.first(x))))


@jax.tree_util.register_pytree_node_class
class Module:  # a callable pytree for one example, as in Equinox
    def __init__(self, weights):
        self.weights = weights

    def tree_flatten(self):
        return (self.weights,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)

    def __call__(self, x):
        return self.weights[1] @ jax.nn.relu(self.weights[0] @ x)


def test_linen_and_nnx_networks_and_callable_pytrees_are_bounded_as_they_are():
    linen = Linen()
    variables = quick(linen.init)(jax.random.key(0), X)
    module = Module([W, W[:3]])
    for f in (lambda x: linen.apply(variables, x), Nnx(nnx.Rngs(0)), jax.vmap(module)):
        margin_of = lambda x, f=f: bounds.margin(f, x, np.array([0, 1, 2]), radius=0.01, method="crown_ibp")  # noqa: E731
        margin, clean = map(np.asarray, quick(lambda x, f=f, margin_of=margin_of: (margin_of(x), f(x)))(X))
        gaps = np.array([min(clean[i, i] - clean[i, j] for j in range(3) if j != i) for i in range(3)])
        assert np.all(margin < gaps) and np.all(margin > gaps - 0.5)


def test_intermediate_bounds_are_named_and_tighten_other_methods_when_given():
    f = lambda x: jnp.maximum(jax.nn.relu(linear(x)) @ W, jnp.tanh(x)) @ W  # noqa: E731
    bound = lambda method, given=None: quick(lambda given: bounds.bound(f, X, radius=0.2, method=method, given=given))(given)  # noqa: E731
    intermediate = quick(lambda x: bounds.intermediate(f, x, radius=0.2, method="crown"))(X)
    assert set(intermediate) == {"relu_0", "relu_1", "max_0.0", "max_0.1"}  # the operand of tanh is the input
    hidden = np.asarray(linear(X))
    lower, upper = intermediate["relu_0"]
    assert np.all(lower <= hidden) and np.all(hidden <= upper)
    mixed, loose, tight = bound("crown_ibp", intermediate), bound("crown_ibp"), bound("crown")
    width = lambda sides: float((sides[1] - sides[0]).mean())  # noqa: E731
    assert width(tight) <= 1.00001 * width(mixed) < 0.99 * width(loose)
    narrow = {"relu_0": (hidden - 1e-4, hidden + 1e-4)}  # trusted: the bounds are of those points alone
    assert width(bound("ibp", narrow)) < width(bound("ibp"))


def test_bounds_that_are_given_take_no_memory_to_bound():
    first, second = jnp.ones((4, 300)), jnp.ones((300, 300))
    f = lambda x: jax.nn.relu(jax.nn.relu(x @ first) @ second)[:, :2]  # noqa: E731

    def bound(x, method):
        known = None if method is None else bounds.intermediate(f, x, radius=0.1, method=method)
        return bounds.bound(f, x, radius=0.1, method="alpha_crown", given=known)

    with memory_of_device(4_000_000):
        with pytest.raises(InputError, match="alpha_crown would take about"):
            jax.eval_shape(lambda x: bound(x, None), X)
        jax.eval_shape(lambda x: bound(x, "ibp"), X)


def test_explain_counts_operations_neurons_and_outputs():
    def f(x):
        y = jnp.pad(jax.nn.relu(linear(x)), ((0, 0), (0, 1)))
        return jnp.abs(y).max(1, keepdims=True) + jax.nn.relu(y)[:, :2]

    told = bounds.explain(f, jax.ShapeDtypeStruct((7, 4), jnp.float32))
    assert {k: v for k, v in told.operations.items() if k != "affine"} == {"relu": 2, "abs": 1, "max": 1}
    assert (told.outputs, told.neurons) == (2, 4 + 4 + 5 + 5)  # max of five values relaxes their leads too
    assert set(told.costs) == set(bounds.METHODS)
    assert (
        told.costs["ibp"].passes < told.costs["crown_ibp"].passes < told.costs["crown"].passes < told.costs["alpha_crown"].passes
    )
    assert all(cost.bytes > 0 for cost in told.costs.values())
    lines = str(told).splitlines()
    assert len(lines) == 3 + len(bounds.METHODS) and len({len(line) for line in lines[2:]}) == 1
    assert "2 relu" in lines[0] and "18 neurons" in lines[1] and lines[2].split() == ["method", "clean", "passes", "memory"]


@pytest.mark.parametrize(
    ("method", "chunk"), [("crown", 16), ("hz_crown", 16), pytest.param("alpha_crown", 64, marks=pytest.mark.slow)]
)
def test_explained_memory_is_within_a_factor_of_three_of_the_compiled_program(method, chunk):
    rng = np.random.default_rng(0)
    kernels = [rng.normal(size=(3, 3, *channels)).astype(np.float32) / 5 for channels in ((1, 8), (8, 12), (12, 12))]

    def f(x):
        for kernel in kernels:
            x = jax.nn.relu(lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
        return x.mean((1, 2))

    x = jnp.ones((2, 10, 10, 1))
    compute = jax.jit(lambda x: bounds.bound(f, x, radius=0.1, method=method, chunk=chunk))
    allocated = compute.lower(x).compile().memory_analysis()
    told = bounds.explain(f, x, chunk=chunk).costs[method].bytes
    assert told / 3 < allocated.temp_size_in_bytes < told * 3
