"""Every method runs with every robustness measure, and resumes where it was stopped: all presets of the digits, made small."""

import dataclasses
import functools
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


def small(name, metric):
    return dataclasses.replace(PRESETS[name], **SMALL | OWN.get(name, {}), metric=metric, gamma=0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(method, measure) -> the folder of a search that was never stopped, and what it found; each is run once."""

    @functools.cache
    def searched(name, metric):
        folder = tmp_path_factory.mktemp("whole")
        return folder, run(small(name, metric), folder, devices=1, file=io.StringIO())

    return searched


@pytest.mark.parametrize("metric", [name for name in MEASURES if name != "none"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_with_every_measure(name, metric, whole):
    folder, found = whole(name, metric)
    searches = [path for path in folder.rglob("metrics.jsonl") if (path.parent / "alphas.jsonl").exists()]
    for path in searches:
        rows = records.rows(path)
        assert all(row["robustness"] is not None and row["alpha_gradient"] > 0 for row in rows) and len(rows) >= 2
    assert len(searches) >= 1
    assert found.nodes == 1 and json.loads((folder / "genotype.json").read_text())
    assert {"cells.png", "alphas.png", "curves.png"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", [name for name in METHODS if not PRESETS[name].is_series])  # of these: test_series
def test_every_method_ends_the_same_when_it_was_stopped_before(name, whole, tmp_path, monkeypatch):
    config = small(name, "jacobian")
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        at_step(patch, 3, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        run(config, tmp_path / "run", devices=1, file=io.StringIO())
    run(config, tmp_path / "run", resume=True, devices=1, file=io.StringIO())
    assert_same_end(tmp_path / "run", whole(name, "jacobian")[0])
