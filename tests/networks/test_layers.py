"""The building blocks against small matrices, XLA's convolution and numpy's moments; their derivatives too."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dsrna_jax import data
from dsrna_jax.kernels.max_pool import max_pool
from dsrna_jax.networks import layers
from dsrna_jax.networks.fan import Fan
from dsrna_jax.networks.maps import Kind
from dsrna_jax.runtime import sharding

SIZES, STRIDES = [(8, 8), (7, 5)], [1, 2]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def windows(size, side, stride, padding):
    """The pixels, as flat indices, that each output pixel sees: padding counts as nothing."""
    height, width = size
    for row in range(0, height, stride):
        for column in range(0, width, stride):
            rows, columns = range(row - padding, row - padding + side), range(column - padding, column - padding + side)
            yield [r * width + c for r in rows for c in columns if 0 <= r < height and 0 <= c < width]


def max_matrix(x, *grid):
    """The matrix [output pixel, pixel] that picks the largest pixel of each window of the map x."""
    seen = list(windows(x.shape, *grid))
    matrix = np.zeros((len(seen), x.size), np.float32)
    for row, pixels in zip(matrix, seen, strict=True):
        row[max(pixels, key=lambda p: x.ravel()[p])] = 1
    return matrix


def mean_matrix(size, *grid):
    seen = list(windows(size, *grid))
    matrix = np.zeros((len(seen), size[0] * size[1]), np.float32)
    for row, pixels in zip(matrix, seen, strict=True):
        row[pixels] = 1 / len(pixels)
    return matrix


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side, stride, padding", [(3, 1, 1), (3, 2, 1), (2, 2, 0)])
def test_max_pool_and_its_derivatives_pick_the_largest_pixel(size, side, stride, padding):
    x, v = normal(*size), normal(*size, seed=1)
    pick = max_matrix(x, side, stride, padding)
    ct = normal(len(pick), seed=2)

    @jax.jit
    def derivatives(x, v, ct):
        def pool(x):
            return max_pool(x[None], side, stride, padding).ravel()

        def energy(x):
            return (ct * pool(x) ** 2).sum() / 2

        gradient = jax.grad(lambda x: ct @ pool(x))(x)
        reverse_twice = jax.grad(lambda x: (jax.grad(energy)(x) * v).sum())(x)
        return pool(x), jax.jvp(pool, (x,), (v,))[1], gradient, jax.jvp(jax.grad(energy), (x,), (v,))[1], reverse_twice

    pooled, tangent, gradient, *twice = (np.ravel(a) for a in derivatives(x, v, ct))
    np.testing.assert_array_equal(pooled, pick @ x.ravel())
    np.testing.assert_array_equal(tangent, pick @ v.ravel())
    np.testing.assert_allclose(gradient, pick.T @ ct, rtol=1e-6, atol=1e-6)
    for product in twice:
        np.testing.assert_allclose(product, pick.T @ (ct * (pick @ v.ravel())), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_max_pool_to_the_ceiling_of_half_the_size(size):
    shape = jax.eval_shape(lambda x: max_pool(x, 3, 2, 1), np.zeros((2, 3, 4, *size))).shape
    assert shape == (2, 3, 4, *(-(-n // 2) for n in size))


def test_max_pool_derivatives_map_over_directions_images_or_both():
    x, directions = normal(2, 5, 4), normal(3, 2, 5, 4, seed=1)
    along = lambda x, d: jax.jvp(lambda x: max_pool(x, 3, 2, 1), (x,), (d,))[1]  # noqa: E731

    @jax.jit
    def mapped(x, directions):
        of_images = jax.vmap(jax.vmap(along, (None, 0)), (0, None), 1)(x, directions[:, 0])
        of_directions = jax.vmap(along, (None, 0))(x, directions)
        of_both = jax.vmap(jax.vmap(along), (None, 0))(x, directions)
        return of_images, (of_directions, of_both, jax.vmap(jax.vmap(along, (None, 0)), (0, 1), 1)(x, directions))

    single, (of_images, others) = jax.jit(along), mapped(x, directions)
    each = np.array([[single(x[j], d[j]) for j in range(2)] for d in directions])
    for other in others:
        np.testing.assert_allclose(other, each)
    same = np.array([[single(x[j], directions[i, 0]) for j in range(2)] for i in range(3)])
    np.testing.assert_allclose(of_images, same)


def test_the_first_of_tied_pixels_has_the_derivative_of_max_pool():
    gradient = jax.jit(jax.grad(lambda x: max_pool(x, 2, 2).sum()))(np.float32([[1, 1, 0, 5], [1, 1, 5, 5]]))
    np.testing.assert_array_equal(gradient, [[1, 0, 0, 1], [0, 0, 0, 0]])


class Pooled(nn.Module):
    """Two preprocessed maps and a max pool of each, as in a reduction cell of a supernet."""

    @nn.compact
    def __call__(self, x):
        y = jnp.stack([layers.Preprocess(4, False, name=name)(x, "batch") for name in ("first", "second")])
        out = Fan((Kind("max_pool_3x3", 2),), 2, affine=False, is_supernet=True)(y, jnp.full((2, 1), 0.3), "batch")[2]
        return (out * np.arange(1.0, 5).reshape(4, 1, 1, 1) * np.arange(64.0).reshape(1, 64, 1, 1)).sum()


def test_the_derivative_of_max_pool_is_the_same_however_xla_fuses_and_rounds():
    """Images are digits, whose black borders tie; programs are compiled as runs are, and hardly optimised."""
    images = np.moveaxis(np.float32(data.load("digits", "train").images[:64]) / 255, -1, 0)
    x, net = np.concatenate([images, 1 - images, images**2]), Pooled()
    weights = jax.jit(net.init)(jax.random.key(0), x)["params"]
    total = lambda weights: net.apply({"params": weights}, x, mutable=["batch_stats", "moments"])[0]  # noqa: E731
    lowered = jax.jit(jax.grad(total)).lower(weights)
    least = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    ours, plain = (lowered.compile(compiler_options=o)(weights) for o in (sharding.compiler_options(sharding.mesh(1)), least))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=0.01 * np.abs(b).max()), ours, plain)


def test_the_padding_of_max_pool_never_wins():
    x = -1 - np.abs(normal(5, 5))
    assert (np.asarray(max_pool(x, 3, 1, 1)) < 0).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", STRIDES)
def test_average_pool_does_not_count_padding(size, stride):
    shape = (2, 3, 4, *(-(-n // stride) for n in size))
    x, ct, mean = normal(2, 3, 4, *size), normal(*shape, seed=1), mean_matrix(size, 3, stride, 1)

    @jax.jit
    def pooled_and_gradient(x):
        pool = lambda x: layers.average_pool(x, 3, stride)  # noqa: E731
        return pool(x), jax.grad(lambda x: (ct * pool(x)).sum())(x)

    pooled, gradient = pooled_and_gradient(x)
    assert pooled.shape == shape
    np.testing.assert_allclose(pooled, (x.reshape(2, 3, 4, -1) @ mean.T).reshape(shape), rtol=1e-5, atol=1e-6)
    expected = (ct.reshape(2, 3, 4, -1) @ mean).reshape(x.shape)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_average_pool_keeps_a_constant_map():
    pooled = jax.jit(lambda x: layers.average_pool(x, 3, 2))(np.full((1, 1, 1, 5, 4), 3, np.float32))
    np.testing.assert_allclose(pooled, 3, rtol=1e-6)


def test_pointwise_is_a_1x1_convolution():
    x, kernel = normal(3, 2, 4, 4), normal(5, 3)
    expected = lax.conv_general_dilated(x, kernel[:, :, None, None], (1, 1), "VALID", dimension_numbers=("CNHW", "OIHW", "CNHW"))
    np.testing.assert_allclose(jax.jit(layers.pointwise)(x, kernel), expected, rtol=1e-5, atol=1e-6)


@jax.jit
def halved(x, even, odd):
    """DARTS's FactorizedReduce before its batch norm: two 1x1 convolutions of stride 2, the second one pixel off."""

    def conv(x, kernel):
        return lax.conv_general_dilated(x, kernel[:, :, None, None], (2, 2), "VALID", dimension_numbers=("CNHW", "OIHW", "CNHW"))

    x = jnp.maximum(x, 0)
    return jnp.concatenate([conv(x, even), conv(x[:, :, 1:, 1:], odd)])


def normalised(x, epsilon=1e-5):
    axes = (-3, -2, -1)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def test_factorized_reduce_is_two_strided_convolutions():
    x, module = normal(2, 3, 4, 8, 6), layers.FactorizedReduce(5, affine=False, edges=2)
    kernels = {"even": normal(2, 2, 2, 3, seed=1), "odd": normal(2, 2, 3, 3, seed=2)}
    stats = {"BatchNorm_0": {"moments": np.zeros((2, 2, 2, 5), np.float32)}}
    result = np.asarray(jax.jit(lambda x: module.apply({"params": kernels, "batch_stats": stats}, x, "batch"))(x))
    for stack, edge in np.ndindex(2, 2):
        expected = np.asarray(halved(x[stack], kernels["even"][stack, edge], kernels["odd"][stack, edge]))
        np.testing.assert_allclose(result[stack, edge], normalised(expected), rtol=1e-4, atol=1e-4)


def test_factorized_reduce_of_an_odd_side_rounds_up():
    module = layers.FactorizedReduce(4, affine=False)
    shape, variables = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), jnp.zeros((3, 2, 7, 5)), "batch"))
    assert shape.shape == (1, 4, 2, 4, 3)
    assert [variables["params"][name].shape for name in ("even", "odd")] == [(1, 2, 3), (1, 2, 3)]


MAPS = 3 + 2 * normal(2, 3, 4, 5, 6)  # [stack, channel, batch, height, width]
NORM = layers.BatchNorm()
OLD = {"moments": np.stack([np.full((2, 3), 0.5, np.float32), np.full((2, 3), 4, np.float32)])}


@pytest.fixture(scope="module")
def batch_mode():
    """Output and collections of one pass over `MAPS` by batch statistics."""
    apply = jax.jit(lambda x: NORM.apply({"batch_stats": OLD}, x, "batch", mutable=["batch_stats", "moments"]))
    return jax.tree.map(np.asarray, apply(MAPS))


def test_batch_norm_gives_mean_zero_and_variance_one(batch_mode):
    output = batch_mode[0]
    np.testing.assert_allclose(output.mean((-3, -2, -1)), 0, atol=1e-5)
    np.testing.assert_allclose(output.var((-3, -2, -1)), 1, rtol=1e-4)


def test_running_statistics_take_a_tenth_of_mean_and_unbiased_variance(batch_mode):
    mean, variance = batch_mode[1]["batch_stats"]["moments"]
    np.testing.assert_allclose(mean, 0.9 * 0.5 + 0.1 * MAPS.mean((-3, -2, -1)), rtol=1e-5)
    np.testing.assert_allclose(variance, 0.9 * 4 + 0.1 * MAPS.var((-3, -2, -1), ddof=1), rtol=1e-5)


def test_the_first_pass_leaves_the_running_statistics_at_mean_zero_and_variance_one():
    stats = jax.jit(lambda x: NORM.init(jax.random.key(0), x, "batch"))(MAPS)["batch_stats"]["moments"]
    np.testing.assert_array_equal(stats, np.stack([np.zeros((2, 3)), np.ones((2, 3))]))


def test_frozen_equals_batch_and_leaves_the_statistics(batch_mode):
    output, collections = batch_mode
    variables = {"batch_stats": OLD, "moments": collections["moments"]}
    frozen, updated = jax.jit(lambda v: NORM.apply(v, MAPS, "frozen", mutable=["batch_stats", "moments"]))(variables)
    np.testing.assert_allclose(frozen, output, rtol=1e-6, atol=1e-6)
    chex.assert_trees_all_equal(updated["batch_stats"], OLD)
    chex.assert_trees_all_equal(updated["moments"], collections["moments"])


def test_only_batch_statistics_couple_examples(batch_mode):
    variables = {"batch_stats": OLD, "moments": batch_mode[1]["moments"]}
    for statistics, couples in (("batch", True), ("frozen", False), ("running", False)):

        def first_example(x, statistics=statistics):
            return (NORM.apply(variables, x, statistics)[:, :, 0] ** 3).sum()

        gradient = np.asarray(jax.jit(jax.grad(first_example))(MAPS))
        assert np.any(gradient[:, :, 0])
        assert np.any(gradient[:, :, 1:]) == couples, statistics


def test_recorded_moments_are_constants(batch_mode):
    def energy(moments):
        return (NORM.apply({"batch_stats": OLD, "moments": moments}, MAPS, "frozen") ** 2).sum()

    by_moments = jax.jit(jax.grad(energy))(batch_mode[1]["moments"])
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(by_moments))


def test_running_mode_normalises_by_the_stored_values():
    output = jax.jit(lambda x: NORM.apply({"batch_stats": OLD}, x, "running"))(MAPS)
    np.testing.assert_allclose(output, (MAPS - 0.5) / np.sqrt(4 + 1e-5), rtol=1e-5, atol=1e-6)


def test_affine_batch_norm_scales_and_shifts_what_the_plain_one_gives(batch_mode):
    weights = {"scale": np.full((2, 3), 2, np.float32), "bias": np.full((2, 3), -1, np.float32)}
    variables = {"params": weights, "batch_stats": OLD}
    output = jax.jit(lambda x: layers.BatchNorm(affine=True).apply(variables, x, "batch"))(MAPS)
    np.testing.assert_allclose(output, 2 * batch_mode[0] - 1, rtol=1e-5, atol=1e-5)


def test_convolutions_start_uniform_in_the_inverse_root_of_fan_in():
    sample = np.asarray(layers.torch_uniform(25)(jax.random.key(0), (10_000,)))
    assert np.abs(sample).max() <= 0.2
    np.testing.assert_allclose([sample.mean(), sample.std()], [0, 0.2 / np.sqrt(3)], atol=5e-3)
