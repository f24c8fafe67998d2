"""Reading and writing entries at constant indices, in and beyond the array: bounds of these affine functions are exact."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from quick import quick

from dsrna_jax import bounds

RADIUS, SHAPE = 0.25, (2, 4, 5)
BEYOND = jnp.array([0, 7, -3, -9, 2])  # of an axis of 5: 7 and -9 are beyond
MODES = ("clip", "fill", "promise_in_bounds")
READ = {
    "indexed": lambda x: x[:, :, BEYOND],
    "taken": lambda x: jnp.take_along_axis(x, BEYOND[None, None, :3], 2, mode="clip"),
    "negative": lambda x: x.at[:, :, BEYOND].get(mode="promise_in_bounds", wrap_negative_indices=False),
    **{f"read, {mode}": lambda x, mode=mode: x.at[:, :, BEYOND].get(mode=mode, fill_value=3.0) for mode in MODES},
    "truth values": lambda x: x + jnp.take(x > -9, BEYOND, 2, mode="fill", fill_value=False),
    "not truth values": lambda x: x + jnp.take(x < -9, BEYOND, 2, mode="fill", fill_value=True),
    "real part": lambda x: jnp.real(jnp.take(x + 2j * x, BEYOND, 2, mode="fill", fill_value=2 - 1j)),
    "imaginary part": lambda x: jnp.imag(jnp.take(x + 2j * x, BEYOND, 2, mode="fill", fill_value=2 - 1j)),
    "slices": lambda x: slices(x, lax.GatherScatterMode.PROMISE_IN_BOUNDS, None),
    "filled slices": lambda x: slices(x, lax.GatherScatterMode.FILL_OR_DROP, 3.0),
    "slice": lambda x: lax.dynamic_slice(x, (0, 3, -8), (x.shape[0], 3, 4)),
    "updated slice": lambda x: lax.dynamic_update_slice(x, 2 * x[:, :3, :2], (0, 3, 9)),
}
WRITTEN = {
    f"{kind}, {mode}": lambda x, kind=kind, mode=mode, update=update: written(x, kind, mode, update)
    for kind, update in {
        "set": lambda x: 2 * x[:, ::-1, :5],
        "set to a constant": lambda x: 2.0,
        "add": lambda x: 2 * x[:, ::-1, :5],
        "subtract": lambda x: 2 * x[:, ::-1, :5],
        "multiply": lambda x: -2.0,
    }.items()
    for mode in MODES
}


def slices(x, mode, fill):
    """Two slices of 2x3 entries, the second of which leaves the array."""
    axes = lax.GatherDimensionNumbers(offset_dims=(0, 2, 3), collapsed_slice_dims=(), start_index_map=(1, 2))
    return lax.gather(x, np.array([[1, 0], [3, 4]]), axes, (x.shape[0], 2, 3), mode=mode, fill_value=fill)


def written(x, kind, mode, update):
    at = x.at[:, :, jnp.array([0, 7, 2, 9, 4])]
    return getattr(at, kind.split()[0])(update(x), mode=mode, unique_indices=True)


def arrays(values):
    return list(map(np.asarray, values))


@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_bounds_of_affine_functions_by_indices_are_exact(method):
    cases = READ | WRITTEN
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    units = jnp.eye(x[0].size, dtype=np.float32).reshape(-1, *SHAPE[1:])

    def f(x):
        return [jnp.reshape(case(x), (len(x), -1)) for case in cases.values()]

    def everything(x):
        both = bounds.bound(lambda x: jnp.concatenate(f(x), 1), x, radius=RADIUS, method=method)
        return f(x), f(units), f(0 * units), both

    values, moved, at_zero, both = quick(everything)(x)
    places = np.cumsum([value.shape[1] for value in values])[:-1]
    ends = [np.split(np.asarray(side), places, 1) for side in both]
    for name, value, unit, zero, lower, upper in zip(cases, *map(arrays, (values, moved, at_zero)), *ends, strict=True):
        reach = RADIUS * np.abs(unit - zero).sum(0)
        np.testing.assert_allclose(lower, value - reach, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(upper, value + reach, atol=1e-4, err_msg=name)
