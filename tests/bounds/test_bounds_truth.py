"""Bounds against enumeration, closed forms and solvers, and against bounds written in numpy."""

import functools
import itertools

import dense_bounds
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_networks import dense, layers, sides
from jax import lax
from quick import quick
from scipy.optimize import linprog, minimize

from dsrna_jax import bounds
from dsrna_jax.bounds.balls import ball
from dsrna_jax.bounds.relaxations.maximum import Largest
from dsrna_jax.bounds.relaxations.planes import Planes


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(
    "sizes", [(2, 3, 3, 2), *(pytest.param(sizes, marks=pytest.mark.slow) for sizes in ((2, 4, 2), (3, 3, 3, 2), (1, 5, 1)))]
)
def test_bounds_contain_the_exact_range_of_small_networks(sizes):
    network = layers(*sizes, seed=sum(sizes))
    x, radius = np.linspace(0.2, 0.8, sizes[0]), 0.4
    eye = np.eye(sizes[-1])
    least = np.array([dense_bounds.exact_least(network, x, radius, row) for row in eye])
    greatest = -np.array([dense_bounds.exact_least(network, x, radius, -row) for row in eye])
    for method in bounds.METHODS:
        lower, upper = (np.asarray(s[0]) for s in sides(dense(network), x[None], radius, method=method))
        assert np.all(lower <= least + 1e-12) and np.all(upper >= greatest - 1e-12), method


def test_a_single_hidden_unit_is_bounded_exactly():
    """The planes of one relu over a box reach both ends of its range: it is convex, so its maximum lies at a vertex."""
    network = [(np.array([[1.0, -0.5]]), np.array([0.1])), (np.array([[1.0]]), np.array([0.0]))]
    x, radius = np.array([[0.1, 0.2]]), 0.3
    lower, upper = sides(dense(network), x, radius, method="alpha_crown")
    np.testing.assert_allclose(upper[0, 0], 0.1 + 0.1 - 0.1 + 0.3 * 1.5, rtol=1e-12)
    np.testing.assert_allclose(lower[0, 0], 0.0, atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2", pytest.param("l1", marks=pytest.mark.slow)])
def test_bounds_of_affine_networks_are_exact(norm):
    rng = np.random.default_rng(1)
    kernel, w = rng.normal(size=(2, 2, 2, 3)), rng.normal(size=(12, 3))

    def f(x):
        y = lax.conv_general_dilated(x, jnp.asarray(kernel), (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return y.reshape(len(x), -1) @ jnp.asarray(w) + 0.2

    x, radius, labels = rng.uniform(size=(2, 3, 3, 2)), np.array([0.3, 0.1]), np.array([0, 2])
    rows, logits = map(np.asarray, quick(lambda x: (jax.jacobian(f)(x[:1]), f(x)))(x))
    rows = rows.reshape(3, -1)
    half = radius[:, None] * dense_bounds.dual_norm(rows, norm)
    for method in bounds.METHODS:
        if (norm, method) == ("linf", "ibp"):
            continue  # intervals of several layers are not exact
        lower, upper = sides(f, x, radius, norm=norm, method=method)
        np.testing.assert_allclose(lower, logits - half, rtol=1e-9)
        np.testing.assert_allclose(upper, logits + half, rtol=1e-9)
    labels = logits.argmax(1)
    gaps = logits[[0, 1], labels][:, None] - logits
    norms = dense_bounds.dual_norm(rows[labels][:, None] - rows, norm)
    closed = np.min(gaps / np.where(norms == 0, 1, norms) + np.where(norms == 0, np.inf, 0), axis=1)

    @quick
    def certified(x):
        of_any = bounds.certified_radius(f, x, labels, norm=norm, method="crown_ibp", steps=60)
        return of_any, bounds.class_certified_radii(f, x, labels, norm=norm, steps=60)

    radii, by_class = map(np.asarray, certified(x))
    np.testing.assert_allclose(radii, closed, rtol=1e-7)
    assert np.all(radii <= closed)
    np.testing.assert_allclose(by_class.min(1), closed, rtol=1e-7)


@pytest.mark.parametrize(
    "grid, layout",
    [
        ({"window_strides": (2, 1), "padding": ((1, 2), (0, 3)), "rhs_dilation": (1, 2)}, ("NHWC", "HWIO", "NHWC")),
        ({"window_strides": (1, 3), "padding": ((-1, 0), (2, -1))}, ("NCHW", "OIHW", "NHWC")),
        ({"window_strides": (2, 2), "padding": ((4, 0), (0, 0)), "rhs_dilation": (3, 1)}, ("HWCN", "OHWI", "NCHW")),
        ({"window_strides": (1, 2), "padding": ((1, 1), (0, 2)), "lhs_dilation": (1, 2)}, ("NHWC", "HWIO", "CNHW")),
        ({"window_strides": (2, 2), "padding": "VALID", "feature_group_count": 2}, ("NHWC", "HWIO", "NHWC")),
    ],
)
def test_convolutions_are_exact_for_all_attributes(grid, layout):
    rng = np.random.default_rng(2)
    sizes = {"H": 3, "W": 2, "I": 4 // grid.get("feature_group_count", 1), "O": 6}
    kernel = rng.normal(size=[sizes[axis] for axis in layout[1]])
    place = [layout[0].index(axis) for axis in "NHWC"]

    def f(x):
        image = jnp.transpose(x, np.argsort(place))
        y = lax.conv_general_dilated(image, jnp.asarray(kernel), **grid, dimension_numbers=layout)
        return jnp.moveaxis(y, layout[2].index("N"), 0).reshape(len(x), -1)

    check_backward_bounds_are_exact(f, rng.uniform(size=(2, 7, 8, 4)))


@pytest.mark.parametrize("reverse", [1, pytest.param(-1, marks=pytest.mark.slow)])
def test_operations_with_several_results_are_exact(reverse):
    def f(x):
        first, _, third = jnp.split(x, [1, 3], axis=2)
        halves = jnp.split(jnp.moveaxis(x, 0, 1), 2, axis=2)  # a batch that is not in front
        apart = jnp.unstack(x, axis=1)
        parts = [first, 3 * third, jnp.moveaxis(halves[1], 1, 0), apart[2] - 2 * apart[0], x]
        return jnp.concatenate([p.reshape(len(x), -1) for p in parts[::reverse]], 1).cumsum(1)

    check_backward_bounds_are_exact(f, np.random.default_rng(3).uniform(size=(2, 3, 4)))


def check_backward_bounds_are_exact(f, x, radius=0.3):
    """Asserts that backward bounds of an affine f, [batch, output], are the row sums of its Jacobian."""
    matrix, value = map(np.asarray, quick(lambda x: (jax.jacobian(f)(x[:1])[0], f(x)))(x))
    matrix = matrix.reshape(-1, x[0].size)
    half = radius * np.abs(matrix).sum(1)
    for method in ("crown_ibp", "crown"):
        # A relu far from its kink, so that the functionals go back through f rather than stop at its intervals.
        lower, upper = sides(lambda x: jax.nn.relu(f(x) + 100) @ np.eye(len(matrix)), x, radius, method=method)
        np.testing.assert_allclose([lower, upper], value + 100 + np.array([-1, 1])[:, None, None] * half, rtol=1e-9)


@pytest.mark.parametrize("norm", bounds.NORMS)
def test_intervals_of_a_single_layer_are_exact(norm):
    (network,) = layers(4, 3)
    x, radius = np.linspace(0, 1, 8).reshape(2, 4), 0.2
    half = radius * dense_bounds.dual_norm(network[0], norm)
    lower, upper = sides(dense([network]), x, radius, norm=norm, method="ibp")
    value = x @ network[0].T + network[1]
    np.testing.assert_allclose([lower, upper], value + np.array([-1, 1])[:, None, None] * half, rtol=1e-12)


def convolutional(seed=0):
    """A small convolutional network, and the same as explicit matrices."""
    rng = np.random.default_rng(seed)
    first, second, w = rng.normal(size=(3, 3, 2, 3)) / 3, rng.normal(size=(3, 3, 1, 6)) / 2, rng.normal(size=(24, 3)) / 4
    convolve = functools.partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    parts = [
        lambda x: convolve(x.reshape(-1, 4, 4, 2), jnp.asarray(first), (1, 1), "SAME") - 0.1,
        lambda x: convolve(x, jnp.asarray(second), (2, 2), ((2, 1), (2, 1)), rhs_dilation=(2, 2), feature_group_count=3) + 0.1,
        lambda x: x.reshape(len(x), -1) @ jnp.asarray(w),
    ]
    shapes, matrices = [(4, 4, 2), (4, 4, 3), (2, 2, 6)], []
    for part, shape in zip(parts, shapes, strict=True):
        affine = quick(lambda x, part=part: (part(x), jax.jacobian(part)(x)))
        offset, matrix = map(np.asarray, affine(np.zeros((1, *shape))))
        matrices.append((matrix.reshape(offset.size, -1), offset.ravel()))
    return lambda x: parts[2](jax.nn.relu(parts[1](jax.nn.relu(parts[0](x))))), matrices


NETWORKS = {
    "shallow": lambda: (dense(layers(4, 6, 3)), layers(4, 6, 3), (4,)),
    "deep": lambda: (dense(layers(4, 6, 5, 4, 3, seed=2)), layers(4, 6, 5, 4, 3, seed=2), (4,)),
    "convolutional": lambda: (*convolutional(), (32,)),
}


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        pytest.param(*case, marks=[] if case in (("convolutional", "l2"), ("shallow", "l1")) else pytest.mark.slow)
        for case in itertools.product(NETWORKS, bounds.NORMS)
    ],
)
def test_every_method_equals_its_implementation_in_numpy(name, norm):
    f, matrices, shape = NETWORKS[name]()
    x = np.random.default_rng(5).uniform(size=(2, *shape))
    radius, labels = {"linf": 0.05, "l2": 0.2, "l1": 0.5}[norm], np.array([2, 0])
    eye = np.eye(3)
    rows = [np.stack([eye[y] - eye[j] for j in range(3) if j != y]) for y in labels]
    methods = [m for m in bounds.METHODS if m != "hz_crown" and (m != "alpha_crown" or name != "convolutional")]

    @quick
    def ours(x):
        options = {"norm": norm, "iterations": 6, "chunk": 7}
        return {m: bounds.class_margins(f, x, labels, radius=radius, method=m, **options) for m in methods}

    for method, got in ours(x).items():
        expected = [dense_bounds.lower_bounds(method, matrices, x[i], radius, norm, rows[i], 6) for i in range(2)]
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-11, err_msg=method)


@pytest.mark.parametrize("norm", ["l2", pytest.param("l1", marks=pytest.mark.slow)])
def test_the_first_layer_has_the_exact_radius_of_its_row_norms(norm):
    """Border rows of a padded convolution are shorter; batch norm, and a second affine layer, belong to the same row."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(3, 3, 2, 2)), rng.normal(size=(2, 2, 2, 3))
    convolve = functools.partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    one = lambda x: convolve(x, jnp.asarray(first), (2, 1), "SAME") * np.array([[[[0.5, -2]]]]) + 1  # noqa: E731
    two = lambda x: convolve(one(x), jnp.asarray(second), (1, 1), "SAME")  # noqa: E731
    x = rng.uniform(size=(1, 4, 3, 2))
    for affine in (one, two):

        @quick
        def computed(x, affine=affine):
            f = lambda x: jax.nn.relu(affine(x)).reshape(len(x), -1)  # noqa: E731
            of = functools.partial(bounds.intermediate, f, x, radius=0.1, norm=norm)
            return jax.jacobian(affine)(x), [of(method=method)["relu_0"] for method in ("ibp", "crown_ibp", "crown")]

        rows, sides_by_method = jax.tree.map(np.asarray, computed(x))
        for lower, upper in sides_by_method:
            norms = dense_bounds.dual_norm(rows.reshape(lower.size, -1), norm).reshape(lower.shape)
            np.testing.assert_allclose((upper - lower) / 2, 0.1 * norms, rtol=1e-9)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("radius", [1e-4, 0.1, 0.6, 3.0])
def test_the_minimum_over_a_clipped_ball_equals_a_solver(norm, radius):
    rng = np.random.default_rng(0)
    x, rows = rng.uniform(size=(2, 5)), rng.normal(size=(3, 2, 5))
    x[0, 0], rows[0, 0, 1] = 0.0, 0.0
    got = np.asarray(quick(lambda x, rows: ball([x], radius, norm, (0.0, 1.0)).dot_lower([rows]))(x, rows))
    for row in range(3):
        for i in range(2):
            low, high, c = -x[i], 1 - x[i], rows[row, i]
            if norm == "l1":  # d = p - q, sum p + q <= radius
                solved = linprog(
                    np.concatenate([c, -c]), np.ones((1, 10)), [radius], bounds=[(0, h) for h in high] + [(0, -v) for v in low]
                )
                least = solved.fun
            else:
                solved = minimize(
                    lambda d, c=c: c @ d, np.zeros(5), jac=lambda d, c=c: c, bounds=list(zip(low, high, strict=True)),
                    method="SLSQP",
                    constraints={"type": "ineq", "fun": lambda d: radius**2 - d @ d, "jac": lambda d: -2 * d},
                    options={"ftol": 1e-14, "maxiter": 500},
                )  # fmt: skip
                least = solved.fun
            np.testing.assert_allclose(got[row, i], least, rtol=2e-6)
            assert got[row, i] <= least + 1e-9


def simple_planes(self, node, intervals, slopes="adaptive", hull=None):
    """x_k if its lower bound is above all other upper bounds, else the constant greatest upper bound."""
    values = node.parents[0].value - node.value[None]
    low, high = values + intervals[0].lower, values + intervals[0].upper
    lowest = jnp.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1)) == low.argmax(0)[None]
    is_sure = low.max(0) >= jnp.where(lowest, -jnp.inf, high).max(0)
    value, one = jnp.where(lowest, values, 0).sum(0), lowest.astype(values.dtype)
    return Planes((one, None), (one * is_sure[None], None), -value, jnp.where(is_sure, value, high.max(0)))


@pytest.mark.slow
@pytest.mark.parametrize("window", [2, 3])
def test_bounds_of_max_pools_are_a_quarter_narrower_than_by_the_simple_relaxation(window, monkeypatch):
    rng = np.random.default_rng(0)
    kernels, w = [rng.uniform(-1, 1, size=(3, 3, i, 3)) / np.sqrt(9 * i) for i in (1, 3)], rng.normal(size=(48, 4))
    convolve = functools.partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def f(x):
        for kernel in kernels:
            x = jax.nn.relu(convolve(x, jnp.asarray(kernel), (1, 1), "SAME"))
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, window, window, 1), (1, 2, 2, 1), "SAME")
        return x.reshape(len(x), -1) @ jnp.asarray(np.resize(w, (x.size // len(x), 4)))

    x = np.asarray(jax.image.resize(rng.uniform(size=(1, 4, 4, 1)), (1, 10, 10, 1), "cubic"))
    width = lambda: np.mean(np.subtract(*sides(f, x, 0.02, method="crown")[::-1]))  # noqa: E731
    tight = width()
    monkeypatch.setattr(Largest, "planes", simple_planes)
    assert tight <= 0.75 * width()
