"""Runs that version 0.1.0 wrote (tests/golden) load, resume and are compared, although fields and values have other names now.

`search` was stopped after 5 of 10 steps, but its metrics are those of the whole run; `train` has attack and certificate folders.
"""

import dataclasses
import io
import json
import shutil
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest

from dsrna_jax import genotypes
from dsrna_jax.comparison import runs
from dsrna_jax.comparison.table import comparison
from dsrna_jax.data import load
from dsrna_jax.evaluation.attack import run as attack_run
from dsrna_jax.evaluation.attack.config import AttackConfig
from dsrna_jax.evaluation.certify import run as certification_run
from dsrna_jax.evaluation.certify.config import CertificationConfig
from dsrna_jax.runtime import records
from dsrna_jax.runtime.options import in_todays_names
from dsrna_jax.runtime.run_folder import configuration
from dsrna_jax.search import run as search_run
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.training import restore
from dsrna_jax.training.config import TrainingConfig

ARCHIVE = Path(__file__).parents[1] / "golden" / "runs_of_0.1.0.zip"


@pytest.fixture
def old(tmp_path):
    """A folder with the runs `search`, `certified` and `train`, to read and to go on with."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def test_configurations_load_with_the_names_of_today(old):
    search = configuration(old / "search", SearchConfig)
    assert (search.nodes, search.jacobian_norm, search.jacobian_method, search.seed) == (1, "row_l1", "rows", 1)
    certified = configuration(old / "certified", SearchConfig)
    assert (certified.metric, certified.certificate, certified.nodes) == ("certified", "cell", 1)
    training = configuration(old / "train", TrainingConfig)
    assert (training.cells, training.drop_path, training.norm) == (3, 0.2, "linf")


@pytest.mark.slow
def test_a_search_resumes_and_ends_as_it_did_then(old):
    """To rounding, which differs between machines."""
    folder = old / "search"
    recorded, found = records.rows(folder / "metrics.jsonl"), genotypes.load(folder / "genotype.json")
    said = io.StringIO()
    end = search_run.run(configuration(folder, SearchConfig), folder, resume=True, devices=1, file=said)
    assert "resuming after step 5 of 10" in said.getvalue()
    assert end == genotypes.load(folder / "genotype.json") == found
    for now, then in zip(records.rows(folder / "metrics.jsonl"), recorded, strict=True):
        assert list(now) == list(then)
        numbers = [name for name, value in then.items() if value is not None]
        assert [name for name, value in now.items() if value is not None] == numbers
        np.testing.assert_allclose([now[name] for name in numbers], [then[name] for name in numbers], rtol=1e-3, atol=1e-3)
    assert json.loads((folder / "config.json").read_text())["config"]["nodes"] == 1


def test_a_trained_network_is_restored_and_predicts_as_it_did_then(old):
    network = restore.load(old / "train")
    settings = json.loads((old / "train" / "attack_smoke_linf" / "settings.json").read_text())
    assert network.step == settings["checkpoint step"] and network.digest == settings["checkpoint digest"]
    assert network.config == configuration(old / "train", TrainingConfig)
    test = load("digits", "test")
    attacked = np.load(old / "train" / "attack_smoke_linf" / "flags.npz")
    logits = jax.jit(network.logits_fn)(np.float32(test.images[attacked["index"]]) / 255)
    np.testing.assert_array_equal(np.argmax(logits, axis=1), attacked["prediction"])


@pytest.mark.parametrize(
    ("run", "kind", "name"),
    [
        (attack_run.run, AttackConfig, "attack_smoke_linf/attack.json"),
        (certification_run.run, CertificationConfig, "certify_ibp_linf/certify.json"),
    ],
    ids=["attack", "certify"],
)
def test_a_finished_evaluation_resumes_and_reports_the_same(old, run, kind, name):
    """None of its batches is computed again."""
    file = old / "train" / name
    before, batches = json.loads(file.read_text()), (file.parent / "batches.jsonl").read_bytes()
    settings = json.loads((file.parent / "settings.json").read_text()) | {"data_dir": ""}
    fields = {field.name for field in dataclasses.fields(kind)}
    config = kind(**{name: value for name, value in in_todays_names(kind, settings).items() if name in fields})
    run(config, old / "train", file.parent, resume=True, devices=1, file=io.StringIO())
    after = json.loads(file.read_text())
    assert (file.parent / "batches.jsonl").read_bytes() == batches
    assert after.keys() - before.keys() == {"origin", "machine"} and not before.keys() - after.keys()
    assert after["examples"] == before["examples"] and after["clean"] == before["clean"]


def test_an_old_training_is_compared(old):
    finished = runs.read(old / "train")
    assert [len(finished.attacks), len(finished.certificates), len(finished.radii)] == [1, 1, 1]
    assert finished.config.cells == 3
    comparison([finished])
    shutil.rmtree(old / "train" / "attack_smoke_linf")
    assert not runs.read(old / "train").attacks
