"""Control flow on every kind of value: constants that follow the batch, nodes, truth values, whole and complex numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dsrna_jax import bounds

RADIUS = 0.1
W = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
X = np.random.default_rng(1).uniform(size=(2, 3)).astype(np.float32)
KINDS = {
    "constant": jnp.ones_like,
    "node": lambda z: 2 * jax.nn.relu(z),
    "truth": lambda z: z > 0,
    "whole": lambda z: jnp.argmax(jnp.stack([z, 1 - z], -1), -1),
    "complex": lambda z: jnp.fft.fft(jnp.stack([z, z * z], -1), axis=-1)[..., 1],
}


def real(values):
    return values.real.astype(jnp.float32)


def programs(make):
    """f(x, flag) by name, with and without use of what `make` makes of values, beside a constant with the batch axis."""
    beside = lambda z: jnp.zeros_like(make(z))  # noqa: E731
    step = lambda c, a: (jnp.tanh(c + a), make(c))  # noqa: E731
    start = lambda x: jnp.zeros(len(x))  # noqa: E731
    return {
        "cond, unused": lambda x, flag: lax.cond(flag, lambda z: (beside(z), z), lambda z: (make(z), 2 * z), x @ W)[1],
        "scan, unused": lambda x, flag: lax.scan(step, start(x), (x @ W).T)[0][:, None],
        "cond": lambda x, flag: x @ W + real(lax.cond(flag, beside, make, x @ W)),
        "scan": lambda x, flag: x @ W + real(lax.scan(step, start(x), (x @ W).T)[1].T),
        "scan of it": lambda x, flag: lax.scan(lambda c, a: (jnp.tanh(c + real(a)), c), x[:, 0], make(x @ W).T)[0][:, None],
        "loop": lambda x, flag: lax.fori_loop(0, 2, lambda i, c: (jnp.tanh(c[0] + real(c[1])), make(c[0])), (x @ W, make(x @ W)))[
            0
        ],
    }


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_every_kind_go_through_control_flow_or_are_refused_by_name_where_they_are_used(kind):
    for name, f in programs(KINDS[kind]).items():
        ibp = lambda x, flag, f=f: bounds.bound(lambda x: f(x, flag), x, radius=RADIUS, method="ibp")  # noqa: E731
        try:
            lower, _ = jax.eval_shape(ibp, X, True)
        except NotImplementedError as error:
            assert kind in ("truth", "whole", "complex") and "unused" not in name and name != "loop", name
            assert f"{name.split()[0]}" in str(error) and "\n" not in str(error)
        else:
            assert lower.shape == jax.eval_shape(f, X, True).shape


def test_constants_beside_nodes_are_bounded_as_they_are_evaluated():
    @jax.jit
    def bounded(x, flag):
        fs = [programs(KINDS["node"])[name] for name in ("cond", "scan")]
        both = lambda x: jnp.concatenate([f(x, flag) for f in fs], 1)  # noqa: E731
        corners = [both(x + RADIUS * sign) for sign in (-1, 0, 1)]
        return bounds.bound(both, x, radius=RADIUS), jnp.stack(corners)

    for flag in (True, False):
        (lower, upper), values = bounded(X, flag)
        assert (lower[None] <= values).all() and (values <= upper[None]).all()
