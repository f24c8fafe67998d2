"""An option that has no effect beside the others is refused in one line, whatever it is; what others leave behind is put back."""

import dataclasses

import pytest

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.options import changed, in_todays_names, lacking
from dsrna_jax.search.config import SearchConfig

FIELDS = {field.name: field for field in dataclasses.fields(SearchConfig) if field.metadata["of"]}


def another(field):
    """A value that the field may have, and that is neither its default nor nothing."""
    choices, within = field.metadata["choices"], field.metadata["within"]
    values = choices or ("x",) if isinstance(field.default, str) else (True,) if field.default is False else (1, 2, 9, 0.5)
    (first, *_) = [value for value in values if value != field.default and (within is None or value in within)]
    return first


@pytest.mark.parametrize("name", PRESETS)
def test_every_option_that_has_no_effect_is_refused_in_a_line(name):
    preset = PRESETS[name]
    idle = [field for field in FIELDS.values() if lacking(SearchConfig, dataclasses.asdict(preset), field.name)]
    for field in idle:
        assert not getattr(preset, field.name) or getattr(preset, field.name) == field.default
        with pytest.raises(InputError, match=f"^{field.name}=.* has no effect: expected ") as error:
            changed(preset, **{field.name: another(field)})
        assert "\n" not in str(error.value)
    assert len(idle) > 10


def test_of_names_fields_and_values_that_there_are():
    for field in FIELDS.values():
        other, _, value = field.metadata["of"].replace("!=", "=").partition("=")
        (of,) = [field for field in dataclasses.fields(SearchConfig) if field.name == other]
        assert not value or value in of.metadata["choices"]


@pytest.mark.parametrize(
    ("preset", "option", "expected"),
    [
        ("digits_random", {"order": "unrolled"}, "strategy=gradient"),
        ("digits_random", {"alpha_lr": 0.1}, "strategy=gradient"),
        ("digits_evolution", {"controller_lr": 0.1}, "strategy=reinforce"),
        ("digits_darts_first", {"perturbation_radius": 0.1}, "perturbation"),
        ("digits_sdarts_rs", {"perturbation_steps": 3}, "perturbation=adversarial"),
        ("digits_darts_first", {"retrain_epochs": 3}, "weight_decays"),
        ("digits_random", {"perturbation_radius": 0.1}, "perturbation"),
    ],
)
def test_the_line_says_what_the_option_needs(preset, option, expected):
    with pytest.raises(InputError, match=f"has no effect: expected {expected}, or "):
        changed(PRESETS[preset], **option)


def test_what_a_change_leaves_without_effect_gets_its_default():
    assert changed(PRESETS["digits_enas"], strategy="random").controller_lr == FIELDS["controller_lr"].default
    assert changed(PRESETS["digits_darts_es"], stop_eigenvalue=0.0).stop_eigenvalue_from == 10


def test_earlier_configurations_in_which_an_option_had_no_effect_are_loaded():
    saved = dataclasses.asdict(PRESETS["cifar10_random"]) | {"alpha_lr": 3e-4, "order": "unrolled"}
    assert SearchConfig(**in_todays_names(SearchConfig, saved)) == PRESETS["cifar10_random"]
