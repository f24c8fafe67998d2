"""Graphs that are saved, and what onnxruntime computes by them."""

import numpy as np
import onnx
import onnx_cases
import onnxruntime
from onnx import helper, numpy_helper

onnxruntime.set_default_logger_severity(4)  # warnings about constants that are inputs


def node(operator, operands, results, **attributes):
    return helper.make_node(operator, operands.split(), results.split(), **attributes)


def saved_graph(path, nodes, constants=None, shape=onnx_cases.FLAT, **options):
    """The path of a file with that graph; `constants` by name."""
    arrays = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    onnx.save(onnx_cases.model_of(nodes, arrays, shape, **options), path)
    return path


def values_in_onnxruntime(path, x):
    """Every output of each example, [batch, ...] without the file's batch axis."""
    session = onnxruntime.InferenceSession(path)
    shape = session.get_inputs()[0].shape
    results = [session.run(None, {"x": example.reshape(shape)}) for example in x]
    return [np.stack(each) for each in zip(*results, strict=True)]
