"""Every method runs with every robustness measure, and resumes where it was stopped: all presets of the digits, made small."""

import dataclasses
import io
import json
import os
import signal

import pytest
from smoke_run import assert_same_end, at_step

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.measures import MEASURES
from dsrna_jax.runtime import records
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.search.step import SearchFunctions
from dsrna_jax.series.run import run

pytestmark = pytest.mark.slow
# The eigenvalue, of which test_curvature is, takes long: it is measured where a search stops by it.
SMALL = {"cells": 3, "channels": 8, "nodes": 1, "epochs": 2, "warmup_epochs": 0, "batch_size": 240, "eigenvalue_every": 0}
OWN = {
    "digits_darts_es": {"eigenvalue_every": 1},
    "digits_pdarts": {"stages": "3:8:0,3:4:0.4"},
    "digits_darts_ada": {"eigenvalue_every": 1},
    "digits_rdarts_l2": {"weight_decays": "3e-4,81e-4", "retrain_epochs": 1, "retrain_cells": 3, "retrain_channels": 4},
}
METHODS = sorted(
    name
    for name, config in PRESETS.items()
    if name.startswith("digits_") and "dsrna" not in name and config.strategy == "gradient"
)
# Certified radii of every epoch, whose program takes long, are measured once for each search space.
WITH_RADII = {PRESETS[name].space: name for name in METHODS}.values()


def small(name, metric):
    return dataclasses.replace(PRESETS[name], **SMALL | OWN.get(name, {}), metric=metric, gamma=0.01)


@pytest.mark.parametrize("metric", [name for name in MEASURES if name != "none"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_with_every_measure_and_ends_the_same_when_it_was_stopped(name, metric, tmp_path, monkeypatch):
    """Series, which test_series stops, and searches with the certificate, whose programs take long, are not stopped here."""
    if name not in WITH_RADII:
        monkeypatch.setattr(SearchFunctions, "certifies", False)
    config, folder = small(name, metric), tmp_path / "whole"
    found = run(config, folder, devices=1, file=io.StringIO())
    searches = [path for path in folder.rglob("metrics.jsonl") if (path.parent / "alphas.jsonl").exists()]
    for path in searches:
        rows = records.rows(path)
        assert all(row["robustness"] is not None and row["alpha_gradient"] > 0 for row in rows) and len(rows) >= 2
    assert len(searches) >= 1
    assert found.nodes == 1 and json.loads((folder / "genotype.json").read_text())
    assert {"cells.png", "alphas.png", "curves.png"} <= {path.name for path in folder.iterdir()}
    if metric == "jacobian" and not config.is_series:
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            at_step(patch, 3, lambda _: os.kill(os.getpid(), signal.SIGTERM))
            run(config, tmp_path / "run", devices=1, file=io.StringIO())
        run(config, tmp_path / "run", resume=True, devices=1, file=io.StringIO())
        assert_same_end(tmp_path / "run", folder)
