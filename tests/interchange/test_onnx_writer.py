"""JAX functions written as ONNX files give the same values in onnxruntime, for any batch, and when they are read back."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from jax import lax

from dsrna_jax import interchange
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes import Genotype, RobNet
from dsrna_jax.interchange.emission import ALL
from dsrna_jax.networks.derived import derived_network

onnxruntime.set_default_logger_severity(3)
RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def assert_written(f, example_shape, path, x=None, is_read=True):
    """onnxruntime computes f from the file for batches of 1 and more, and so does what is read from it."""
    interchange.write_onnx(f, example_shape, path)
    session = onnxruntime.InferenceSession(path)
    x = normal(4, *example_shape) if x is None else x
    expected = np.asarray(jax.jit(f)(x))
    scale = max(1, np.abs(expected).max())
    for batch in (4, 1):
        (found,) = session.run(["output"], {"input": x[:batch]})
        assert found.shape == (batch, *expected.shape[1:])
        assert np.abs(found - expected[:batch]).max() <= 1e-5 * scale
    if is_read:
        network = interchange.read_onnx(path)
        assert np.abs(np.asarray(jax.jit(network)(x)) - expected).max() <= 1e-5 * scale


def cells(normal, reduction):
    return Genotype(normal, (2,), reduction, (2,))


NETWORKS = {
    "separable": (
        cells([("sep_conv_3x3", 0), ("dil_conv_5x5", 1)], [("max_pool_3x3", 0), ("avg_pool_3x3", 1)]),
        {"cells": 3},
        True,
    ),
    "odd sides": (
        cells([("avg_pool_3x3", 0), ("conv_3x1_1x3", 1)], [("skip_connect", 0), ("noise", 1)]),
        {"start": "imagenet"},
        False,
    ),
    "equal cells, a scan": (RobNet((("11", "10"),)), {"cells": 9}, False),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_cells_has_the_same_logits(name, tmp_path):
    architecture, settings, is_read = NETWORKS[name]
    sizes = {"channels": 2, "classes": 4, "mean": (0.5,) * 3, "std": (0.25,) * 3, "cells": 3}
    network = derived_network(architecture, **sizes | settings)
    images = RANDOM.uniform(size=(4, 12, 12, 3)).astype(np.float32)
    shapes = dict(jax.eval_shape(network.init, jax.random.key(0), images))
    variables = jax.tree.map(lambda leaf: 0.3 * normal(*leaf.shape), shapes)
    variables["batch_stats"] = jax.tree.map(lambda leaf: 0.5 + abs(leaf), variables["batch_stats"])
    assert_written(lambda x: network.apply(variables, x), (12, 12, 3), tmp_path / "network.onnx", images, is_read)


def curves(x):
    """Every operation on entries that can be written."""
    safe = jnp.tanh(x) * 0.9
    parts = [jnp.abs(x), -x, jnp.exp(x), jnp.floor(x), jnp.ceil(x), jnp.round(x), jnp.sign(x), jnp.sin(x), jnp.cos(x)]
    parts += [jax.nn.relu(x), jax.nn.sigmoid(x), lax.erf(x), jnp.sqrt(jnp.abs(x)), jnp.log(1 + jnp.abs(x)), jnp.log1p(safe)]
    parts += [jnp.expm1(x), lax.rsqrt(1 + x * x), lax.integer_pow(x, 3), lax.square(x), jnp.exp2(x), x / 3, x - 2]
    parts += [jnp.arcsin(safe), jnp.arccos(safe), jnp.arctan(x), jnp.arcsinh(x), jnp.arctanh(safe), jnp.arccosh(1.5 + jnp.abs(x))]
    parts += [jnp.sinh(safe), jnp.cosh(safe), jnp.tan(safe), lax.clamp(-0.5, x, 0.5), jnp.minimum(x, 0.1), jnp.maximum(x, 0.2)]
    parts += [
        jnp.where((x > 0) & (x < 1) | (x == 3), x, 2 * x),
        jnp.where((x >= 0) ^ ~(x <= 1), x, safe),
        (x != 1).astype(float) * x,
        jnp.where(jnp.sign(x + 0.3).astype(bool), x, 1.0),
        jnp.where(jnp.isfinite(1 / jnp.maximum(x, 0)), x, -1.0),
        lax.rem(x, 0.3),
    ]
    parts += [
        jnp.abs(x) ** 1.5,
        lax.stop_gradient(x),
        jax.nn.softplus(x),
        jax.nn.elu(x),
        jax.nn.gelu(x, approximate=False),
        jax.nn.softmax(x),
        lax.expand_dims(x, [1])[:, 0],
    ]
    return jnp.stack(parts, 1)


def moves(x):
    """Every operation that moves, adds or multiplies entries, on [batch, 4, 6, 2]."""
    a, b = jnp.split(x, 2, axis=1)
    first, second = x[..., 0], jnp.moveaxis(x, -1, 0)[1]
    scanned, kept = lax.scan(lambda c, row: (jnp.tanh(c + row), c * row), first[:, 0], jnp.moveaxis(second, 1, 0), reverse=True)
    parts = [
        a * 2 + b,
        jnp.concatenate([a, b], 3),
        x.transpose(0, 2, 1, 3),
        x[:, 1::2, -3:],
        jnp.pad(x, [(0, 0), (1, 0), (0, 2), (0, 0)]),
    ]
    parts += [
        x.sum((1, 2)),
        x.max(2),
        x.min(-1),
        x.mean((1, 2, 3)),
        jnp.prod(x, 1),
        jnp.stack([first, second], 1),
        scanned,
        kept.swapaxes(0, 1),
    ]
    parts += [x @ normal(2, 3), jnp.einsum("bhwc,bhvc->bhwv", x, x), jnp.tensordot(x, normal(4, 6, 5), [[1, 2], [0, 1]])]
    parts += [
        jnp.einsum("bhw,hk->bwk", first, normal(4, 3)),
        jnp.broadcast_to(first[:, None], (len(x), 3, 4, 6)),
        jnp.zeros_like(x) + 1,
    ]
    parts += [jnp.broadcast_to(jnp.ones((2, 1)), (len(x), 2, 5)), lax.optimization_barrier(x)]
    places = jnp.array([[3, 0, -1], [7, 1, 1]])  # 7 is beyond the axis of 6, and moved into it
    parts += [x[:, :, places], jnp.take(x, places[0], 1, mode="clip"), x[..., jnp.array(1), :]]
    parts += [x[:, ::-1, :, ::-1], lax.cumsum(x, 2), lax.cumsum(x, 1, reverse=True), jnp.tile(x, (1, 2, 1, 3))]
    parts += [lax.dynamic_slice(x, (0, 1, 9, 0), (len(x), 2, 3, 2)), lax.reshape(x, (len(x), 12, 4), (0, 3, 2, 1))]
    parts += [jnp.where(each, 1.0, x[:, 0, 0, 0]) for each in ((x > 1.5).any((1, 2, 3)), (x > -1.5).all((1, 2, 3)))]
    return jnp.concatenate([p.reshape(len(x), -1) for p in parts], 1)


def windows(x):
    """Convolutions and pools on [batch, 6, 7, 4]."""
    layout = ("NHWC", "HWIO", "NHWC")
    parts = [
        lax.conv_general_dilated(x, normal(3, 2, 4, 5), (2, 1), [(1, 0), (0, 1)], rhs_dilation=(1, 2), dimension_numbers=layout),
        lax.conv_general_dilated(x, normal(3, 3, 1, 8), (1, 1), "SAME", dimension_numbers=layout, feature_group_count=4),
        lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 1, 1), [(0, 0), (1, 1), (0, 1), (0, 0)]),
        lax.reduce_window(x, 0.0, lax.add, (1, 3, 2, 1), (1, 2, 2, 1), [(0, 0), (1, 1), (0, 1), (0, 0)]),
        lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 1, 2), (1, 1, 1, 2), "VALID"),
        lax.conv_transpose(x, normal(3, 2, 4, 5), (2, 3), "SAME", dimension_numbers=layout),
        lax.conv_transpose(x, normal(3, 2, 4, 5), (2, 1), "VALID", rhs_dilation=(1, 2), dimension_numbers=layout),
        lax.conv_general_dilated(
            x, normal(3, 3, 2, 6), (1, 1), [(1, 2), (0, 3)], (2, 2), dimension_numbers=layout, feature_group_count=2
        ),
    ]
    return jnp.concatenate([p.reshape(len(x), -1) for p in parts], 1)


def test_a_recurrent_network_has_the_same_values(tmp_path):
    """Its scan carries a key for random numbers, which no step draws."""
    network = nn.RNN(nn.GRUCell(3))
    variables = network.init(jax.random.key(0), np.zeros((1, 4, 2), np.float32))
    assert_written(lambda x: network.apply(variables, x), (4, 2), tmp_path / "f.onnx")


@pytest.mark.parametrize(("f", "shape"), [(curves, (5,)), (moves, (4, 6, 2)), (windows, (6, 7, 4))])
def test_a_function_has_the_same_values(f, shape, tmp_path):
    state = RANDOM.bit_generator.state

    def same_each_time(x):
        RANDOM.bit_generator.state = state
        return f(x)

    x = normal(4, *shape)
    assert_written(same_each_time, shape, tmp_path / "f.onnx", x)


def test_every_primitive_is_walked():
    """All but those of our own, which networks have, and those that depend on the version of JAX."""
    own = {"depthwise", "gather_rows", "pointwise"}
    seen = set()

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            seen.add(equation.primitive.name)
            for value in equation.params.values():
                for inner in value if isinstance(value, tuple) else (value,):
                    if hasattr(inner, "jaxpr") or hasattr(inner, "eqns"):
                        walk(getattr(inner, "jaxpr", inner))

    for f, shape in ((curves, (5,)), (moves, (4, 6, 2)), (windows, (6, 7, 4))):
        walk(jax.make_jaxpr(f)(jax.ShapeDtypeStruct((3, *shape), np.float32)).jaxpr)
    by_version = {"add_any", "copy", "copy_p", "exp2", "expand_dims", "squeeze", "stack", "unstack", "stop_gradient", "tile"}
    assert set(ALL) - seen <= own | by_version


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: lax.cumprod(x, 1), "the operation cumprod cannot be written as ONNX"),
        (lambda x: jnp.take(x, jnp.array([0, 9]), 1), "gather cannot be written as ONNX: beyond the array, where it is filled"),
        (lambda x: jnp.take_along_axis(x, jnp.argsort(x), 1), "cannot be written as ONNX"),
        (lambda x: jnp.sort(x, 1), "the operation sort cannot"),
        (lambda x: x[:1], "a part of the batch|long for|expected a function with one output"),
        (lambda x: x @ x.T, "two axes of a value follow the batch"),
        (lambda x: x / len(x), "other numbers at other batch sizes"),
        (lambda x: x + jnp.asarray(np.arange(len(x), dtype=np.float32))[:, None], "other numbers at other batch sizes"),
        (lambda x: x - x.mean(0, keepdims=True), "other numbers at other batch sizes"),
        (lambda x: lax.fori_loop(0, 2, lambda i, y: y + len(x), x), "other numbers at other batch sizes"),
        (lambda x: jnp.ones(3), "with one output \\[batch, ...\\]"),
        (lambda x: (x, x), "got 2 outputs"),
        (lambda x: x.astype(jnp.bfloat16) * 1, "conversion to bfloat16"),
    ],
)
def test_what_cannot_be_written_is_named_and_leaves_no_file(f, message, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        interchange.write_onnx(f, (5,), tmp_path / "f.onnx")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_texts_are_kept_in_the_file(tmp_path):
    interchange.write_onnx(
        jnp.tanh, (2,), tmp_path / "f.onnx", metadata={"genotype": "{}"}, input_name="images", output_name="logits"
    )
    model = onnx.load(tmp_path / "f.onnx")
    assert {p.key: p.value for p in model.metadata_props} == {"genotype": "{}"}
    assert [model.graph.input[0].name, model.graph.output[0].name] == ["images", "logits"]
