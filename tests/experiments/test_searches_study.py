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


def written(file, *rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["searches", f"--rows={file}", *(f"--{name}={value}" for name, value in SMALL._asdict().items())]


def test_rows_of_the_same_budget_are_not_measured_again(tmp_path, capsys):
    rows = [
        {"method": method, "seed": seed, **SMALL._asdict(), "accuracy": accuracy, "crown_radius": 0.01, **skips}
        for seed, accuracy in enumerate((0.9, 0.8))
        for method, skips in (("gdas", {"skips": 2 + seed}), ("random_cells", {}))
    ]
    arguments = written(tmp_path / "rows", *rows, rows[0] | {"nodes": 4, "accuracy": 0.1})
    before = (tmp_path / "rows").read_text()
    assert status(searches.main, [*arguments, "--seeds=2", "--methods=gdas,random_cells"]) == 0
    out = capsys.readouterr().out
    assert "| gdas | 2 | 2.5 ± 0.71 | – | 0.85 ± 0.071 | – | – | 0.01 ± 0 |" in out
    assert "| random_cells | 2 | – | – | 0.85 ± 0.071 | – | – | 0.01 ± 0 |" in out
    assert (tmp_path / "rows").read_text() == before


def test_a_row_that_is_missing_is_measured_and_kept(tmp_path, monkeypatch):
    arguments = written(tmp_path / "rows", {"method": "gdas", "seed": 0, **SMALL._asdict(), "nodes": 4})
    monkeypatch.setattr(searches, "row", lambda method, seed, folder, of: {"method": method, "seed": seed, **of._asdict()})
    assert status(searches.main, [*arguments, "--seeds=1", "--methods=gdas"]) == 0
    assert list(searches.measured(tmp_path / "rows", SMALL)) == [("gdas", 0)]


def test_a_garbled_row_is_named(tmp_path, capsys):
    for wrong in {"seed": "0"}, {"accuracy": "x"}, {"skips": {}}:
        arguments = written(tmp_path / "rows", {"method": "gdas", "seed": 0, **SMALL._asdict(), **wrong})
        assert status(searches.main, arguments) == 1
        assert "line 1 of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "message"), [("--methods=bogus", "methods has 'bogus'"), ("--seeds=0", "seeds=0"), ("--images=0", "images=0")]
)
def test_what_cannot_be_studied_is_refused(flag, message, tmp_path, capsys):
    assert status(searches.main, ["searches", flag, f"--run_dir={tmp_path}"]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_and_the_control_have_all_columns(tmp_path, monkeypatch):
    """Neither search nor training is run again where one is; the control lacks an eigenvalue alone."""
    row = searches.row("darts_plus", 0, tmp_path / "darts_plus", SMALL)
    assert all(row[name] is not None for name in searches.COLUMNS) and 0 < row["crown_radius"] < 1
    trained, network = [], {name: row[name] for name in ("accuracy", "pgd_accuracy", "jacobian_norm", "crown_radius")}
    monkeypatch.setattr(searches, "of_network", lambda folder, count: trained.append(folder) or network)
    assert searches.row("darts_plus", 0, tmp_path / "darts_plus", SMALL) == row
    control = searches.row(searches.CONTROL, 0, tmp_path / searches.CONTROL, SMALL)
    assert set(control) == set(row) - {"eigenvalue"} and control["skips"] is not None
    assert (trained[-1] / "result.json").exists()
