"""Rules that are added: the advice of an error works, and what it adds takes the place of another."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import mlir
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.bounds import checks
from dsrna_jax.bounds.rules import registry

X = np.random.default_rng(0).uniform(size=(3, 4)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)


def linear(x):
    return x @ W


double_p = Primitive("double")
double_p.def_abstract_eval(lambda x: x)
double_p.def_impl(lambda x: 2 * x)
mlir.register_lowering(double_p, mlir.lower_fun(lambda x: 2 * x, multiple_results=False))


@pytest.fixture
def _rules(monkeypatch):
    monkeypatch.setattr(registry, "RULES", dict(registry.RULES))
    monkeypatch.setattr(checks, "RULES", registry.RULES)


@pytest.mark.usefixtures("_rules")
def test_the_advice_to_register_works_where_it_is_given():
    for name, f, rule, same in (
        ("double", lambda x: double_p.bind(linear(x)), lambda x: 2 * x, lambda x: 2 * linear(x)),
        ("zeta", lambda x: lax.zeta(x, 2.0), lambda x, q: jnp.exp(-jnp.abs(x)), lambda x: jnp.exp(-jnp.abs(x))),
    ):
        with pytest.raises(NotImplementedError, match=re.escape(f"bounds.register({name!r}, ...)")):
            bounds.bound(f, X, radius=0.1)
        bounds.register(name, rule)
        both = quick(lambda x, fs=(f, same): [bounds.bound(f, x, radius=0.1, method="ibp") for f in fs])(X)
        np.testing.assert_allclose(*both, rtol=1e-6)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.where(lax.population_count(x.astype(int)) > 1, x, 0),
        lambda x: lax.bitcast_convert_type(x, jnp.int32).astype(jnp.float32),
        lambda x: jnp.take_along_axis(x, jnp.argsort(x, 1), 1),
        lambda x: jnp.take_along_axis(x, lax.top_k(x, 2)[1], 1),
    ],
)
def test_no_advice_is_given_where_it_would_not_work(f):
    with pytest.raises(NotImplementedError, match="no bounds of") as caught:
        bounds.bound(f, X, radius=0.1)
    assert "register" not in str(caught.value)


@pytest.mark.usefixtures("_rules")
def test_registered_rules_take_the_place_of_others_and_refuse_truth_values():
    """sin has one inflection between -pi / 2 and pi / 2, at 0; sort of two values is their min and max."""
    bounds.register("sin", bounds.Curve(jnp.sin, inflections=(0.0,)))
    bounds.register("and", lambda a, b: a * b)
    with pytest.raises(NotImplementedError, match="and takes numbers, and no truth values"):
        bounds.bound(lambda x: jnp.where((x > 0) & (x < 1), x, 0), X, radius=0.1)

    def sort(x, *, dimension, **_):
        assert dimension == 1 and x.shape[1] == 2
        return jnp.stack([x.min(1), x.max(1)], 1)

    bounds.register("sort", sort)
    f = lambda x: jnp.sort(jnp.sin(linear(x)[:, :2] / 2), axis=1)  # noqa: E731
    points = X[:, None] + np.random.default_rng(0).uniform(-0.1, 0.1, size=(3, 200, 4)).astype(np.float32)
    values = np.asarray(f(points.reshape(-1, 4))).reshape(3, 200, 2)
    lower, upper = quick(lambda x: bounds.bound(f, x, radius=0.1, method="crown_ibp"))(X)
    assert np.all(lower[:, None] <= values) and np.all(values <= upper[:, None])
    assert np.all(upper - lower < 3 * np.ptp(values, axis=1))


@pytest.mark.usefixtures("_rules")
def test_a_registered_rule_counts_also_where_its_operation_completes_a_known_function():
    softplus = lambda x: jnp.log1p(jnp.exp(x))  # noqa: E731
    assert "softplus" in bounds.explain(softplus, X).operations
    bounds.register("log1p", bounds.Curve(jnp.log1p))
    assert {"exp", "log1p"} <= set(bounds.explain(softplus, X).operations)
