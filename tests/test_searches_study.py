"""The study of all searches: equal budgets, rows that are not measured twice, means over seeds."""

import json

import pytest

from dsrna_jax.commands.process import status
from experiments.studies import searches

SMALL = searches.Budget(nodes=1, channels=8, epochs=2, train_epochs=1, images=2)


@pytest.mark.parametrize("method", [name for name in searches.METHODS if name != searches.CONTROL])
def test_every_search_has_the_passes_of_the_budget(method):
    config = searches.budgeted(method, 3, SMALL._replace(epochs=24))
    members = {"pdarts": 3, "rdarts_l2": 4}.get(method, 1)
    assert config.epochs * members == (0 if method == "nasnet" else 24) and config.seed == 3
    assert (config.nodes, config.channels) == (1, 8) and config.warmup_epochs < max(1, config.epochs)


def test_rows_that_are_there_are_not_measured_again(tmp_path, capsys):
    for seed, accuracy in enumerate((0.9, 0.8)):
        for method in ("gdas", "random_cells"):
            folder = tmp_path / f"{method}_{seed}"
            folder.mkdir()
            skips = {"skips": 2 + seed} if method == "gdas" else {}
            row = {"method": method, "seed": seed, "accuracy": accuracy, "crown_radius": 0.01, **skips}
            (folder / "row.json").write_text(json.dumps(row))
    arguments = ["searches", "--seeds=2", "--methods=gdas,random_cells", f"--run_dir={tmp_path}"]
    assert status(searches.main, arguments) == 0
    out = capsys.readouterr().out
    assert "| gdas | 2 | 2.5 ± 0.71 | – | 0.85 ± 0.071 | – | – | 0.01 ± 0 |" in out
    assert "| random_cells | 2 | – | – | 0.85 ± 0.071 | – | – | 0.01 ± 0 |" in out


@pytest.mark.parametrize(
    ("flag", "message"), [("--methods=bogus", "methods has 'bogus'"), ("--seeds=0", "seeds=0"), ("--images=0", "images=0")]
)
def test_what_cannot_be_studied_is_refused(flag, message, tmp_path, capsys):
    assert status(searches.main, ["searches", flag, f"--run_dir={tmp_path}"]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_and_the_control_have_all_columns(tmp_path):
    for method in ("darts_plus", searches.CONTROL):
        row = searches.row(method, 0, tmp_path / method, SMALL)
        assert row == searches.row(method, 0, tmp_path / method, SMALL)
        wanted = set(searches.COLUMNS) - (set() if method == "darts_plus" else {"skips", "eigenvalue"})
        assert all(row[name] is not None for name in wanted) and 0 < row["crown_radius"] < 1
