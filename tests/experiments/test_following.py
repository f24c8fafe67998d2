"""Cells whose alphas climb R and cells whose alphas descend it differ, and finished networks are not trained again."""

import dataclasses
import json

import pytest

from dsrna_jax.commands.process import status
from dsrna_jax.genotypes.architecture import save
from dsrna_jax.genotypes.zoo import resolve
from experiments.studies import following


def convolutions(cell):
    return sum("conv" in primitive for primitive, _ in (*cell.normal, *cell.reduction))


@pytest.mark.slow
def test_cells_that_descend_r_have_more_convolutions():
    config = dataclasses.replace(following.CONFIG, nodes=1, channels=8)
    genotypes = following.cells(config, steps=3, rate=0.5)
    assert convolutions(genotypes["along"]) < convolutions(genotypes["against"])


def test_the_table_has_the_networks_that_are_done(tmp_path, capsys):
    for name, radius in {"along": 0.02, "against": 0.01}.items():
        save(resolve("DARTS_V2"), tmp_path / f"{name}_0.json")
        (tmp_path / f"{name}_0").mkdir()
        (tmp_path / f"{name}_0" / "ranking.json").write_text(json.dumps({"accuracy": 0.9, "crown_radius": radius}))
    assert status(following.main, ["following", "--seeds=1", f"--run_dir={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert "| along dR/dalpha | 0.0200 |" in out and "| against dR/dalpha | 0.0100 |" in out
    assert status(following.main, ["following", "--seeds=0"]) == 1
