"""Runs that several files of tests need, each made once for all processes of the suite."""

import fcntl
import io
import pickle

import pytest
from smoke_run import SMOKE

from dsrna_jax import genotypes
from dsrna_jax.search import run as search_run
from dsrna_jax.training import run as training_run
from dsrna_jax.training.config import TrainingConfig

CELL = (("sep_conv_3x3", 0), ("skip_connect", 1))
TINY = genotypes.Genotype(CELL, (2,), CELL, (2,))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, request):
    """(name, make) -> make(folder): by the first process that asks; the others wait, and read what it returned."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if hasattr(request.config, "workerinput") else own  # as pytest-xdist lays them out

    def made(name, make):
        folder, result = shared / name, shared / f"{name}.pickle"
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not result.exists():
                folder.mkdir()
                result.write_bytes(pickle.dumps(make(folder)))
        return pickle.loads(result.read_bytes())

    return made


@pytest.fixture(scope="session")
def smoke_run(made_once):
    """The run folder of `SMOKE`, never interrupted, and what the run said."""

    def make(folder):
        said = io.StringIO()
        search_run.run(SMOKE, folder / "run", devices=1, file=said)
        return folder / "run", said.getvalue()

    return made_once("smoke", make)


@pytest.fixture(scope="session")
def tiny(made_once):
    """A configuration that trains in seconds: each part of a training, as small as it gets."""

    def make(folder):
        genotypes.save(TINY, folder / "tiny.json")
        return TrainingConfig(
            genotype=str(folder / "tiny.json"), cells=3, channels=4, auxiliary_weight=0.4, drop_path=0.2, epochs=3,
            batch_size=128, lr=0.1, ema=0.5, adversarial="fast", radius=0.1, val_attack_steps=2,
        )  # fmt: skip

    return made_once("tiny", make)


@pytest.fixture(scope="session")
def tiny_run(tiny, made_once):
    """The folder of that training, never interrupted, what the run said, and what it came to."""

    def make(folder):
        said = io.StringIO()
        return folder / "run", said, training_run.run(tiny, folder / "run", devices=1, file=said)

    return made_once("tiny_run", make)


@pytest.fixture(scope="session")
def trained_run(tiny_run):
    """The folder of that training alone: a network for attacks and certificates, right about four of five digits."""
    return tiny_run[0]
