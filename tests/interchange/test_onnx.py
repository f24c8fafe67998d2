"""Networks read from ONNX files compute what onnxruntime computes, for batches, and can be bounded; bad files end in one line."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import onnx
import onnx_cases
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_runs import node, values_in_onnxruntime
from quick import quick

from dsrna_jax import bounds, interchange
from dsrna_jax.errors import InputError
from dsrna_jax.interchange.operations import ALL

GROUPS = onnx_cases.groups()
BATCH = 3


def saved(model, path):
    onnx.save(model, path)
    return path


def inputs(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(BATCH, *shape)).astype(np.float32)


def assert_agree(path, networks, x):
    """The networks, one for each output of the file, compute the outputs of onnxruntime, and have their shapes."""
    found = jax.jit(lambda x: [network(x) for network in networks])(x)
    for network, value, expected in zip(networks, found, values_in_onnxruntime(path, x), strict=True):
        assert network.output_shape == expected.shape[1:], network.output_name
        scale = max(1, np.abs(expected).max())
        assert np.abs(np.asarray(value).reshape(expected.shape) - expected).max() <= 1e-5 * scale, network.output_name


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_every_operation_agrees_with_onnxruntime_and_can_be_bounded(group, tmp_path):
    """Output `yI_J` is number J of case I of the group."""
    model = onnx_cases.network_of(GROUPS[group])
    path = saved(model, tmp_path / "network.onnx")
    networks = [interchange.read_onnx(path, output.name) for output in model.graph.output]
    x = inputs(networks[0].example_shape)
    assert_agree(path, networks, x)
    for network in networks:
        assert bounds.explain(network, x).costs


def test_every_operation_has_a_case():
    in_graphs = set("And Equal Greater GreaterOrEqual Less LessOrEqual Log Not Or ReduceLogSum Sqrt Where Xor".split())
    in_graphs |= set("Acos Acosh Asin Asinh Atanh Cosh Sinh Tan".split())  # all of them unary
    in_graphs |= {"ArgMax", "ArgMin", "DequantizeLinear", "OneHot", "QuantizeLinear", "TopK"}
    assert set(ALL) == in_graphs | {case.operator for cases in GROUPS.values() for case in cases}


@pytest.mark.parametrize(
    ("dtype", "axis"),
    [
        (np.int8, None),
        (np.uint8, 1),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((np.int8, 1), (np.uint8, None))),
    ],
    ids=["int8, of the tensor", "uint8, of each channel", "int8, of each channel", "uint8, of the tensor"],
)
def test_quantised_networks_agree_with_onnxruntime_and_have_bounds(dtype, axis, tmp_path):
    """A convolution of quantised maps and weights, as onnxruntime's quantisation writes it; powers of two round nothing."""
    random, along = np.random.default_rng(0), {} if axis is None else {"axis": axis}
    constants = {
        "scale": np.float32(2**-4) if axis is None else np.array([2**-4, 2**-6], np.float32),
        "zero": np.array(3, dtype) if axis is None else np.array([3, 0], dtype),
        "w": random.integers(-127, 128, (4, 2, 3, 3)).astype(np.int8),
        "w_scale": np.array([2**-7, 2**-8, 2**-9, 2**-7], np.float32),
        "w_zero": np.zeros(4, np.int8),
        "y_scale": np.float32(2**-3),
    }
    nodes = [
        node("QuantizeLinear", "x scale zero", "q", **along),
        node("DequantizeLinear", "q scale zero", "d", **along),
        node("DequantizeLinear", "w w_scale w_zero", "v", axis=0),
        node("Conv", "d v", "c", pads=[1, 1, 1, 1]),
        node("Neg", "c", "n"),  # onnxruntime fuses a convolution between both, which fails for channels with scales of their own
        node("QuantizeLinear", "n y_scale", "p"),
        node("DequantizeLinear", "p y_scale", "y"),
    ]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    path = saved(onnx_cases.model_of(nodes, constants, shape=(1, 2, 4, 3)), tmp_path / "network.onnx")
    network = interchange.read_onnx(path)
    x = inputs(network.example_shape)
    assert_agree(path, [network], x)
    lower, upper = quick(lambda x: bounds.bound(network, x, radius=0.1, method="crown_ibp"))(x)
    moved = np.asarray(network(x + np.float32(0.1) * np.sign(inputs(network.example_shape, 1))))
    assert np.all(lower <= moved) and np.all(moved <= upper) and np.all(upper - lower < 3)


def test_shapes_are_computed_while_reading(tmp_path):
    """A network that flattens as exporters do, by the batch size that it reads from a shape; constants are folded."""
    nodes = [
        node("Shape", "x", "s"),
        node("Constant", "", "zero", value=numpy_helper.from_array(np.int64(0))),
        node("Gather", "s zero", "n"),
        node("Constant", "", "axes", value=numpy_helper.from_array(np.array([0]))),
        node("Unsqueeze", "n axes", "n1"),
        node("Constant", "", "rest", value=numpy_helper.from_array(np.array([-1]))),
        node("Concat", "n1 rest", "target", axis=0),
        node("Reshape", "x target", "flat"),
        node("ConstantOfShape", "s", "ones", value=numpy_helper.from_array(np.array([1], np.float32))),
        node("Reshape", "ones target", "flat_ones"),
        node("Size", "x", "size"),
        node("Cast", "size", "count", to=TensorProto.FLOAT),
        node("Mul", "flat_ones count", "scaled"),
        node("Constant", "", "two", value=numpy_helper.from_array(np.int64(2))),
        node("CastLike", "two x", "second"),
        node("Div", "scaled second", "halves"),
        node("Add", "flat halves", "y"),
    ]
    path = saved(onnx_cases.model_of(nodes, shape=("batch", 4, 6)), tmp_path / "network.onnx")
    network = interchange.read_onnx(path)
    x = inputs((4, 6))
    assert [step.node.operator for step in network._steps] == ["Reshape", "Add"]
    assert network.input_shape == (1, 4, 6) and network.output_shape == (1, 24)
    np.testing.assert_array_equal(network(x), x.reshape(BATCH, 24) + 12)


def test_comparisons_and_choices_agree_with_onnxruntime(tmp_path):
    comparisons = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")
    nodes = [node(operator, "x c", f"b{i}") for i, operator in enumerate(comparisons)]
    nodes += [node("And", "b0 b2", "both"), node("Or", "b1 b3", "either"), node("Not", "b4", "other")]
    nodes += [node("And", "either other", "t"), node("Xor", "both t", "u"), node("Where", "u x d", "z")]
    nodes += [node("Cast", "b0", "float", to=TensorProto.FLOAT), node("Abs", "x", "a"), node("Sqrt", "a", "r")]
    nodes += [node("Log", "a", "l"), node("ReduceLogSum", "a", "total"), node("Tanh", "x", "small")]
    unary = ("Acos", "Asin", "Cosh", "Sinh", "Tan", "Asinh", "Atanh", "Exp")
    nodes += [node(operator, "small", f"u{i}") for i, operator in enumerate(unary)]
    nodes += [node("Cosh", "u7", "above"), node("Acosh", "above", "v")]
    nodes += [node("Sum", "z float r l total u0 u1 u2 u3 u4 u5 u6 v", "y")]
    constants = [numpy_helper.from_array(onnx_cases.normal(12), name) for name in ("c", "d")]
    path = saved(onnx_cases.model_of(nodes, constants), tmp_path / "network.onnx")
    assert_agree(path, [interchange.read_onnx(path)], inputs((12,)))


@pytest.fixture
def dense(tmp_path):
    """A layer whose weights are float64, and are listed as inputs too, as files of old versions have them."""
    arrays = {"w": onnx_cases.normal(12, 3).astype(np.float64), "b": onnx_cases.normal(3).astype(np.float64)}
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    model = onnx_cases.model_of([node("Gemm", "x w b", "y")], tensors, kind=TensorProto.DOUBLE)
    model.graph.input.extend(helper.make_tensor_value_info(t.name, TensorProto.DOUBLE, t.dims) for t in tensors)
    return saved(model, tmp_path / "dense.onnx"), arrays


def test_weights_are_arguments_and_leaves(dense):
    path, arrays = dense
    network, x = interchange.read_onnx(path), inputs((12,))
    assert set(network.weights) == set(arrays)
    twice = jax.tree.map(lambda w: 2 * w, network.function)
    np.testing.assert_allclose(jax.jit(lambda f, x: f(x))(twice, x), 2 * network(x), rtol=1e-6)


def test_networks_of_the_same_operations_share_compiled_programs(tmp_path):
    functions, traces = [], []
    for seed in range(2):
        w = np.random.default_rng(seed).normal(size=(12, 3)).astype(np.float32)
        model = onnx_cases.model_of([node("MatMul", "x w", "y")], [numpy_helper.from_array(w, "w")])
        functions.append((w, interchange.read_onnx(saved(model, tmp_path / f"{seed}.onnx")).function))
    other = onnx_cases.model_of([node("MatMul", "x w", "z"), node("Relu", "z", "y")], [numpy_helper.from_array(w, "w")])
    functions.append((w, interchange.read_onnx(saved(other, tmp_path / "other.onnx")).function))

    @jax.jit
    def applied(f, x):
        traces.append(f)
        return f(x)

    x = inputs((12,))
    for w, f in functions[:2]:
        np.testing.assert_allclose(applied(f, x), x @ w, atol=1e-5)
    assert len(traces) == 1
    np.testing.assert_allclose(applied(functions[2][1], x), np.maximum(x @ w, 0), atol=1e-5)


def test_a_network_computes_in_the_type_of_its_input(dense):
    path, arrays = dense
    network, x = interchange.read_onnx(path), inputs((12,))
    assert network(x).dtype == np.float32
    with jax.enable_x64(True):
        y = network(x.astype(np.float64))
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, x.astype(np.float64) @ arrays["w"] + arrays["b"], rtol=1e-14, atol=1e-14)


def test_a_packed_file_is_the_same_network(dense):
    path, _ = dense
    packed = path.with_name("dense.onnx.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    x = inputs((12,))
    np.testing.assert_array_equal(interchange.read_onnx(packed)(x), interchange.read_onnx(path)(x))


def test_importing_needs_no_onnx():
    modules = "dsrna_jax.interchange.vnnlib, dsrna_jax.interchange.onnx_file, sys"
    code = f"import {modules}; print('onnx' in sys.modules, 'jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def one(operator, operands="x", **options):
    """A model of one node."""
    of_model = ("shape", "kind", "constants", "opset", "outputs")
    attributes = {name: options.pop(name) for name in list(options) if name not in of_model}
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in options.pop("constants", {}).items()]
    return onnx_cases.model_of([node(operator, operands, "y", name="n0", **attributes)], constants, **options)


BAD_MODELS = {
    "this operation is not known": one("NonZero"),
    "its attribute mode is not known": one("SpaceToDepth", blocksize=2, mode="CRD", opset=28, shape=(1, 2, 4, 4)),
    "opset 6 has no such operation": one("Erf", opset=6),
    "indices \\[0, 12\\] beyond": one("GatherElements", "x i", axis=1, constants={"i": np.array([[0, 12]])}),
    "reduction='mean'": one(
        "ScatterND", "x i u", reduction="mean", opset=18, constants={"i": np.zeros((1, 1), int), "u": onnx_cases.normal(1, 12)}
    ),
    "precision of another type": one(
        "QuantizeLinear", "x s z", opset=24, precision=10, constants={"s": np.float32(0.5), "z": np.uint8(0)}
    ),
    "node Det \\(n0\\)": one("Det", shape=(1, 3, 3)),
    "no node before its use computes absent": one("Add", "x absent"),
    "does not depend on the input": one("Relu", "c", constants={"c": onnx_cases.normal(3)}),
    "does not fit its operands": one("Gemm", "x w", constants={"w": onnx_cases.normal(5, 3)}),
    "axis 7 of a value with 2 axes": one("Concat", "x x", axis=7),
    "shape \\[5, -1\\] does not fit \\[1, 12\\]": one("Reshape", "x s", constants={"s": np.array([5, -1])}),
    "or antialias: expected nearest": one(
        "Resize", "x a s", opset=18, antialias=1, constants={"a": np.zeros(0, np.float32), "s": np.ones(2, np.float32)}
    ),
    "broadcast along axis, as before opset 7": one(
        "Add", "x c", opset=6, axis=1, broadcast=1, shape=(1, 3, 3), constants={"c": np.ones(3, np.float32)}
    ),
    "keep_aspect_ratio_policy='not_larger'": one(
        "Resize",
        "x a a s",
        opset=18,
        mode="nearest",
        keep_aspect_ratio_policy="not_larger",
        constants={"a": np.zeros(0, np.float32), "s": np.array([1, 24])},
    ),
    "spatial=0": one(
        "BatchNormalization", "x a a a a", opset=7, spatial=0, shape=(1, 3), constants={"a": np.ones(3, np.float32)}
    ),
    "mixes examples": one(
        "BatchNormalization", "x a a a a", opset=14, training_mode=1, shape=(1, 3), constants={"a": np.ones(3, np.float32)}
    ),
    "training_mode draws at random": one("Dropout", "x r t", constants={"r": np.float32(0.5), "t": np.bool_(True)}),
    "its shape depends on the input": one("Reshape", "x x"),
    "its operand x depends on the input": one("Tile", "x x"),
    "axis 1 of the input x has no fixed length": one("Relu", shape=(1, "width")),
    "is of type int64": one("Relu", kind=TensorProto.INT64),
    "cast of a value that depends on the input to uint8": one("Cast", to=TensorProto.UINT8),
    "2 outputs \\(y, z\\): name one": one("Relu", outputs=("y", "z")),
    "com.microsoft.Relu": one("Relu", domain="com.microsoft"),
    "1 inputs|2 inputs": one("Add", "x z"),
    "named by output_dtype": one(
        "QuantizeLinear", "x s", opset=21, output_dtype=TensorProto.INT8, constants={"s": np.float32(0.1)}
    ),
    "scales of blocks": one(
        "QuantizeLinear", "x s", opset=21, axis=1, block_size=6, constants={"s": np.full((1, 2), 0.1, np.float32)}
    ),
}


@pytest.mark.parametrize("message", BAD_MODELS)
def test_a_network_that_cannot_be_read_is_refused_in_one_line(message, tmp_path):
    model = BAD_MODELS[message]
    if "inputs" in message:
        model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 12)))
    path = saved(model, tmp_path / "network.onnx")
    with pytest.raises(InputError, match=message) as caught:
        interchange.read_onnx(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_message_is_one_line_whatever_the_names_in_the_file(tmp_path):
    path = saved(onnx_cases.model_of([node("Relu\n", "x", "y", name="a\nb")]), tmp_path / "network.onnx")
    with pytest.raises(InputError, match="node Relu \\(a b\\): this operation is not known"):
        interchange.read_onnx(path)


def test_networks_of_vnncomp_agree_with_onnxruntime():
    shared = os.environ.get("DSRNA_SHARED")
    if not shared:
        pytest.skip("set DSRNA_SHARED to the folder that holds verification/acasxu and verification/mnistfc")
    paths = sorted(Path(shared, "verification").glob("*/*.onnx"))
    assert paths
    for path in paths:
        network = interchange.read_onnx(path)
        session = onnxruntime.InferenceSession(path)
        x = inputs(network.example_shape)
        expected = [session.run(None, {network.input_name: example.reshape(network.input_shape)})[0] for example in x]
        np.testing.assert_allclose(network(x), np.concatenate(expected), rtol=1e-5, atol=1e-5)
        properties = [found for file in path.parent.glob("*.vnnlib") for found in interchange.read_vnnlib(file)]
        assert all(found.lower.size == np.prod(network.input_shape) for found in properties)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.onnx", None, "cannot read .*No such file"),
        ("a.onnx", b"", "no ONNX file"),
        ("a.onnx", b"no protobuf at all", "no ONNX file"),
        ("a.onnx.gz", b"plain", "no gzip file"),
        ("a.onnx", "cut", "no ONNX file|damaged"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(name, content, message, tmp_path, dense):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(dense[0].read_bytes()[:-40] if content == "cut" else content)
    with pytest.raises(InputError, match=message) as caught:
        interchange.read_onnx(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_byte_anywhere_is_refused_in_one_line_or_read(tmp_path, dense):
    good, path = dense[0].read_bytes(), tmp_path / "a.onnx"
    refused = []
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x80]) + good[place + 1 :])
        try:
            interchange.read_onnx(path)
        except InputError as error:
            assert "\n" not in str(error)
            refused.append(str(error))
    assert any("a name that is not UTF-8" in message for message in refused) and len(refused) > 50


def test_a_damaged_constant_is_refused_in_one_line(tmp_path):
    constant = numpy_helper.from_array(np.zeros(2, np.float32))
    constant.raw_data = b"123"
    nodes = [helper.make_node("Constant", [], ["c"], value=constant), helper.make_node("Add", ["x", "c"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy"]
    (tmp_path / "a.onnx").write_bytes(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:])).SerializeToString())
    with pytest.raises(InputError, match="a.onnx: the attribute value of Constant is damaged") as caught:
        interchange.read_onnx(tmp_path / "a.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("x", [np.zeros((2, 11), np.float32), np.zeros(12, np.float32), np.zeros((2, 12), np.int32)])
def test_an_input_of_another_shape_or_type_is_refused(x, dense):
    with pytest.raises(InputError, match="x is .* expected"):
        interchange.read_onnx(dense[0])(x)
