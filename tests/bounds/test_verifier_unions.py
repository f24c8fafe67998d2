"""The complete verifier over several boxes: the union holds what each of them holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from verifier_problems import problem

from dsrna_jax import bounds
from dsrna_jax.bounds.verifier import api, input_splits, neuron_splits
from dsrna_jax.bounds.verifier.verdict import OVER, Outcome

OF_A_SUM = bounds.Specification(np.ones((1, 1)), np.array([-0.5]))


def total(x):
    return jnp.abs(x).sum(tuple(range(1, x.ndim)))[:, None]


@pytest.mark.parametrize("split", ["inputs", "hinges"])
@pytest.mark.parametrize("seed", range(4))
def test_a_union_holds_if_every_box_does(split, seed):
    """Quarters of the box of a random network, each with offsets of its own: `least` of the whole decides, moved by these."""
    f, box, specification, least = problem(seed)
    lower, upper = np.asarray(box.lower), np.asarray(box.upper)
    cuts = np.linspace(lower[:, 0], upper[:, 0], 5)
    boxes = bounds.Box(*(np.repeat(side, 4, 0) for side in (lower, upper)))
    boxes.lower[:, 0], boxes.upper[:, 0] = cuts[:-1, 0], cuts[1:, 0]
    for margin, status in ((0.1, "verified"), (-0.1, "counterexample")):
        moved = bounds.Specification(
            specification.rows, np.asarray(specification.offsets) - least + margin, specification.clauses
        )
        each = bounds.Specification(moved.rows, np.repeat(np.reshape(moved.offsets, (1, -1)), 4, 0), moved.clauses)
        for whole in (moved, each):
            verdict = bounds.verify(f, boxes, whole, split=split, batch=16, method="crown", timeout=600)
            assert verdict.status == status
            if status == "counterexample":
                x = verdict.counterexample
                assert np.all((boxes.lower <= x) & (x <= boxes.upper), 1).any()


@pytest.mark.parametrize("fails", [None, 0, 1, 2])
def test_rows_and_offsets_are_of_their_box(fails, monkeypatch):
    """Waves on [0, 1], [1, 2] and [2, 3], without the attack: each box asks for its own minimum, one of them for too much."""
    lower, factors = np.arange(3.0)[:, None], np.array([1.0, 2.0, 0.5])
    monkeypatch.setattr(api.Problem, "attacked", lambda *_: (None, api.ClosestInput(lower[0], 1.0, 0)))
    boxes, wave = bounds.Box(lower, lower + 1), lambda x: x * jnp.sin(9 * x)
    least = np.asarray(wave(lower + np.linspace(0, 1, 10_001))).min(1)
    margins = np.where(np.arange(3) == fails, -0.01, 0.01)
    specification = bounds.Specification(factors[:, None, None], (margins - factors * least)[:, None])
    verdict = bounds.verify(wave, boxes, specification, batch=4)
    assert verdict.branches > 6 and verdict.status == ("verified" if fails is None else "counterexample")
    assert fails is None or boxes.lower[fails] <= verdict.counterexample <= boxes.upper[fails]


def test_thousands_of_boxes_are_bounded_in_few_batches():
    """More boxes than the attack has points: all are bounded, and the only one that fails is found."""
    lower = np.linspace(1, 2, 3000)[:, None]
    boxes = bounds.Box(lower, lower + 1e-3)
    assert bounds.verify(total, boxes, OF_A_SUM, batch=256).branches == 3000
    boxes.lower[2000], boxes.upper[2000] = 0.4, 0.6
    verdict = bounds.verify(total, boxes, OF_A_SUM, batch=256)
    assert verdict.status == "counterexample" and 0.4 <= verdict.counterexample[0] <= 0.5


@pytest.mark.parametrize(("neurons", "at_once"), [(50, 64), (5_000, 19), (200_000, 1)])
def test_the_larger_a_network_the_fewer_sub_boxes_are_bounded_at_once(monkeypatch, neurons, at_once):
    batches = []
    monkeypatch.setattr(api, "POINTS", 1)
    monkeypatch.setattr(input_splits, "search", lambda *_, batch, **__: batches.append(batch) or Outcome("unknown", None, "", 0))
    width, box = np.ones((1, neurons), np.float32), bounds.Box(np.array([[1.0]]), np.array([[2.0]]))
    bounds.verify(lambda x: jax.nn.relu(x * width).sum(1, keepdims=True), box, OF_A_SUM, split="inputs")
    assert batches == [at_once]


def test_a_box_may_be_of_numbers_alone():
    """f maps [batch] to [batch]."""
    specification = bounds.Specification(np.array([1.0]), np.array([0.1]))
    box = bounds.Box(np.array([-1.0]), np.array([1.0]))
    assert bounds.verify(jnp.abs, box, specification).status == "verified"
    assert bounds.verify(jnp.sin, box, specification).status == "counterexample"


def test_inputs_that_do_not_vary_do_not_count(monkeypatch):
    """Two of 100 inputs vary: the box is cut, which needs no hinges."""
    asked = []
    monkeypatch.setattr(api.input_splits, "search", lambda *_, **__: asked.append(1) or Outcome("unknown", None, OVER, 0))
    lower = np.full((1, 100), 0.1)
    upper = lower + np.eye(100)[3] + np.eye(100)[7]
    bounds.verify(lambda x: jnp.maximum(x, 0).sum(1, keepdims=True), bounds.Box(lower, upper), OF_A_SUM)
    assert asked


def test_boxes_share_the_time(monkeypatch):
    """Box 0 does not come to an end in its half of the time, box 1 needs none, and box 0 has the rest."""
    shares = []

    def solve(f, specification, box, *, seconds_left):
        assert box.lower == specification.rows == specification.offsets  # those of this box
        shares.append((float(box.lower[0, 0]), round(seconds_left())))
        return Outcome("verified", None, "", 1) if len(shares) > 1 else Outcome("unknown", None, OVER, 1)

    monkeypatch.setattr(neuron_splits, "search", solve)
    boxes = bounds.Box(np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]]))
    specification = bounds.Specification(np.array([[[0.0]], [[1.0]]]), np.array([[0.0], [1.0]]), ((0,),))
    outcome = neuron_splits.search_each(None, specification, boxes, seconds_left=lambda: 60)
    assert shares == [(0, 30), (1, 60), (0, 60)] and (outcome.status, outcome.branches) == ("verified", 3)


def test_the_time_is_over_before_some_boxes_are_decided():
    boxes = bounds.Box(np.zeros((5, 1)), np.ones((5, 1)))
    verdict = bounds.verify(lambda x: total(x) + 1, boxes, OF_A_SUM, timeout=1e-9)
    assert verdict.status == "unknown" and verdict.reason == "the time was over before 5 of 5 boxes were decided"
