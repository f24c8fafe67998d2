"""Bounds of operands of hinges that the verifier refines, against exact ones; searches beyond a leaf; ascents that end early."""

import numpy as np
import pytest
from exact_programs import Program
from verifier_problems import problem

from dsrna_jax import bounds
from dsrna_jax.bounds.verifier import neuron_splits, subproblems
from dsrna_jax.bounds.verifier.beta_crown import layers_of
from dsrna_jax.bounds.verifier.bounding import bounded
from dsrna_jax.bounds.verifier.compiled import Traceable
from dsrna_jax.bounds.verifier.operand_bounds import refined
from dsrna_jax.bounds.verifier.pairwise import splittable
from dsrna_jax.bounds.verifier.subproblems import Bounded, Subproblems

BATCH = 16


def exact_operands(f, box):
    """Least and greatest values of the operands of the second relu of a network of `test_verifier`, by integer programs."""
    program = Program(*(np.asarray(side, float) for side in (box.lower, box.upper)))
    (first, below), (second, above), _ = ((w.astype(float), b.astype(float)) for w, b in f.args[0])
    operands = program.affine(second, above, program.relu(program.affine(first, below, program.inputs)))
    return np.array([program.least(operand) for operand in operands]), -np.array(
        [program.least(-operand) for operand in operands]
    )


def test_refined_bounds_of_operands_hold_and_come_near_the_exact_ones():
    tightened = 0
    for seed in range(6):
        f, box, specification, _ = problem(seed)
        parts = Traceable.of(f, box.middle)
        search = neuron_splits._Branching(parts, specification, box, BATCH, iterations=5)
        root, _ = search.root("crown")
        tighten = lambda root, low, high, p=parts, b=box: subproblems.tightened(p.arrays, p.static, b, root, low, high)  # noqa: E731
        options = {"batch": BATCH, "rows": 1, "seconds_of_batch": 0.0}
        found = refined(root, layers_of(splittable(f, box.middle)), search.bounded, tighten, seconds=60.0, **options)
        low, high, was = (np.asarray(side) for side in (found.low, found.high, root.low))
        np.testing.assert_array_equal(low[:5], was[:5])
        least, greatest = exact_operands(f, box)
        is_open = (low[5:] < 0) & (high[5:] > 0)
        assert np.all(low[5:] <= least + 1e-6) and np.all(high[5:] >= greatest - 1e-6)
        np.testing.assert_allclose(low[5:][is_open], least[is_open], atol=0.02)
        np.testing.assert_allclose(high[5:][is_open], greatest[is_open], atol=0.02)
        np.testing.assert_array_equal(is_open, (least < 0) & (greatest > 0))
        tightened += (low > was).sum()
        same = refined(
            root,
            layers_of(splittable(f, box.middle)),
            search.bounded,
            tighten,
            seconds=0.0,
            **options | {"seconds_of_batch": 1},
        )
        assert same is root
    assert tightened > 5


def test_an_ascent_goes_on_while_it_may_certify_a_sub_problem():
    f, box, specification, _ = problem(0)
    parts = Traceable.of(f, box.middle)
    root, _ = subproblems.root(parts.arrays, parts.static, specification, box, method="crown")
    problems = Subproblems(*(np.stack([part] * BATCH) for part in Subproblems.whole(root, 0, np.ones(1, bool))))

    def bound(below, iterations, fewest):
        of_rows = bounds.Specification(specification.rows, specification.offsets - below)
        steps = {"iterations": iterations, "fewest": fewest}
        return float(bounded(parts.arrays, parts.static, of_rows, box, root, problems, **steps).bound[0])

    most = bound(0.0, 20, 20)
    assert bound(100.0, 20, 2) == bound(100.0, 2, 2) < bound(100.0, 20, 20)
    assert bound(most - 1e-3, 20, 2) > 0 > bound(most - 1e-3, 2, 2)


@pytest.mark.parametrize(("value", "status"), [(-1.0, "counterexample"), (1.0, "unknown")])
def test_a_leaf_that_is_too_close_to_call_does_not_end_the_search(monkeypatch, value, status):
    """The root has two parts: one without an open hinge, which no linear program decides, and one with an input of the value."""
    f, box, specification, _ = problem(0)
    monkeypatch.setattr(neuron_splits, "piece", lambda *args: None)
    parts = Traceable.of(f, box.middle)
    search = neuron_splits._Branching(parts, specification, box, 1, iterations=1)
    root, _ = search.root("crown")
    asked = []

    def bounded(root, problems, effort=1.0):
        asked.append((problems.first[0, 0], problems.last[0, 0]))
        is_last = len(asked) == 3
        point = np.full((1, 3), len(asked), np.float32)
        children = np.array([[-2.0], [-1.0]], np.float32)
        is_open = np.array([len(asked) == 1])
        bound = np.array([1.0 if is_last else -1.0])
        return Bounded(bound, problems, np.zeros(1, int), children, is_open, point, np.array([value if is_last else 1.0]))

    search.bounded = bounded
    assert search.run(root, {0}, lambda: len(asked) == 2) == {0}  # the part that is left for the next stage
    asked.clear()
    assert search.run(root, {0}, lambda: False) == set()
    assert asked == [(0, 1), (1, 1), (0, 0)]
    assert search.outcome is not None and search.outcome.status == status
    assert (search.outcome.counterexample is None) == (value > 0)


def test_a_clause_with_an_undecided_leaf_is_left_for_the_next_stage(monkeypatch):
    """The first of two clauses has a leaf that no linear program decides, then the time of the stage is over."""
    f, box, specification, _ = problem(0)
    monkeypatch.setattr(neuron_splits, "piece", lambda *args: None)
    parts = Traceable.of(f, box.middle)
    search = neuron_splits._Branching(parts, specification, box, 1, iterations=1)
    search.members = np.repeat(search.members[:1], 2, axis=0)
    root, asked = search.root("crown")[0], []

    def bounded(root, problems, effort=1.0):
        asked.append(int(problems.clause[0]))
        one, point = np.ones(1), np.zeros((1, 3), np.float32)
        return Bounded(-one, problems, np.zeros(1, int), -np.ones((2, 1)), np.zeros(1, bool), point, one)

    search.bounded = bounded
    is_over = iter([False, False, True]).__next__  # before the first batch, before its linear program, before the second batch
    assert search.run(root, {0, 1}, is_over) == {0, 1}
    assert len(asked) == 1 and search.outcome is None
