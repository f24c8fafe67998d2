"""Costs of a reproduction: by its plan, by the runs that have ended here, and in words."""

import pytest
from planned_runs import TABLES, finished, planned

from dsrna_jax.reproduction.costs import Costs
from dsrna_jax.runtime.durations import in_words
from dsrna_jax.sweeps.worker import JobState, record


def test_costs_follow_the_runs_that_have_ended_here(tmp_path):
    plan = planned("digits", "dsrna_cb", "dsrna_jacobian", tables=TABLES[:1], seeds=2, out=tmp_path)
    first, second = (f"digits/search/dsrna_cb-{seed}" for seed in (0, 1))
    before = plan.costs.seconds("digits/search/dsrna_jacobian-0")
    finished(plan, first, 3 * plan.costs.planned[first])
    plan.costs.refresh()
    assert plan.costs.is_done(first) and plan.costs.seconds(second) == pytest.approx(3 * plan.costs.planned[second])
    assert plan.costs.seconds("digits/search/dsrna_jacobian-0") == pytest.approx(3 * before)
    assert plan.costs.left([second]) == pytest.approx(plan.costs.seconds(second))


@pytest.mark.parametrize(
    ("epochs", "elapsed", "expected"),
    [(0, 10.0, 22.0), (0, 400.0, 40.0), (3, 60.0, 240.0), (15, 60.0, 0.0)],
    ids=["by the estimate", "longer than estimated", "by the share that is done", "at its end"],
)
def test_the_time_left_of_a_run_that_is_under_way(tmp_path, monkeypatch, epochs, elapsed, expected):
    plan = planned("digits", "dsrna_jacobian", tables=TABLES[1:2], out=tmp_path)
    name = "digits/search/dsrna_jacobian-0"
    assert plan.costs.configs[name].epochs == 15
    monkeypatch.setitem(plan.costs.planned, name, 32.0)
    monkeypatch.setattr("dsrna_jax.reproduction.costs.time.time", lambda: 1000.0 + elapsed)
    record(tmp_path, name, JobState("running", 1, 1000.0))
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "metrics.jsonl").write_text("".join(f'{{"epoch": {e + 1}, "step": {e}}}\n' for e in range(epochs)))
    assert plan.costs.left([name]) == pytest.approx(max(expected, elapsed / 10))


@pytest.mark.parametrize(
    ("seconds", "text"), [(40, "40 s"), (600, "10 min"), (3 * 3600, "3.0 h"), (9e6, "104 days"), (1e9, "32 years")]
)
def test_durations_in_words(seconds, text):
    assert in_words(seconds) == text


def test_costs_of_a_plan_are_those_of_its_scale():
    plan = planned("paper", "dsrna_cb", tables=TABLES[:1])
    assert isinstance(plan.costs, Costs) and plan.costs.planned["cifar10/search/dsrna_cb-0"] == pytest.approx(
        120 + 0.2 * 50 * 50_000
    )
