"""Configurations: their choices are those of the registries that implement them, and importing them takes no JAX."""

import dataclasses
import subprocess
import sys

import pytest

from dsrna_jax import bounds, measures
from dsrna_jax.data import loading
from dsrna_jax.genotypes import derivation
from dsrna_jax.genotypes.search_spaces import SPACES
from dsrna_jax.measures import certificates, radius_schedules
from dsrna_jax.networks.stem import STEMS
from dsrna_jax.runtime import compute_options
from dsrna_jax.search import bilevel, mixing, perturbations
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.sampled import STRATEGIES, objectives
from dsrna_jax.search.sampled_options import OBJECTIVES
from dsrna_jax.training import config as training_config
from dsrna_jax.training import schedules
from dsrna_jax.training.config import TrainingConfig

IMPLEMENTED = {
    SearchConfig: {
        "space": SPACES,
        "metric": measures.MEASURES,
        "jacobian_norm": measures.ESTIMABLE["exact"],
        "jacobian_method": measures.ESTIMABLE,
        "certificate": certificates.CERTIFICATES,
        "certificate_method": bounds.METHODS,
        "certificate_norm": bounds.NORMS,
        "radius_schedule": radius_schedules.RADIUS_SCHEDULES,
        "order": bilevel.HYPERGRADIENTS,
        "perturbation": perturbations.PERTURBATIONS,
        "strategy": STRATEGIES,
        "mixture": mixing.MIXTURES,
        "temperature_schedule": mixing.TEMPERATURE_SCHEDULES,
        "keep": derivation.DERIVATIONS,
        "start": STEMS,
        "loading": loading.LOADING,
        "batch_norm": ("batch", "device"),
        "precision": compute_options.PRECISIONS,
    },
    TrainingConfig: {
        "start": STEMS,
        "schedule": schedules.LEARNING_RATE_SCHEDULES,
        "adversarial": training_config.ADVERSARIES,
        "norm": ("linf", "l2"),
        "attack_statistics": ("running", "batch"),
        "loading": loading.LOADING,
        "batch_norm": ("batch", "device"),
        "precision": compute_options.PRECISIONS,
    },
}


@pytest.mark.parametrize("kind", IMPLEMENTED)
def test_choices_are_what_is_implemented(kind):
    choices = {field.name: field.metadata["choices"] for field in dataclasses.fields(kind)}
    assert {name: tuple(c) for name, c in choices.items() if c} == {n: tuple(r) for n, r in IMPLEMENTED[kind].items()}


def test_objectives_of_rewards_are_what_is_implemented():
    assert OBJECTIVES == tuple(objectives.OBJECTIVES)


def test_importing_configurations_imports_no_jax():
    program = (
        "import sys\n"
        "import dsrna_jax.commands.presets, dsrna_jax.commands.training_presets, dsrna_jax.measures\n"
        "import dsrna_jax.evaluation.attack.config, dsrna_jax.evaluation.certify.config\n"
        "print(*{'jax', 'jaxlib', 'flax', 'optax', 'numpy', 'orbax'} & set(sys.modules))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split() == []
