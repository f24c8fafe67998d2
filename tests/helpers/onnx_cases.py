"""Small ONNX graphs of one operation each, for every operation that is read and its attributes; several make one network."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

MAPS, ROWS, VOLUMES, FLAT, BARE = (1, 4, 6, 5), (1, 4, 9), (1, 2, 4, 5, 4), (1, 12), (3, 4)
SEQUENCE = (5, 1, 4)
_RANDOM = np.random.default_rng(0)
X = "x"


def normal(*shape):
    return _RANDOM.normal(size=shape).astype(np.float32)


def whole(*numbers):
    return np.array(numbers, np.int64)


def number(value):
    return np.float32(value)


class Case:
    """A node `operator(x, *operands)`; operands are X for the input, arrays, or None for one that is left out."""

    def __init__(self, operator, *operands, shape=MAPS, opset=17, outputs=1, before=None, **attributes):
        self.operator, self.operands, self.shape, self.opset = operator, operands, shape, opset
        self.outputs, self.before, self.attributes = outputs, before, attributes

    def __repr__(self):
        shapes = [getattr(o, "shape", o) for o in self.operands]
        return f"{self.operator}{shapes} of {list(self.shape)}, {self.attributes}, opset {self.opset}"


def _spatial():
    yield from (Case("Conv", normal(6, 4, 3, 3), normal(6), pads=pads) for pads in ([0, 0, 0, 0], [1, 0, 2, 1]))
    yield from (
        Case("Conv", normal(4, 2, 3, 2), group=2, auto_pad=auto, strides=strides)
        for auto in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for strides in ([1, 1], [2, 2])
    )
    yield Case("Conv", normal(4, 1, 2, 3), normal(4), group=4, dilations=[2, 1], strides=[1, 2], pads=[2, 1, 1, 2])
    yield Case("Conv", normal(3, 4, 3), normal(3), shape=ROWS, strides=[2], pads=[1, 1], kernel_shape=[3])
    yield Case("Conv", normal(3, 2, 2, 2, 2), normal(3), shape=VOLUMES, pads=[1, 0, 0, 0, 1, 1])
    yield Case("ConvTranspose", normal(4, 3, 3, 2), normal(3), strides=[2, 1], pads=[1, 0, 0, 1], output_padding=[1, 0])
    yield Case("ConvTranspose", normal(4, 2, 2, 2), group=2, dilations=[2, 1])
    yield from (Case("ConvTranspose", normal(4, 2, 3, 4), auto_pad=f"SAME_{side}", strides=[2, 3]) for side in ("UPPER", "LOWER"))
    yield Case("ConvTranspose", normal(4, 2, 3, 3), output_shape=[12, 14], strides=[2, 3])
    for operator in ("MaxPool", "AveragePool"):
        for ceil in (0, 1):
            yield Case(operator, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], ceil_mode=ceil)
            yield Case(operator, kernel_shape=[2, 2], strides=[4, 3], ceil_mode=ceil, opset=19)
        yield Case(operator, kernel_shape=[2, 3], auto_pad="SAME_UPPER")
        yield Case(operator, kernel_shape=[2, 3], auto_pad="SAME_LOWER", strides=[2, 1])
        yield Case(operator, kernel_shape=[3], strides=[2], shape=ROWS)
        yield Case(operator, kernel_shape=[2, 2, 2], shape=VOLUMES)
        yield Case(operator, kernel_shape=[2, 2], dilations=[2, 3], opset=19)
    yield Case("AveragePool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], count_include_pad=1)
    yield Case("AveragePool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], count_include_pad=1, ceil_mode=1, opset=19)
    yield from (Case(operator, shape=shape) for operator in ("GlobalAveragePool", "GlobalMaxPool") for shape in (MAPS, ROWS))
    yield Case("LpPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
    yield Case("LpPool", kernel_shape=[2, 3], p=3, auto_pad="SAME_UPPER")
    yield from (Case("GlobalLpPool", p=p, shape=shape) for p, shape in ((2, MAPS), (1, ROWS)))
    yield Case("LRN", size=3, alpha=0.5, beta=0.6, bias=2.0)
    yield Case("DepthToSpace", blocksize=2)
    yield Case("DepthToSpace", blocksize=2, mode="CRD")
    yield Case("SpaceToDepth", blocksize=2, shape=(1, 3, 4, 6))


def _products():
    yield Case("Gemm", normal(12, 5), shape=FLAT)
    yield Case("Gemm", normal(5, 12), normal(5), shape=FLAT, transB=1, alpha=0.5, beta=2.0)
    yield Case("Gemm", normal(12, 5), normal(1, 5), shape=FLAT)
    yield Case("Gemm", normal(3, 5), normal(4, 5), shape=BARE, transA=1)
    yield Case("Gemm", normal(1, 5), number(0.5), shape=FLAT, transA=1)
    yield from (Case("MatMul", normal(*shape)) for shape in ((5, 3), (4, 5, 3), (1, 4, 5, 2), (5,)))
    yield Case("Einsum", normal(5, 3), equation="abcd,de->abe")
    yield Case("Einsum", X, equation="ab,cb->ac", shape=BARE)
    yield Case("MatMul", X, before=normal(3, 6), shape=MAPS)
    yield Case("MatMul", X, before=normal(2, 3, 3), shape=BARE)
    yield Case("MatMul", X, shape=(1, 3, 3))
    yield Case("MatMul", normal(12, 2), shape=FLAT)
    yield Case("BatchNormalization", *(normal(4) for _ in range(3)), normal(4) ** 2, epsilon=0.01)
    yield Case("BatchNormalization", *(normal(12) for _ in range(3)), normal(12) ** 2, shape=FLAT, opset=9)
    yield Case("InstanceNormalization", normal(4), normal(4))
    yield Case("LayerNormalization", normal(6, 5), normal(6, 5), axis=-2)
    yield from (Case("GroupNormalization", normal(n), normal(n), num_groups=2, opset=o) for n, o in ((2, 18), (4, 21)))
    yield Case("RMSNormalization", normal(6, 5), axis=-2, opset=23)
    yield from (Case("MeanVarianceNormalization", axes=axes) for axes in ([0, 2, 3], [1]))
    yield from (Case("LpNormalization", axis=axis, p=p) for axis in (-1, 1) for p in (1, 2))
    yield from (Case(op, axis=axis, opset=opset) for op in ("Softmax", "LogSoftmax") for axis in (1, 3) for opset in (11, 17))
    yield Case("Softmax", axis=0, shape=BARE)
    yield from (Case("Hardmax", axis=axis, opset=opset) for axis in (1, 3) for opset in (11, 17))


def _entrywise():
    unary = "Abs Atan Ceil Cos Elu Erf Exp Floor HardSigmoid HardSwish LeakyRelu Neg Reciprocal Relu Round Selu Sigmoid Sign Sin"
    yield from (Case(operator, shape=FLAT) for operator in (unary + " Softplus Softsign Tanh ThresholdedRelu").split())
    yield from (Case(operator, shape=BARE) for operator in ("Relu", "Tanh"))
    yield from (Case("LeakyRelu", alpha=a, shape=FLAT) for a in (0.3, -0.5))
    yield from (Case(op, alpha=0.4, shape=FLAT) for op in ("Elu", "Selu", "HardSigmoid", "ThresholdedRelu"))
    yield from (Case("Gelu", approximate=how, shape=FLAT, opset=20) for how in ("none", "tanh"))
    yield from (Case("PRelu", normal(*shape)) for shape in ((1,), (4, 1, 1), (5,), (4, 6, 5)))
    yield Case("Clip", number(-0.5), number(0.7))
    yield Case("Clip", None, number(0.7))
    yield Case("Clip", min=-0.5, max=0.25, opset=9)
    for operator in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
        yield Case(operator, X, before=normal(*MAPS))
        yield from (Case(operator, normal(*shape)) for shape in ((), (5,), (6, 1), (1, 4, 1, 1), (2, 1, 4, 6, 5)))
    yield Case("Sub", normal(3, 12), shape=FLAT)
    yield Case("Mul", X)
    yield Case("Sub", X, before=normal(5))
    yield Case("Pow", number(2), shape=FLAT)
    yield Case("Pow", whole(3), shape=FLAT)
    yield from (Case(operator, X, normal(1, 12), shape=FLAT) for operator in ("Sum", "Mean", "Max"))
    yield Case("Mod", number(0.7), fmod=1, shape=FLAT)
    yield Case("Cast", to=TensorProto.FLOAT)
    yield Case("CastLike", number(1.0))
    yield from (Case(operator, shape=FLAT, opset=18) for operator in ("Celu", "Mish", "Shrink"))
    yield Case("Celu", alpha=0.4, shape=FLAT)
    yield Case("Shrink", lambd=0.7, bias=0.2, shape=FLAT)
    yield from (Case("Swish", alpha=alpha, shape=FLAT, opset=24) for alpha in (1.0, 1.7))


def _moves():
    yield from (Case("Flatten", axis=axis) for axis in (0, 1, 2, -1))
    yield from (Case("Reshape", whole(*shape)) for shape in ((1, -1), (0, 2, -1), (-1, 5), (2, 60), (1, 1, 120), (1, 0, -1, 1)))
    yield Case("Reshape", whole(-1), shape=BARE)
    yield from (Case("Transpose", perm=perm) for perm in ((0, 2, 3, 1), (1, 0, 2, 3), (3, 2, 1, 0)))
    yield Case("Transpose", shape=FLAT)
    yield Case("Squeeze", shape=(1, 1, 3, 1))
    yield Case("Squeeze", whole(0, -1), shape=(1, 1, 3, 1))
    yield Case("Squeeze", axes=[1], shape=(1, 1, 3, 1), opset=11)
    yield from (Case("Unsqueeze", whole(*axes), shape=FLAT) for axes in ((1, -1), (0,)))
    yield Case("Unsqueeze", axes=[0, 3], shape=FLAT, opset=11)
    yield from (Case("Concat", X, normal(1, 4, 6, 5), axis=axis) for axis in (1, -1, 0))
    yield Case("Concat", X, axis=1, shape=FLAT)
    last = 2**63 - 1
    yield Case("Slice", whole(1), whole(last), whole(2))
    yield Case("Slice", whole(0, -3), whole(1, last), whole(0, 3))
    yield Case("Slice", whole(-1, 4), whole(-last, 0), whole(1, 3), whole(-1, -2))
    yield Case("Slice", starts=[1, 0], ends=[3, -1], axes=[1, 3], opset=9)
    yield Case("Slice", starts=[0, 1], ends=[1, 3], opset=9)
    yield from (Case("Gather", whole(*places), axis=axis) for places, axis in (((2, 0, -1), 1), ((0,), 0), ((1, 1), -1)))
    yield Case("Gather", np.array([[0, 1], [2, 0]]), axis=2)
    yield Case("Gather", np.int64(2), axis=1)
    yield Case("Gather", np.int64(0), axis=0)
    places = np.array([[[[1, -1], [0, 2]]]])
    yield from (Case("GatherElements", places, axis=axis) for axis in (1, -1))
    yield Case("GatherElements", np.array([[0, 2, 1, 0], [2, 2, 0, -1]]), axis=0, shape=BARE)
    yield Case("GatherND", np.array([[0, 3], [0, -1]]))
    yield Case("GatherND", np.array([[[1, 2], [0, -1]]]), batch_dims=1)
    for reduction in ("none", "add", "mul", "max", "min"):
        yield Case("ScatterElements", places, normal(1, 1, 2, 2), axis=2, reduction=reduction, opset=18)
        yield Case("ScatterND", np.array([[0, 1, 2], [0, 3, -1]]), normal(2, 5), reduction=reduction, opset=18)
    yield Case("ScatterND", np.array([[2], [0]]), X, before=normal(4, 12), shape=(2, 12))
    yield from (Case("Trilu", upper=upper) for upper in (0, 1))
    yield Case("Trilu", np.int64(-1), shape=BARE)
    yield from (Case("CumSum", np.int64(axis)) for axis in (2, -1, 0))
    yield from (Case("CumSum", np.int64(1), exclusive=1, reverse=reverse) for reverse in (0, 1))
    yield Case("Pad", whole(0, 0, 1, 0, 0, 1, 0, 2))
    yield Case("Pad", whole(0, 0, 1, -1, 0, 0, 0, 1), number(0.5))
    yield from (Case("Pad", whole(0, 0, 1, 0, 0, 0, 0, 2), mode=mode) for mode in ("reflect", "edge"))
    yield Case("Pad", whole(1, 2), None, whole(3), opset=18)
    yield Case("Pad", pads=[0, 0, 1, 0, 0, 1, 0, 2], value=0.5, opset=9)
    yield Case("Split", whole(1, 3), axis=1, outputs=2)
    yield Case("Split", axis=2, outputs=3, opset=11)
    yield Case("Split", axis=1, split=[3, 1], outputs=2, opset=11)
    yield Case("Split", axis=0, outputs=3, shape=BARE)
    yield from (Case("Expand", whole(*shape), shape=(1, 1, 4)) for shape in ((1, 3, 4), (2, 1, 1), (2, 1, 3, 1), (4,)))
    yield from (Case("Tile", whole(*repeats), shape=(1, 1, 4)) for repeats in ((1, 2, 3), (2, 1, 1)))
    yield from (Case(operator) for operator in ("Identity", "Dropout"))
    yield Case("Dropout", number(0.3), np.bool_(False))


def _reductions():
    plain = ("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare")
    yield from (Case(operator, axes=axes, keepdims=keep) for operator in plain for axes, keep in (([2, -1], 1), ([1], 0)))
    yield from (Case("ReduceMean", keepdims=keep) for keep in (0, 1))
    yield from (Case("ReduceMean", whole(*axes), keepdims=0, opset=18) for axes in ((1, 2), (0,), (-1,)))
    yield Case("ReduceSum", whole(1, 3), keepdims=0)
    yield Case("ReduceSum", noop_with_empty_axes=1)
    yield Case("ReduceSum", axes=[0], opset=11)


def _sizes():
    roi, empty = np.zeros(0, np.float32), np.zeros(0, np.float32)
    scales = np.array([1, 1, 2, 1.5], np.float32)
    modes = [("half_pixel", "round_prefer_floor"), ("asymmetric", "floor"), ("align_corners", "round_prefer_ceil")]
    for transformation, nearest in [*modes, ("pytorch_half_pixel", "ceil")]:
        options = {"coordinate_transformation_mode": transformation, "nearest_mode": nearest, "mode": "nearest"}
        yield Case("Resize", roi, scales, **options)
        yield Case("Resize", None, None, whole(1, 4, 9, 3), **options)
        for mode in ("linear", "cubic"):
            yield Case("Resize", roi, scales, **options | {"mode": mode})
    yield Case(
        "Resize", None, None, whole(1, 4, 3, 9), mode="linear", coordinate_transformation_mode="half_pixel_symmetric", opset=19
    )
    yield Case("Resize", roi, np.array([1, 1, 0.6, 1.3], np.float32), mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)
    yield Case("Resize", None, None, whole(9, 4), mode="nearest", axes=[2, 3], opset=18)
    yield Case("Resize", roi, np.array([1, 1, 0.3, 1.4], np.float32), mode="nearest")
    yield Case("Resize", scales, opset=10)
    yield Case("Resize", roi, empty, whole(1, 4, 3, 10), mode="nearest")
    yield Case("Upsample", scales, opset=9)


def _recurrent():
    gates, states = {"RNN": 1, "GRU": 3, "LSTM": 4}, {"RNN": 1, "GRU": 1, "LSTM": 2}
    for operator, count in gates.items():
        for direction, ways in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
            weights = [normal(ways, 3 * count, 4) / 2, normal(ways, 3 * count, 3) / 2]
            options = {"hidden_size": 3, "direction": direction, "shape": SEQUENCE, "outputs": 1 + states[operator]}
            yield Case(operator, *weights, **options)
            start = [normal(ways, 1, 3) for _ in range(states[operator])]
            yield Case(operator, *weights, normal(ways, 6 * count), None, *start, **options)
    weights = [normal(1, 9, 4), normal(1, 9, 3)]
    options = {"hidden_size": 3, "shape": SEQUENCE}
    yield Case("GRU", *weights, normal(1, 18), linear_before_reset=1, **options)
    yield Case("GRU", *weights, normal(1, 18), np.array([5], np.int32), activations=["Sigmoid", "Relu"], **options)
    yield Case("RNN", normal(1, 3, 4), normal(1, 3, 3), clip=0.3, activations=["Relu"], **options)
    weights = [normal(1, 12, 4), normal(1, 12, 3), normal(1, 24)]
    yield Case("LSTM", *weights, None, None, None, normal(1, 9), **options)
    yield Case("LSTM", *weights, clip=0.5, activations=["Sigmoid", "Softsign", "Relu"], **options)


FAMILIES = {
    "entrywise": list(_entrywise()),
    "moves": list(_moves()),
    "products": list(_products()),
    "recurrent": list(_recurrent()),
    "reductions": list(_reductions()),
    "sizes": list(_sizes()),
    "spatial": list(_spatial()),
}


def groups():
    """(family, shape, opset) -> the cases that fit into one network."""
    found = {}
    for family, cases in FAMILIES.items():
        for case in cases:
            found.setdefault((family, case.shape, case.opset), []).append(case)
    return found


def network_of(cases):
    """A network of one input whose outputs are those of every case, in order; `cases` have one shape and one opset."""
    nodes, constants, outputs = [], [], []

    def named(operand, name):
        if operand is None or isinstance(operand, str):
            return operand or ""
        constants.append(numpy_helper.from_array(np.asarray(operand), name))
        return name

    for i, case in enumerate(cases):
        operands = [named(operand, f"c{i}_{j}") for j, operand in enumerate(case.operands)]
        first = X if case.before is None else named(case.before, f"b{i}")
        while operands and not operands[-1]:
            operands.pop()
        names = [f"y{i}_{j}" for j in range(case.outputs)]
        nodes.append(helper.make_node(case.operator, [first, *operands], names, name=f"n{i}", **case.attributes))
        outputs += names
    return model_of(nodes, constants, cases[0].shape, outputs, cases[0].opset)


def model_of(nodes, constants=(), shape=FLAT, outputs=("y",), opset=17, kind=TensorProto.FLOAT, results=TensorProto.FLOAT):
    """A model with the input x of that shape; its numbers are of a `kind`, those of its outputs `results`."""
    results = [helper.make_tensor_value_info(name, results, None) for name in outputs]
    graph = helper.make_graph(list(nodes), "g", [helper.make_tensor_value_info(X, kind, shape)], results, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
