"""A training as small as it gets, and its run that nobody disturbed."""

import io

import pytest

from dsrna_jax import genotypes
from dsrna_jax.training import run as training_run
from dsrna_jax.training.config import TrainingConfig

CELL = (("sep_conv_3x3", 0), ("skip_connect", 1))
TINY = genotypes.Genotype(CELL, (2,), CELL, (2,))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A genotype file, and a configuration that trains it in seconds: each part of a training, as small as it gets."""
    file = tmp_path_factory.mktemp("genotype") / "tiny.json"
    genotypes.save(TINY, file)
    return TrainingConfig(
        genotype=str(file), cells=3, channels=4, auxiliary_weight=0.4, drop_path=0.2, epochs=3, batch_size=256, ema=0.5,
        adversarial="fast", radius=0.1, val_attack_steps=2,
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_run(tiny, tmp_path_factory):
    """The folder of that training, never interrupted, what the run said, and what it came to."""
    path, said = tmp_path_factory.mktemp("training") / "run", io.StringIO()
    return path, said, training_run.run(tiny, path, devices=1, file=said)
