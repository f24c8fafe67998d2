"""ArgMax, OneHot and TopK read from ONNX compute what onnxruntime computes, and their bounds hold, also of segmentations."""

import numpy as np
import pytest
from onnx import TensorProto
from onnx_runs import node, saved_graph, values_in_onnxruntime
from quick import quick

from dsrna_jax import bounds, interchange
from dsrna_jax.errors import InputError

MAPS = (1, 3, 4, 5)
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
MASK = np.random.default_rng(1).integers(0, 3, (1, 1, 4, 5))
GRAPHS = {
    "places along channels": ([node("ArgMax", "x", "a", axis=1), node("Cast", "a", "y", to=FLOAT)], {}),
    "the last of equal ones": (
        [
            node("Round", "x", "r"),
            node("ArgMin", "r", "a", axis=-1, keepdims=0, select_last_index=1),
            node("Cast", "a", "y", to=FLOAT),
        ],
        {},
    ),
    "along the first axis": ([node("ArgMax", "x", "a"), node("Cast", "a", "y", to=FLOAT)], {}),
    "one-hot at the end": (
        [node("ArgMax", "x", "a", axis=1, keepdims=0), node("OneHot", "a depth values", "y")],
        {"depth": np.int64(3), "values": np.array([-0.5, 2], np.float32)},
    ),
    "one-hot channels, places from -2 to 3": (
        [
            node("Floor", "x", "f"),
            node("Clip", "f low high", "c"),
            node("Cast", "c", "a", to=INT64),
            node("OneHot", "a depth values", "y", axis=1),
        ],
        {"low": np.float32(-2), "high": np.float32(3), "depth": np.array([3]), "values": np.array([0, 1], np.float32)},
    ),
    "correct pixels of a segmentation": (
        [
            node("ArgMax", "x", "a", axis=1),
            node("Equal", "a mask", "e"),
            node("Cast", "e", "c", to=FLOAT),
            node("ReduceSum", "c axes", "y", keepdims=0),
        ],
        {"mask": MASK, "axes": np.array([1, 2, 3])},
    ),
    "largest entries and their places": (
        [
            node("TopK", "x k", "v p", axis=1),
            node("Cast", "p", "c", to=FLOAT),
            node("Add", "v c", "y"),
        ],
        {"k": np.array([2])},
    ),
    "smallest entries": ([node("TopK", "x k", "y p", largest=0)], {"k": np.array([3])}),
    "what is not zero": ([node("Relu", "x", "r"), node("Cast", "r", "b", to=BOOL), node("Cast", "b", "y", to=FLOAT)], {}),
}


def inputs(seed=0, examples=3):
    return np.random.default_rng(seed).normal(size=(examples, *MAPS[1:])).astype(np.float32)


@pytest.mark.parametrize("name", GRAPHS)
def test_operations_on_places_agree_with_onnxruntime_and_have_bounds(name, tmp_path):
    nodes, constants = GRAPHS[name]
    path = saved_graph(tmp_path / "network.onnx", nodes, constants, MAPS)
    network, x = interchange.read_onnx(path), inputs()
    (expected,) = values_in_onnxruntime(path, x)
    assert network.output_shape == expected.shape[1:]
    np.testing.assert_allclose(np.asarray(network(x)).reshape(expected.shape), expected, rtol=1e-6, atol=1e-6)
    if name == "largest entries and their places":
        with pytest.raises(NotImplementedError, match="indices of top_k"):
            bounds.bound(network, x, radius=0.1, method="ibp")
        return
    lower, upper = quick(lambda x: bounds.bound(network, x, radius=0.1, method="crown_ibp"))(x)
    for seed in range(20):
        moved = np.asarray(network(x + np.random.default_rng(seed).uniform(-0.1, 0.1, x.shape).astype(np.float32)))
        assert np.all(lower <= moved) and np.all(moved <= upper)
    assert np.all(np.isfinite(lower) & np.isfinite(upper))


def test_the_pixels_of_a_segmentation_that_no_attack_changes_are_counted(tmp_path):
    """Class 0 leads by 1 in 12 of 20 pixels, and by 0.01 in the others: at a radius of 0.1 the 12 stay correct."""
    nodes, constants = GRAPHS["correct pixels of a segmentation"]
    path = saved_graph(tmp_path / "network.onnx", nodes, constants | {"mask": np.zeros((1, 1, 4, 5), np.int64)}, MAPS)
    lead = np.where(np.arange(20).reshape(4, 5) < 12, 1, 0.01).astype(np.float32)
    x = np.stack([lead, 0 * lead, -lead])[None]
    lower, upper = bounds.bound(interchange.read_onnx(path), x, radius=0.1, method="ibp")
    np.testing.assert_allclose([lower.item(), upper.item()], [12, 20], atol=1e-3)


def test_whole_numbers_that_a_network_returns_become_floats(tmp_path):
    path = saved_graph(tmp_path / "network.onnx", [node("ArgMax", "x", "y", axis=1)], {}, MAPS, results=INT64)
    network, x = interchange.read_onnx(path), inputs()
    (expected,) = values_in_onnxruntime(path, x)
    assert network(x).dtype == np.float32 and (np.asarray(network(x)) == expected[:, 0]).all()
    lower, upper = bounds.bound(network, x, radius=0.01, method="ibp")
    assert np.all((lower <= expected[:, 0]) & (expected[:, 0] <= upper)) and np.any(lower == upper)


def test_more_entries_than_there_are_end_in_one_line(tmp_path):
    path = saved_graph(tmp_path / "network.onnx", [node("TopK", "x k", "y p", axis=1)], {"k": np.array([4])}, MAPS)
    with pytest.raises(InputError, match="TopK .*K=4: expected 1 to 3"):
        interchange.read_onnx(path)
