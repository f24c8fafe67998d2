"""The answer to an instance of VNN-COMP: what is proved, and which counterexamples count."""

import types

import jax.numpy as jnp
import numpy as np
import pytest
from onnx import helper, numpy_helper, save
from onnx_cases import model_of
from vnncomp_files import verdict, written

from dsrna_jax import bounds
from dsrna_jax.evaluation.verify import answering


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path)


def test_the_verifier_decides_what_bounds_alone_do_not(folder):
    found = answering.answer(folder / "n.onnx", folder / "two_rows.vnnlib", 600)
    assert found.status == "unsat" and found.branches > 1


@pytest.mark.parametrize(("factor", "weight", "dtype"), [(1, 1, "float32"), (0.1, 1, "float64"), (1, 1 + 1e-12, "float64")])
def test_what_is_proved_is_of_the_numbers_in_the_files(factor, weight, dtype, tmp_path, monkeypatch):
    """A factor or a weight that float32 would round has the instance computed in float64."""
    matrix = numpy_helper.from_array(np.array([[weight]]), "w")
    save(model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], [matrix], shape=(1, 1)), tmp_path / "n.onnx")
    declared = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 0))(assert (<= X_0 1))"
    (tmp_path / "p.vnnlib").write_text(f"{declared}(assert (>= (* {factor} Y_0) 2))")
    found = []

    def recorded(f, region, specification, *, timeout):
        found.append((specification.rows.dtype, specification.offsets.dtype, f(jnp.asarray(region.middle)).dtype))
        return verdict("verified")

    monkeypatch.setattr(bounds, "verify", recorded)
    assert answering.answer(tmp_path / "n.onnx", tmp_path / "p.vnnlib", 60).status == "unsat"
    assert found == [(np.dtype(dtype),) * 3]


@pytest.mark.parametrize(
    ("point", "reason"),
    [([0.5, 0.5], "is none in float64"), ([2.0, 2.0], "outside of the box"), ([0.9, 0.9], "onnxruntime does not confirm")],
)
def test_a_counterexample_that_is_none_is_not_called_sat(point, reason, folder, monkeypatch):
    monkeypatch.setattr(bounds, "verify", lambda *_, **__: verdict("counterexample", np.array(point)))
    if "onnxruntime" in reason:
        monkeypatch.setattr(answering, "TOLERANCE", -1.0)
    found = answering.answer(folder / "n.onnx", folder / "fails.vnnlib", 60)
    assert found.status == "unknown" and reason in found.reason


def test_a_time_that_is_over_is_a_timeout(folder, monkeypatch):
    clock = iter(range(0, 1000, 100))
    monkeypatch.setattr(bounds, "verify", None)
    monkeypatch.setattr(answering, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    found = answering.answer(folder / "n.onnx", folder / "both_boxes_hold.vnnlib", 60)
    assert found.status == "timeout" and "before 2 of 2 boxes were decided" in found.reason


def test_a_box_of_several_that_fails_is_found_by_the_attack(folder):
    assert answering.answer(folder / "n.onnx", folder / "one_box_fails.vnnlib", 60)[:2] == ("sat", "found by an attack")


def test_float64_decides_what_rounding_in_float32_hides(tmp_path):
    """y = (x + 1000) - 1000 as products by weights: float32 knows y to some 1e-4, and y > 0.99999 on [1, 1.00001]."""
    weights = {"a": np.ones((1, 1)), "b": np.full(1, 1000.0), "c": np.full(1, -1000.0)}
    nodes = [
        helper.make_node(*parts) for parts in (("MatMul", "xa", "h"), ("Add", "hb", "g"), ("Relu", "g", "r"), ("Add", "rc", "y"))
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    save(model_of(nodes, constants, shape=(1, 1)), tmp_path / "n.onnx")
    declared = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 1))(assert (<= X_0 1.00001))"
    (tmp_path / "p.vnnlib").write_text(f"{declared}(assert (<= Y_0 0.99999))")
    (tmp_path / "q.vnnlib").write_text(f"{declared}(assert (<= Y_0 1.000005))")
    assert answering.answer(tmp_path / "n.onnx", tmp_path / "p.vnnlib", 600).status == "unsat"
    assert answering.answer(tmp_path / "n.onnx", tmp_path / "q.vnnlib", 600).status == "sat"
