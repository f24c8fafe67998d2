"""Every method runs with R and resumes where it was stopped, and takes every measure: all presets of the digits, made small."""

import dataclasses
import io
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick
from smoke_run import FEW, assert_same_end, at_step

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.measures import MEASURES
from dsrna_jax.runtime import records
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.search.setup import search_setup
from dsrna_jax.search.state import SearchBatch
from dsrna_jax.series.run import run

pytestmark = pytest.mark.slow
# The eigenvalue, of which test_curvature is, takes long: it is measured where a search stops by it.
SMALL = {"cells": 3, "channels": 8, "nodes": 1, "epochs": 2, "warmup_epochs": 0, "batch_size": 240, "eigenvalue_every": 0}
OPERATIONS = {"darts": FEW, "pcdarts": FEW, "s5": "04,15;26,36"}  # by space: searches of few operations compile little
OWN = {
    "digits_darts_es": {"eigenvalue_every": 1},
    "digits_gdas": {"space": "robnet"},  # of two operations, of which each step computes the drawn one
}
# Of four searches by two kinds of perturbation in two spaces, two are left, which have both kinds and both spaces.
ALIKE = ("digits_sdarts_adv", "digits_pcdarts_rs")
METHODS = sorted(
    name
    for name, config in PRESETS.items()
    if name.startswith("digits_") and "dsrna" not in name and config.strategy == "gradient" and not config.is_series
    if name not in ALIKE
)
# Searches of one space, of which the radii of each epoch, whose program takes long, are measured once.
OF_A_SPACE = sorted({PRESETS[name].space: name for name in METHODS if PRESETS[name].perturbation != "adversarial"}.values())
# Searches whose alphas move alike, one of them for all: what else there is in a method, the first test runs.
MOVE_ALIKE = ("space", "order", "mixture", "levels", "prune_below")
OF_A_MOVE = sorted(
    {tuple(getattr(PRESETS[name], option) for option in MOVE_ALIKE): name for name in [*METHODS, *OF_A_SPACE]}.values()
)


def small(name, metric):
    config = dataclasses.replace(PRESETS[name], **SMALL | OWN.get(name, {}), metric=metric, gamma=0.01)
    return dataclasses.replace(config, operations=OPERATIONS.get(config.space, ""))


def ran(name, metric, folder):
    """The configuration of a whole search in a folder, whose records and pictures are looked at."""
    config = small(name, metric)
    found = run(config, folder, devices=1, file=io.StringIO())
    searches = [path for path in folder.rglob("metrics.jsonl") if (path.parent / "alphas.jsonl").exists()]
    for path in searches:
        rows = records.rows(path)
        assert all(row["robustness"] is not None and row["alpha_gradient"] > 0 for row in rows) and len(rows) >= 2
    assert len(searches) >= 1
    assert found.nodes == 1 and json.loads((folder / "genotype.json").read_text())
    assert {"cells.png", "alphas.png", "curves.png"} <= {path.name for path in folder.iterdir()}
    return config


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_with_r_and_ends_the_same_when_it_was_stopped(name, tmp_path, monkeypatch):
    """But for series, whose members are searches with the measure of the series: test_series stops and resumes them."""
    config = ran(name, "jacobian", tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        at_step(patch, 3, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        run(config, tmp_path / "run", devices=1, file=io.StringIO())
    run(config, tmp_path / "run", resume=True, devices=1, file=io.StringIO())
    assert_same_end(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("metric", [name for name in MEASURES if name not in ("none", "jacobian")])
@pytest.mark.parametrize("name", OF_A_SPACE)
def test_every_space_is_searched_with_every_measure(name, metric, tmp_path):
    ran(name, metric, tmp_path / "whole")


@pytest.mark.parametrize("metric", [name for name in MEASURES if name not in ("none", "jacobian")])
@pytest.mark.parametrize("name", [name for name in OF_A_MOVE if name not in OF_A_SPACE])
def test_alphas_move_by_every_measure_in_every_method(name, metric):
    config = small(name, metric)
    setup = search_setup(config)
    functions, key = setup.functions, jax.random.key(0, impl="rbg")
    state, batch = quick(functions.init)(key), SearchBatch(jax.random.uniform(key, (4, 8, 8, 1)), jnp.arange(4))
    moved, metrics = quick(functions.alpha_step)(state, batch, batch, key)
    assert config.levels == 2 and metrics["robustness"] < 0 and metrics["alpha_gradient"] > 0
    for before, after in zip(*map(jax.tree.leaves, (state.alphas, moved.alphas)), strict=True):
        assert np.isfinite(after).all() and not np.array_equal(before, after)
