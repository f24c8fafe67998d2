import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.errors import InputError
from dsrna_jax.measures.jacobian import ESTIMABLE, jacobian_norm, value_and_jacobian_norm

RANDOM = ["rows", "jvp", "sphere"]
BATCH, CLASSES = 6, 4
KEY = jax.random.key(0)
W = np.array([[3.0, -4.0, 0.0], [0.0, 0.0, 2.0]])  # rows of length 5 and 2


def linear(x):
    return x.reshape(len(x), -1) @ jnp.asarray(W.T, x.dtype)


def curved(x, scale=1.0):
    return scale * jnp.square(linear(x) + 1)


def conv_weights():
    draw = np.random.default_rng(0).normal
    return {"kernel": draw(size=(3, 3, 2, 5)) * 0.5, "head": draw(size=(5, CLASSES))}


def conv_net(x):
    """Smooth and clearly not linear, so that each example has a Jacobian of its own."""
    weights = jax.tree.map(lambda w: jnp.asarray(w, x.dtype), conv_weights())
    h = jax.lax.conv_general_dilated(x, weights["kernel"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.sum(jax.nn.softplus(3 * h) ** 2, axis=(1, 2)) @ weights["head"]


def images(dtype=np.float32):
    return np.random.default_rng(1).uniform(size=(BATCH, 5, 4, 2)).astype(dtype)


def norms_of(f, x, key, method, n_proj=1):
    """Every norm that the method can give."""
    return {norm: jacobian_norm(f, x, key, norm=norm, method=method, n_proj=n_proj) for norm in ESTIMABLE[method]}


def norm_of_matrix(jacobian, norm):
    """The definition, in NumPy: [batch, classes, inputs] -> [batch]."""
    jacobian = np.asarray(jacobian, np.float64)
    return {
        "row_l2": np.sqrt((jacobian**2).sum(2)).sum(1),
        "row_l1": np.abs(jacobian).sum((1, 2)),
        "fro": np.sqrt((jacobian**2).sum((1, 2))),
        "fro_squared": (jacobian**2).sum((1, 2)),
    }[norm]


@functools.cache
def jacobian_of_conv_net():
    """[batch, classes, inputs], forwards, one example at a time, in float64."""
    with jax.enable_x64(True):
        x = jnp.asarray(images(np.float64))
        jacobian = jax.jit(jax.vmap(jax.jacfwd(lambda image: conv_net(image[None])[0])))(x)
        return np.asarray(jacobian).reshape(BATCH, CLASSES, -1)


@pytest.mark.parametrize(("norm", "by_hand"), [("row_l2", 7.0), ("row_l1", 9.0), ("fro", 29**0.5), ("fro_squared", 29.0)])
def test_norms_of_a_linear_function_are_those_of_its_matrix(norm, by_hand):
    got = jacobian_norm(linear, jnp.ones((4, 1, 3)), norm=norm, method="exact")
    np.testing.assert_allclose(got, np.full(4, by_hand), rtol=1e-6)


def test_exact_equals_the_definition():
    got = jax.jit(lambda x: norms_of(conv_net, x, None, "exact"))(images())
    for norm, value in got.items():
        np.testing.assert_allclose(value, norm_of_matrix(jacobian_of_conv_net(), norm), rtol=1e-5)


@pytest.mark.parametrize("method", RANDOM)
def test_estimates_are_unbiased_and_converge(method):
    def estimates(key):
        return {n: norms_of(conv_net, images(), key, method, n) for n in (1, 3)}

    draws = jax.jit(jax.vmap(estimates))(jax.random.split(jax.random.key(7), 2000))
    for norm in ESTIMABLE[method]:
        for n_proj in (1, 3):
            error = draws[n_proj][norm].mean(0) - norm_of_matrix(jacobian_of_conv_net(), norm)
            standard_error = draws[n_proj][norm].std(0) / 2000**0.5
            assert np.all(np.abs(error) < 4 * standard_error), (norm, n_proj, error, standard_error)
        ratio = draws[3][norm].std(0) / draws[1][norm].std(0)
        # Rows are drawn without replacement, so three of four leave a third of the deviation of one.
        np.testing.assert_allclose(ratio, 1 / 3 if method == "rows" else 3**-0.5, rtol=0.15)


@pytest.mark.parametrize("method", ESTIMABLE)
def test_the_value_is_that_of_f(method):
    x = np.random.default_rng(2).uniform(size=(5, 3)).astype(np.float32)
    settings = {"norm": "fro_squared", "method": method}
    logits, norms = jax.jit(lambda x: value_and_jacobian_norm(curved, x, jax.random.key(0), **settings))(x)
    np.testing.assert_allclose(logits, curved(x), rtol=1e-6)
    assert norms.shape == (5,)


def test_all_rows_are_exact():
    got = jax.jit(lambda key: norms_of(conv_net, images(), key, "rows", n_proj=CLASSES))
    for seed in range(3):
        for norm, value in got(jax.random.key(seed)).items():
            np.testing.assert_allclose(value, norm_of_matrix(jacobian_of_conv_net(), norm), rtol=1e-5)


@pytest.mark.parametrize("n_proj", [1, 2, 5])
def test_drawn_rows_cover_all_rows_evenly(n_proj):
    """Row k of a linear map has length 10**k, so the digits of an estimate tell which rows it drew."""

    @jax.jit
    def estimates(key):
        return jacobian_norm(lambda x: x * lengths[None], jnp.ones((15, 6)), key, n_proj=n_proj)

    def drawn(seed):
        sums = np.rint(estimates(jax.random.key(seed)) * n_proj / 6)
        return np.array([[digit == "1" for digit in f"{int(value):06d}"] for value in sums])

    lengths = 10.0 ** jnp.arange(6)
    seen = [drawn(seed) for seed in range(3)]
    for rows in seen:
        assert np.all(rows.sum(1) == n_proj), "rows of one example differ"
        assert np.all(rows[:6].sum(0) == n_proj) and np.all(rows[6:12].sum(0) == n_proj), "each class equally often"
        assert np.ptp(rows.sum(0)) <= 1, "as evenly as the batch size allows"
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0][:6], seen[0][6:12]), "example i and i + classes draw independently"


@pytest.mark.parametrize("method", ESTIMABLE)
def test_example_depends_on_its_own_pixels_and_number_only(method):
    norms = jax.jit(lambda x: jacobian_norm(curved, x, jax.random.key(5), norm="fro_squared", method=method, n_proj=2))
    x = np.random.default_rng(2).uniform(size=(5, 3)).astype(np.float32)
    changed = x.copy()
    changed[2] = 1 - changed[2]
    others = np.arange(5) != 2
    np.testing.assert_array_equal(norms(changed)[others], norms(x)[others])
    assert abs(norms(changed)[2] / norms(x)[2] - 1) > 1e-3
    np.testing.assert_allclose(norms(x[:3]), norms(x)[:3], rtol=1e-6)  # the batch size does not matter


@pytest.mark.parametrize("method", ["jvp", "sphere"])
def test_equal_examples_draw_differently(method):
    norms = jacobian_norm(linear, jnp.ones((4, 3)), jax.random.key(0), norm="fro_squared", method=method)
    assert len(set(norms.tolist())) == 4


@pytest.mark.parametrize("method", ESTIMABLE)
def test_gradient_by_scale_is_closed_form(method):
    """The norm of a multiple s f is s times that of f, and s^2 for fro_squared."""

    def norms(scale):
        values = norms_of(lambda x: curved(x, scale), jnp.ones((5, 3)), jax.random.key(0), method)
        return jax.tree.map(jnp.sum, values)

    values, gradients = jax.jit(lambda scale: (norms(scale), jax.jacrev(norms)(scale)))(2.0)
    for norm in ESTIMABLE[method]:
        np.testing.assert_allclose(gradients[norm], values[norm] * (1 if norm == "fro_squared" else 0.5), rtol=1e-5)


@pytest.mark.parametrize("method", ESTIMABLE)
def test_gradient_by_weights_is_finite_difference(method):
    def norms(step):
        def f(x):
            return jnp.tanh(x @ (first + step)) @ (second - step)

        values = norms_of(f, x, jax.random.key(2), method, n_proj=2)
        return sum(value.mean() for value in values.values())

    x, first, second = (np.random.default_rng(4).normal(size=shape) for shape in [(6, 5), (5, 7), (7, 4)])
    with jax.enable_x64(True):
        both = jax.jit(jax.value_and_grad(norms))
        _, gradient = both(0.0)
        assert gradient.dtype == jnp.float64
        np.testing.assert_allclose(gradient, (both(1e-5)[0] - both(-1e-5)[0]) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("method", ESTIMABLE)
def test_norm_of_a_constant_function_is_zero_with_zero_gradient(method):
    def norms(weight):
        def dead(x):
            return jax.nn.relu(linear(x) - 100) * weight

        values = [norms_of(dead, jnp.ones((3, 3)), jax.random.key(0), method, n_proj) for n_proj in (1, 2)]
        return sum(value.sum() for value in jax.tree.leaves(values))

    assert jax.jit(jax.value_and_grad(norms))(1.0) == (0, 0)


@pytest.mark.parametrize("n_proj", [1, 3])
@pytest.mark.parametrize("method", ["rows", "jvp", "sphere"])
def test_one_forward_pass_and_one_pass_a_projection(method, n_proj):
    """Two layers: two products of matrices forwards, and two in the one pass that the loop repeats."""

    def both(x, weights):
        f = lambda x: jnp.tanh(x @ weights["in"]) @ weights["out"]  # noqa: E731
        return value_and_jacobian_norm(f, x, jax.random.key(0), norm="fro_squared", method=method, n_proj=n_proj)

    weights = {"in": jnp.ones((5, 6)), "out": jnp.ones((6, 4))}
    assert str(jax.make_jaxpr(both)(jnp.ones((3, 5)), weights)).count("dot_general") == 4


def test_memory_of_exact_does_not_grow_with_classes():
    def temporary_bytes(classes):
        def norms(weights):
            def f(x):
                for _ in range(3):
                    x = jnp.sin(x * weights["scale"])
                return x @ weights["head"]

            return jacobian_norm(f, jnp.ones((8, 2000)), method="exact").sum()

        weights = {"scale": jnp.ones(2000)[None], "head": jnp.ones((2000, classes))}
        return jax.jit(jax.grad(norms)).lower(weights).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(60) < 1.5 * temporary_bytes(20) + 8 * 2000 * 4 * 4


def test_half_precision_is_summed_in_single():
    """4096 squares of 1/64 make 1; in bfloat16 a running sum would stop growing at 1/16."""
    x = jnp.zeros((2, 4096), jnp.bfloat16)
    logits, norms = value_and_jacobian_norm(lambda x: x.sum(1, keepdims=True) / 64, x, norm="fro_squared", method="exact")
    assert (logits.dtype, norms.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(norms, 1)


@pytest.mark.parametrize(
    ("norm", "method"),
    [
        ("row_l1", "jvp"),
        ("row_l2", "sphere"),
        ("row_l1", "sphere"),
        ("fro", "rows"),
        ("fro", "jvp"),
        ("nuclear", "exact"),
        ("fro_squared", "cauchy"),
    ],
)
def test_norms_that_a_method_cannot_estimate_are_refused(norm, method):
    pairs = "exact: row_l2, row_l1, fro, fro_squared; rows: row_l2, row_l1, fro_squared; jvp: .*; sphere: fro_squared"
    with pytest.raises(InputError, match=pairs):
        jacobian_norm(linear, jnp.ones((2, 3)), jax.random.key(0), norm=norm, method=method)


@pytest.mark.usefixtures("unchecked_signatures")
@pytest.mark.parametrize(
    ("f", "x", "options", "message"),
    [
        (linear, np.ones((2, 3), np.uint8), {}, r"floating point \[batch, ...\], one example or more, got uint8 \(2, 3\)"),
        (linear, np.float32(1), {}, r"floating point \[batch, ...\], one example or more, got float32 \(\)"),
        (linear, np.ones((2, 3)), {"key": None}, "method 'rows' draws at random: pass key="),
        (linear, np.ones((2, 3)), {"n_proj": 3}, "at most the 2 outputs .* got 3"),
        (linear, np.ones((2, 3)), {"n_proj": 0}, "n_proj=0: expected at least 1"),
        (linear, np.ones((2, 3)), {"n_proj": 1.5}, "n_proj=1.5: expected at least 1, a whole number"),
        (linear, np.ones((2, 3)), {"n_proj": "1"}, "n_proj='1': expected"),
        (linear, np.ones((0, 3)), {}, r"one example or more, got float32 \(0, 3\)"),
        (lambda x: linear(x) > 0, np.ones((2, 3)), {}, "floating-point numbers, got bool"),
        (lambda x: jnp.round(linear(x)).astype(int), np.ones((2, 3)), {"method": "exact"}, "floating-point numbers, got int32"),
        (lambda x: linear(x) + 1j, np.ones((2, 3)), {}, "floating-point numbers, got complex64"),
        (lambda x: linear(x)[:, 0], np.ones((2, 3)), {}, r"to \(2, outputs\), .* got \(2,\)"),
        (lambda x: linear(x)[:1], np.ones((2, 3)), {}, r"to \(2, outputs\), .* got \(1, 2\)"),
        (lambda x: linear(x)[:, :0], np.ones((2, 3)), {"method": "exact"}, r"to \(2, outputs\), .* got \(2, 0\)"),
        (lambda x: (linear(x), {}), np.ones((2, 3)), {}, r"to \(2, outputs\), .* got \(\(2, 2\), \{\}\)"),
    ],
)
def test_bad_input_says_what_was_expected_and_got(f, x, options, message):
    with pytest.raises(InputError, match=message) as error:
        jacobian_norm(f, x, **{"key": jax.random.key(0), **options})
    assert "\n" not in str(error.value)


def test_exact_needs_no_key_and_no_count():
    assert jacobian_norm(linear, jnp.ones((1, 3)), method="exact", n_proj=99) == 7


@pytest.mark.parametrize("method", ESTIMABLE)
def test_the_norm_is_nan_where_anything_is_and_never_the_0_of_what_hides_it(method):
    """A relu passes NaN on with the derivative 0, and a tanh is flat at infinity: neither is a network that nothing moves."""

    @jax.jit
    def norms(x, bias, last):
        def network(x):
            h = jax.nn.relu(jnp.tanh(x.reshape(len(x), -1) @ hidden) + bias[None])
            return h @ head + last[None]

        return norms_of(network, x, KEY, method, 2)

    hidden, head = (jnp.asarray(np.random.default_rng(2).normal(size=shape), jnp.float32) for shape in ((40, 8), (8, CLASSES)))
    x, zeros, one = images(), jnp.zeros(8), jnp.zeros(CLASSES)
    for norm, values in norms(x, zeros, one).items():
        assert np.isfinite(values).all(), norm
    for bias, last in ((zeros * np.nan, one), (zeros, one.at[1].set(np.nan))):
        for norm, values in norms(x, bias, last).items():
            assert np.isnan(values).all(), norm
    for unknown in (np.nan, np.inf, -np.inf):
        x[2, 0, 0, 0] = unknown
        for norm, values in norms(x, zeros, one).items():
            assert np.isnan(values).tolist() == [i == 2 for i in range(BATCH)], norm


@pytest.mark.parametrize("method", ESTIMABLE)
def test_no_way_of_writing_hides_weights_of_nan(method):
    """A choice by a comparison takes NaN for a number below 0, whose derivative is 0."""
    ways = {
        "where": lambda h: jnp.where(h > 0, h, 0.0),
        "step": lambda h: jnp.where(h > 0, 1.0, 0.0),
        "jit": jax.jit(lambda h: jnp.where(h > b, h, 0.0)),
        "scan": lambda h: jax.lax.scan(lambda c, _: (jnp.where(c > b, c, 0.0), None), h, None, length=2)[0],
        "numbers": jnp.nan_to_num,
    }
    b, weights = np.float32([[0, np.nan, 0, 0]]), W.T.repeat(2, 1)

    def norms(x):
        def norm(w, hidden):
            return jacobian_norm(lambda x: hidden(x @ jnp.asarray(w, x.dtype)), x, KEY, norm="fro_squared", method=method)

        return {name: (norm(weights, way), norm(weights * np.nan, way)) for name, way in ways.items()}, norm(weights, lambda h: h)

    of_ways, of_none = jax.jit(norms)(np.ones((2, 3), np.float32))
    assert not np.isnan(of_none).any()
    for name, (of_numbers, of_nan) in of_ways.items():
        assert np.isnan(of_numbers).tolist() == [name in ("jit", "scan")] * 2, name
        assert np.isnan(of_nan).all(), name


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_norms_scale_where_squares_leave_the_range(scale):
    pairs = [(norm, method) for method, norms in ESTIMABLE.items() for norm in norms if norm != "fro_squared"]

    @jax.jit
    def norms(scale):
        def norm(name, method):
            return jacobian_norm(lambda x: linear(x) * scale, jnp.ones((2, 3)), KEY, norm=name, method=method, n_proj=2)

        return [norm(*pair) for pair in pairs]

    for pair, value, plain in zip(pairs, norms(scale), norms(1.0), strict=True):
        np.testing.assert_allclose(value / scale, plain, rtol=1e-6, err_msg=str(pair))
