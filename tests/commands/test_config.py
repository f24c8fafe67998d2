"""Configurations: their choices are those of the registries that implement them, and importing them takes no JAX."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest
import yaml

from dsrna_jax import bounds, measures
from dsrna_jax.attacks import ball
from dsrna_jax.commands import train
from dsrna_jax.commands.command import parsed_flags
from dsrna_jax.commands.config_files import read_config
from dsrna_jax.data import loading
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack.config import AttackConfig
from dsrna_jax.genotypes import derivation
from dsrna_jax.genotypes.search_spaces import SPACES, SearchSpace
from dsrna_jax.measures import certificates, radius_schedules, units
from dsrna_jax.networks.stem import STEMS
from dsrna_jax.runtime import compute_options
from dsrna_jax.search import bilevel, gamma, mixing, perturbations, resources
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.options import robustness
from dsrna_jax.search.options.sampled import OBJECTIVES
from dsrna_jax.search.sampled import STRATEGIES, objectives
from dsrna_jax.training import adversarial, schedules
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
        "metric_unit": units.UNITS,
        "metric_network": robustness.NETWORKS,
        "gamma_schedule": gamma.GAMMA_SCHEDULES,
        "order": bilevel.HYPERGRADIENTS,
        "perturbation": perturbations.PERTURBATIONS,
        "strategy": STRATEGIES,
        "mixture": mixing.MIXTURES,
        "resource": resources.RESOURCES,
        "temperature_schedule": mixing.TEMPERATURE_SCHEDULES,
        "keep": derivation.DERIVATIONS[SearchSpace],
        "start": STEMS,
        "loading": loading.LOADING,
        "batch_norm": ("batch", "device"),
        "precision": compute_options.PRECISIONS,
    },
    TrainingConfig: {
        "start": STEMS,
        "schedule": schedules.LEARNING_RATE_SCHEDULES,
        "adversarial": ("none", *adversarial.KINDS, "free"),
        "norm": ball.ATTACK_NORMS,
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


def read(*arguments):
    """The configuration that `train` makes of a command line."""
    return train.COMMAND.settings(parsed_flags(train.COMMAND, ["train", "--run_dir=r", *map(str, arguments)]))[0]


def test_a_configuration_is_given_back_and_flags_override_it(tmp_path):
    config = TrainingConfig(epochs=3, adversarial="pgd", radius=0.1, auxiliary_weight=0.0)
    fields = dataclasses.asdict(config)
    whole = {"experiment": "training", "config": fields, "data": {"class_names": ["a", "b"], "mean": [0.5]}}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(whole))
    (tmp_path / "own.json").write_text(json.dumps({"epochs": 3, "adversarial": "pgd", "radius": 0.1, "auxiliary_weight": 0}))
    (tmp_path / "own.yaml").write_text("epochs: 3  # few\nadversarial: pgd\nradius: 1e-1\nauxiliary_weight: 0\n")
    for file in (tmp_path, tmp_path / "config.json", tmp_path / "own.json", tmp_path / "own.yaml", tmp_path / "whole.yaml"):
        assert read(f"--config={file}") == config
    assert read(f"--config={tmp_path}", "--epochs=4", "--seed=2") == dataclasses.replace(config, epochs=4, seed=2)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '{"epoch": 3}', "'epoch', which is no field: expected some of "),
        ("a.json", '{"epochs": 0}', "epochs=0: expected at least 1"),
        ("a.json", '{"experiment": "search", "config": {}}', "is of a 'search', not of a training"),
        ("a.json", "[]", "expected"),
        ("a.yaml", "- 1", "expected a field and its value in each line"),
        ("a.yaml", "a: [", "expected YAML"),
        ("a.yaml", "epochs: " + "[" * 5000, "expected YAML"),
        ("a.yaml", "epochs: &a {b: *a}", "expected YAML"),
        ("a.yaml", "epochs: 2020-99-99", "epochs='2020-99-99': expected a whole number"),
        ("a.yaml", "epochs: " + "1" * 5000, "epochs=inf: expected a whole number"),
        ("a.yaml", "epochs: 1:30", "epochs='1:30': expected a whole number"),
        ("a.yaml", "epochs: 5\nepochs: 6", "expected each field once, got 'epochs' twice"),
        ("a.yaml", "epochs: [1, 2]", "epochs=['1', '2']: expected a whole number"),
        ("a.yaml", "epochs: &a [*a]", "expected YAML"),
        ("a.yaml", "section: foo", "'section', which is no field: expected some of "),
        ("a.json", '{"section": "foo"}', "'section', which is no field: expected some of "),
        ("a.json", '{"config": {"experiment": "training", "section": 1}}', "'section', which is no field: expected some of "),
        ("b.json", "{}", "no such file"),
    ],
)
def test_a_configuration_that_is_none_is_refused_in_one_line(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read(f"--config={tmp_path / name.replace('b.json', 'none.json')}")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [TrainingConfig, SearchConfig, AttackConfig])
def test_nothing_but_the_fields_of_a_configuration_is_read(tmp_path, kind):
    """Not its other attributes, such as the sections of its flags."""
    fields = {field.name for field in dataclasses.fields(kind)}
    for name in {*dir(kind)} - fields - {"experiment"}:
        (tmp_path / "a.json").write_text(json.dumps({name: "x"}))
        with pytest.raises(InputError, match="which is no field: expected some of "):
            read_config(str(tmp_path / "a.json"), kind)


def test_the_folder_of_an_attack_gives_its_configuration_back(tmp_path):
    with pytest.raises(InputError, match="is a folder without config.json, attack.json or certify.json"):
        read_config(str(tmp_path), AttackConfig)
    config = AttackConfig(radius=0.1, restarts=2)
    (tmp_path / "attack.json").write_text(json.dumps({"experiment": "attack", "config": dataclasses.asdict(config)}))
    assert read_config(str(tmp_path), AttackConfig) == config


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_a_configuration_is_read_from_regular_files_alone(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for path in (tmp_path / name, tmp_path / f"\0{name}", tmp_path / ("a" * 300 + name)):
        with pytest.raises(InputError) as caught:
            read_config(str(path), TrainingConfig)
        (line,) = str(caught.value).splitlines()
        assert "not a regular file" in line or "NUL" in line or "null" in line or "too long" in line


def test_a_configuration_beside_a_preset_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match="expected --config or --preset, not both"):
        read("--preset=smoke", f"--config={tmp_path / 'a.json'}")
