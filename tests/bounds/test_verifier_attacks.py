"""The attack that the verifier begins with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax import bounds
from dsrna_jax.bounds.verifier import api
from dsrna_jax.bounds.verifier.falsification import rounds


def test_an_attack_follows_a_valley_to_its_end():
    """Signs of gradients lead from one side of the valley x_0 = x_1 = ... to the other; f is -4 at its end."""

    def f(x):
        return jnp.abs(jnp.diff(x)).sum(1, keepdims=True) - 0.5 * x.sum(1, keepdims=True)

    specification = bounds.Specification(np.ones((1, 1)), np.array([3.96]))
    problem = api.Problem.of(f, bounds.Box(-np.ones((1, 8)), np.ones((1, 8))), specification)
    assert problem.attacked(None, lambda: False)[0] is not None


def test_an_attack_takes_as_many_points_as_fit_and_the_nearest_clauses_first(monkeypatch):
    """y = x + (0, ..., 9) of 100 entries of 4 bytes, on [-1, 1]: clause 0 alone has an input below -0.5."""
    f, box = lambda x: x[:, :10] + np.arange(10.0)[None], bounds.Box(-np.ones((1, 100)), np.ones((1, 100)))
    asked, attack = [], api.attacked
    monkeypatch.setattr(api, "attacked", lambda *args, points: asked.append(points) or attack(*args, points=points))
    monkeypatch.setattr(api, "free_memory", lambda: 2 * 4 * 400)
    rows = np.eye(10)[::-1]  # the clause to attack is the last
    found, nearest = api.Problem.of(f, box, bounds.Specification(rows, np.full(10, 0.5))).attacked(None, lambda: False)
    assert found is not None and found[0] <= -0.5 and len(asked) == 1 and asked[0] < 10
    assert nearest.value <= 0 and nearest.box == 0


@pytest.mark.parametrize("clauses", [1, 3, 10, 100])
@pytest.mark.parametrize("boxes", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize("room", [1, 4, 25, 1000])
def test_rounds_of_attacks_give_every_box_its_points_and_fit_the_memory(boxes, clauses, room):
    points, given = 4 * clauses, np.zeros(boxes, int)
    shapes, turns = set(), []
    for number, each, turn in rounds(boxes, points, clauses, room):
        given += each * (np.bincount(number, minlength=boxes) > 0)
        assert len(number) * each <= room and (each < clauses or each % clauses == 0)
        shapes.add((len(number), each))
        turns.append(turn)
    assert (given >= points).all() and (given < 2 * (points + each)).all()
    assert len(shapes) == 1 and turns == sorted(turns)


def test_later_rounds_attack_the_clauses_that_are_left(monkeypatch):
    """The nearest of 10 clauses at the middle of the box cannot fail; the second nearest does."""
    monkeypatch.setattr(api, "ATTACKED", 1)
    f, box = lambda x: jnp.tile(x, (1, 10)), bounds.Box(-np.ones((1, 1)), np.ones((1, 1)))
    rows, offsets = np.eye(10), np.array([0.5, 0.1] + [2.0] * 8)
    rows[1] = 0
    problem = api.Problem.of(f, box, bounds.Specification(rows, offsets))
    assert problem.attacked(None, lambda: True)[0] is None
    assert problem.attacked(None, lambda: False)[0] <= -0.5


def test_attacks_go_on_where_rounding_hides_the_property_at_the_nearest_input(monkeypatch):
    """The first attack comes to the edge of a counterexample, and no bound certifies the property there."""
    attacked, edge = api.Problem.attacked, api.ClosestInput(np.full(2, -1e-3, np.float32), 1e-7, 0)
    answers = iter([lambda *_: (None, edge)])
    monkeypatch.setattr(api.Problem, "attacked", lambda self, *given: next(answers, attacked.__get__(self))(*given))
    specification = bounds.Specification(np.ones((1, 1)), np.zeros(1))
    region = bounds.Box(-np.ones((1, 2)), np.ones((1, 2)))
    verdict = bounds.verify(lambda x: x.sum(1, keepdims=True), region, specification)
    assert (verdict.status, verdict.reason) == ("counterexample", "found by an attack")


def test_an_attack_on_one_clause_sees_that_another_fails():
    """Clause 1 fails in a corner alone, where steps on clause 0, which holds everywhere, lead."""

    def f(x):
        total = x.sum(1, keepdims=True)
        return jnp.concatenate([total + 9, 1 - 100 * jax.nn.relu(-7.9 - total)], 1)

    problem = api.Problem.of(f, bounds.Box(-np.ones((1, 8)), np.ones((1, 8))), bounds.Specification(np.eye(2), np.zeros(2)))
    counterexample, nearest = problem.attacked(None, lambda: False)
    assert counterexample is not None and counterexample.sum() < -7.9
    assert nearest.value == pytest.approx(-9, abs=1e-3)
