"""The figures of `make gpu`: lines that say where and when, failures as lines too; all of them run on a CPU at tiny size."""

import json
import re
from importlib.metadata import version

import pytest

from dsrna_jax.errors import InputError
from experiments.benchmarks import timing
from experiments.gpu import figures, measure
from experiments.gpu.apart import row_of
from experiments.gpu.figures import FIGURES, PARTS, measured


def test_a_line_has_the_numbers_of_a_figure_and_where_and_when(capsys):
    measure.main(["measure", "--tiny", "--only=card", "--here"])
    row = json.loads(capsys.readouterr().out)
    assert (row["part"], row["name"], row["scale"], row["card"]) == ("see", "card", "tiny", "cpu")
    assert row["jax"] == version("jax") and re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"])
    assert min(row[name] for name in ("float32_tflops", "copy_tb_s", "call_us", "kernel_us")) > 0


def test_a_figure_that_fails_is_a_line_and_the_others_are_measured(capsys, monkeypatch, tmp_path):
    rows = {"card": {"name": "card", "error": "no memory"}, "tests": {"name": "tests", "failed": 1}}
    monkeypatch.setattr(measure, "row_of", lambda module, name, arguments, limit: rows.get(name, {"name": name}))
    with pytest.raises(InputError, match="^card, tests failed here"):
        measure.main(["measure", f"--out={tmp_path / 'rows' / 'gpu.jsonl'}"])
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == list(FIGURES)
    assert (tmp_path / "rows" / "gpu.jsonl").read_text().splitlines() == lines


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import os, sys; print('F0000 a.cc:1] Check failed', file=sys.stderr, flush=True); os.abort()", "Check failed"),
        ("raise MemoryError('too large')", "MemoryError: too large"),
        ("import time; time.sleep(600)", "it had not ended after 0.5 s"),
    ],
)
def test_a_process_that_aborts_fails_or_does_not_end_is_an_error(tmp_path, program, expected):
    (tmp_path / "dies.py").write_text(program)
    row = row_of("dies", "figure", [], {"PYTHONPATH": str(tmp_path)}, limit=0.5 if "sleep" in program else None)
    assert (row["name"], row["error"]) == ("figure", expected)


@pytest.mark.parametrize("argument", ["--parts=sea", "--only=search_step"])
def test_unknown_names_are_refused_with_those_that_are_known(argument):
    with pytest.raises(InputError, match="expected one of .*search"):
        measure.main(["measure", argument])


def test_the_minutes_of_a_search_are_those_of_its_steps(monkeypatch):
    times = {"weight_gradient_ms": 40.0, "step_ms": 100.0}
    monkeypatch.setattr(timing, "search_step_cost", lambda config, side, repeats: dict(times))
    row = measured("search_step_jacobian", "full")
    assert row["epochs"] == 50  # 15 of them without steps of the alphas, 195 batches of 128 in each
    assert row["minutes"] == pytest.approx(195 * (15 * 40 + 35 * 100) / 60_000, abs=0.05)


def test_every_part_has_figures_and_the_tests_are_there():
    assert list(dict.fromkeys(figure.part for figure in FIGURES.values())) == list(PARTS)
    root = figures.Path(__file__).parents[1]
    assert all((root / name).is_file() for name in figures.TESTED)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_measured_on_a_cpu_at_tiny_size(name):
    assert measured(name, "tiny")
