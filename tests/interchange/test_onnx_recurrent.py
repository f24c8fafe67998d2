"""Bounds of recurrent networks that are read from ONNX hold, and what is not read of them ends in one line.

That they compute what onnxruntime computes is a part of `test_onnx.py`.
"""

import numpy as np
import onnx_cases
import pytest
from onnx_runs import node, saved_graph
from quick import quick

from dsrna_jax import bounds, interchange
from dsrna_jax.errors import InputError

normal = onnx_cases.normal
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def path_of(folder, operator, result="s h", more=(), operands=(), **attributes):
    count = GATES[operator]
    constants = {"w": normal(1, 3 * count, 4) / 2, "r": normal(1, 3 * count, 3) / 2, "b": normal(1, 6 * count) / 4}
    constants |= {name: value for name, value in operands}
    names = " ".join(["x w r b", *(name for name, _ in operands)])
    nodes = [node(operator, names, result, hidden_size=3, **attributes), *more]
    return saved_graph(folder / "network.onnx", nodes, constants, onnx_cases.SEQUENCE)


@pytest.mark.parametrize("operator", GATES)
def test_bounds_of_recurrent_networks_hold(operator, tmp_path):
    """The last state, [1, 1, 3], for sequences of 5; linear bounds are tighter than intervals."""
    network = interchange.read_onnx(path_of(tmp_path, operator, "s y"))
    x = np.random.default_rng(0).normal(size=(2, *network.example_shape)).astype(np.float32)
    by_interval, linear = (
        quick(lambda x, method=method: bounds.bound(network, x, radius=0.05, method=method))(x) for method in ("ibp", "crown_ibp")
    )
    random = np.random.default_rng(1)
    for _ in range(50):
        moved = np.asarray(network(x + random.choice([-0.05, 0.05], x.shape).astype(np.float32)))
        for lower, upper in (by_interval, linear):
            assert np.all(lower <= moved) and np.all(moved <= upper)
    widths = [np.asarray(upper - lower).mean() for lower, upper in (by_interval, linear)]
    assert widths[1] < widths[0] < 2


@pytest.mark.parametrize("operator", GATES)
def test_a_layout_with_the_batch_first_computes_the_same(operator, tmp_path):
    """Both directions, from given states; all outputs are put one after the other."""
    random, count, states = np.random.default_rng(0), GATES[operator], 2 if operator == "LSTM" else 1
    constants = {"w": random.normal(size=(2, 3 * count, 4)), "r": random.normal(size=(2, 3 * count, 3)), "flat": np.array([-1])}
    constants = {name: value.astype(np.float32) if value.dtype == float else value for name, value in constants.items()}
    start = random.normal(size=(states, 2, 1, 3)).astype(np.float32)
    x, values = random.normal(size=(5, 1, 4)).astype(np.float32), []
    for layout in (0, 1):
        moved = start.swapaxes(1, 2) if layout else start
        given = constants | {"b": np.zeros((2, 6 * count), np.float32), "n": np.array([5], np.int32)}
        given |= {f"s{i}": state for i, state in enumerate(moved)}
        names, results = ["w r b n", *(f"s{i}" for i in range(states))], ["e", "h", "c"][: 1 + states]
        nodes = [
            node(operator, f"x {' '.join(names)}", " ".join(results), hidden_size=3, direction="bidirectional", layout=layout),
            node("Transpose", "e", "every", perm=[1, 2, 0, 3] if layout else [0, 1, 2, 3]),
            node("Transpose", "h", "last", perm=[1, 0, 2] if layout else [0, 1, 2]),
            *(node("Reshape", f"{name} flat", f"flat_{name}") for name in ("every", "last")),
            node("Concat", "flat_every flat_last", "y", axis=0),
        ]
        shape = (1, 5, 4) if layout else (5, 1, 4)
        network = interchange.read_onnx(saved_graph(tmp_path / f"{layout}.onnx", nodes, given, shape))
        values.append(np.asarray(network(x.reshape(1, *network.example_shape))))
    np.testing.assert_allclose(values[1], values[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activations": ["Affine"]}, "activation 'Affine': expected one of Relu, "),
        ({"activations": ["Tanh", "Relu"]}, "2 activations: expected 1 for each direction"),
        ({"direction": "both"}, "direction='both': expected forward, reverse, bidirectional"),
        ({"operands": [("n", np.array([3], np.int32))]}, "sequence_lens=.3.: expected the whole sequence of 5"),
    ],
)
def test_what_is_not_read_of_recurrent_operations_ends_in_one_line(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        interchange.read_onnx(path_of(tmp_path, "RNN", "s y", **changes))


def test_coupled_gates_are_refused(tmp_path):
    with pytest.raises(InputError, match="input_forget=1"):
        interchange.read_onnx(path_of(tmp_path, "LSTM", "s y", input_forget=1))
