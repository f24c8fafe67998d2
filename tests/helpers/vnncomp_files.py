"""Instances of VNN-COMP as files, and answers of a verifier of them."""

import gzip
import types

import numpy as np
from onnx import helper, numpy_helper, save
from onnx_cases import model_of


def verdict(answer, counterexample=None, reason="as it came"):
    fields = {"status": answer, "counterexample": counterexample, "reason": reason, "seconds": 0.5, "branches": 3}
    return types.SimpleNamespace(**fields)


def written(folder):
    """The folder, with the network y = (x0 + x1, x0 - x1) and properties of it on [0, 1]^2, with disjunctions of inputs."""
    matrix = numpy_helper.from_array(np.array([[1, 1], [1, -1]], np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    save(model_of([node], [matrix], shape=(1, 2)), folder / "n.onnx")
    declared = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))
    box = "(assert (>= X_0 0))(assert (<= X_0 1))(assert (>= X_1 0))(assert (<= X_1 1))"
    unsafe = {
        "holds": "(assert (>= Y_0 2.5))",
        "fails": "(assert (>= Y_0 1.5))",
        "one_box_fails": "(assert (or (and (<= X_0 0.25) (<= Y_0 1)) (and (>= X_0 0.75) (>= Y_0 5))))",
        "both_boxes_hold": "(assert (or (and (<= X_0 0.25) (<= Y_1 -2)) (and (>= X_0 0.75) (>= Y_0 5))))",
        "two_rows": "(assert (>= Y_0 1.5))(assert (>= Y_1 0.75))",
    }
    for name, text in unsafe.items():
        (folder / f"{name}.vnnlib").write_text(declared + box + text)
    (folder / "packed.vnnlib.gz").write_bytes(gzip.compress((declared + box + unsafe["fails"]).encode()))
    return folder
