"""Constants of ONNX files: operations on them count by the version of the file, and vectors are no batches."""

import numpy as np
import onnx
import onnx_cases
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from dsrna_jax import interchange

OF_OPSET_11 = {
    "Unsqueeze": {"axes": [0]},
    "Squeeze": {"axes": [0]},
    "ReduceSum": {"axes": [1]},
    "Softmax": {},  # over all axes from the second on
    "LogSoftmax": {},
    "Split": {"axis": 2, "split": [2, 1]},
}


@pytest.mark.parametrize("operator", OF_OPSET_11)
def test_an_operation_on_constants_is_that_of_the_opset(operator, tmp_path):
    """y = c * x with the first result c of the operation on [1, 2, 3] numbers."""
    outputs = ["c", "d"] if operator == "Split" else ["c"]
    nodes = [
        helper.make_node(operator, ["a"], outputs, **OF_OPSET_11[operator]),
        helper.make_node("ReduceMean", ["x"], ["m"], keepdims=0),
        helper.make_node("Mul", ["c", "m"], ["y"]),
    ]
    constant = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(1, 2, 3), "a")
    onnx.save(onnx_cases.model_of(nodes, [constant], (1, 2), opset=11), tmp_path / "n.onnx")
    x = np.array([[0.5, 2.0]], np.float32)
    (expected,) = onnxruntime.InferenceSession(tmp_path / "n.onnx").run(None, {"x": x})
    network = interchange.read_onnx(tmp_path / "n.onnx")
    np.testing.assert_allclose(np.asarray(network(x)).reshape(expected.shape), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4)])
def test_a_vector_of_one_entry_is_no_batch(shape, tmp_path):
    """x of the shape [1], without a batch axis, times a matrix."""
    matrix = numpy_helper.from_array(np.arange(1, 1 + shape[1], dtype=np.float32).reshape(shape), "w")
    onnx.save(onnx_cases.model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], [matrix], (1,)), tmp_path / "n.onnx")
    network, x = interchange.read_onnx(tmp_path / "n.onnx"), np.array([0.5, -2.0, 3.0], np.float32)
    np.testing.assert_allclose(np.asarray(network(x)).reshape(3, -1), x[:, None] * numpy_helper.to_array(matrix))
