"""A network of blocks is trained, attacked, certified and compared by the commands, with a note that its space is another one."""

import io
import json

import pytest
from compared_runs import table_of
from linear_run import TINY

from dsrna_jax import genotypes
from dsrna_jax.commands import attack, certify, compare
from dsrna_jax.commands.process import status
from dsrna_jax.comparison.text import markdown
from dsrna_jax.genotypes.block_genotype import BlockGenotype
from dsrna_jax.training import run as training_run
from dsrna_jax.training.config import TrainingConfig

BLOCKS = BlockGenotype(("mbconv_3x3_e3", "mbconv_3x3_e6", "mbconv_5x5_e3"))
NOTE = "Rows of space proxyless are from searches that use a different search space"


def test_rows_of_blocks_and_of_cells_come_with_a_note_that_their_spaces_differ(runs):
    found = {"darts": TINY, "proxyless": BLOCKS}
    paths = []
    for space, architecture in found.items():
        search = runs.search(f"found_{space}", architecture, space=space, metric="none", order="first")
        paths.append(runs.make(space, architecture=architecture, genotype=str(search), dataset="cifar10"))
    assert NOTE in markdown(table_of(*paths)) and NOTE not in markdown(table_of(paths[0]))


@pytest.mark.slow
def test_a_network_of_blocks_is_trained_attacked_certified_and_compared(tmp_path, capsys):
    genotypes.save(BLOCKS, tmp_path / "genotype.json")
    size = {"cells": 3, "channels": 4, "auxiliary_weight": 0.0, "epochs": 2, "batch_size": 256}
    run = tmp_path / "run"
    training_run.run(TrainingConfig(genotype=str(tmp_path / "genotype.json"), **size), run, devices=1, file=io.StringIO())
    where = f"--checkpoint={run}"
    assert status(attack.main, ["attack", where, "--tier=smoke", "--radius=0.1", "--examples=16"]) == 0
    assert status(certify.main, ["certify", where, "--method=ibp", "--examples=4", "--tries=3", "--attack_steps=3"]) == 0
    assert status(compare.main, ["compare", str(run), f"--out={tmp_path / 'table'}"]) == 0
    capsys.readouterr()
    attacked, certified = (next(run.rglob(name)) for name in ("attack.json", "certify.json"))
    assert 0 <= json.loads(attacked.read_text())["rows"][-1]["accuracy"] <= 1
    assert json.loads(certified.read_text())["radius"]["mean"] >= 0
    assert "blocks" in json.loads((run / "genotype.json").read_text())
