"""An option that has no effect beside the others is refused in one line, whatever it is; what others leave behind is put back."""

import dataclasses

import pytest

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.training_presets import TRAINING_PRESETS
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack.config import TIERS, AttackConfig
from dsrna_jax.evaluation.certify.config import CertificationConfig
from dsrna_jax.runtime.options import changed, in_todays_names, lacking
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.training.config import TrainingConfig

FIELDS = {field.name: field for field in dataclasses.fields(SearchConfig) if field.metadata["of"]}
EVALUATIONS = {
    "bounds": CertificationConfig(), "verify": CertificationConfig(method="verify"),
    "smoothing": CertificationConfig(method="smoothing", norm="l2"), "standard": TIERS["standard"],
}  # fmt: skip
EVERY = [*PRESETS.items(), *((f"train_{name}", preset) for name, preset in TRAINING_PRESETS.items()), *EVALUATIONS.items()]


def another(field):
    """A value that the field may have, and that is neither its default nor nothing."""
    choices, within = field.metadata["choices"], field.metadata["within"]
    if isinstance(field.default, bool):
        return not field.default
    values = choices or ("x",) if isinstance(field.default, str) else (1, 2, 9, 0.5)
    (first, *_) = [value for value in values if value != field.default and (within is None or value in within)]
    return first


@pytest.mark.parametrize(("name", "preset"), EVERY, ids=[name for name, _ in EVERY])
def test_every_option_that_has_no_effect_is_refused_in_a_line(name, preset):
    fields = [field for field in dataclasses.fields(preset) if field.metadata["of"]]
    idle = [field for field in fields if lacking(type(preset), dataclasses.asdict(preset), field.name)]
    for field in idle:
        assert not getattr(preset, field.name) or getattr(preset, field.name) == field.default
        with pytest.raises(InputError, match=f"^{field.name}=.* has no effect: expected ") as error:
            changed(preset, **{field.name: another(field)})
        assert "\n" not in str(error.value)
    assert len(idle) > (10 if name in PRESETS else 1)


@pytest.mark.parametrize("kind", [SearchConfig, TrainingConfig, AttackConfig, CertificationConfig])
def test_of_names_fields_and_values_that_there_are(kind):
    fields = {field.name: field for field in dataclasses.fields(kind)}
    conditions = [condition for field in fields.values() for condition in field.metadata["of"].split(" and ") if condition]
    for condition in conditions:
        other, _, value = condition.replace("!=", "=").partition("=")
        assert not value or set(value.split("|")) <= set(fields[other].metadata["choices"])
    assert conditions and all(field.metadata["most"].removeprefix("<") in {"", *fields} for field in fields.values())


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


@pytest.mark.parametrize(
    ("preset", "option", "expected"),
    [
        ("digits", {"radius": 0.1}, "adversarial"),
        ("digits", {"val_attack_steps": 3}, "adversarial"),
        ("digits", {"adversarial": "fast", "attack_steps": 3}, "adversarial=pgd or trades or mart"),
        ("digits", {"adversarial": "free", "attack_statistics": "batch"}, "adversarial=pgd or fast or trades or mart"),
        ("digits", {"adversarial": "free", "attack_step": 0.5}, "adversarial=pgd or trades or mart"),
        ("digits", {"adversarial": "pgd", "replays": 3}, "adversarial=free"),
        ("digits", {"adversarial": "pgd", "beta": 3.0}, "adversarial=trades or mart"),
        ("cifar10_adversarial", {"held_out": 0.0, "collapse": 0.1}, "held_out"),
        ("imagenet_adversarial", {"replays": 4}, "adversarial=free"),
    ],
)
def test_options_of_an_attack_that_a_training_does_not_make_are_refused(preset, option, expected):
    with pytest.raises(InputError, match=f"has no effect: expected {expected}, or "):
        changed(TRAINING_PRESETS[preset], **option)


@pytest.mark.parametrize(
    ("kind", "idle"),
    [
        ("bounds", {"timeout", "sigma", "n0", "n", "alpha"}),
        ("verify", {"arithmetic", "chunk", "per_target", "attack", "attack_steps", "sigma", "n0", "n", "alpha"}),
        ("smoothing", {"arithmetic", "clip", "per_target", "tries", "timeout", "attack", "attack_steps"}),
        ("standard", {"restarts", "last_iterate"}),
    ],
)
def test_an_evaluation_refuses_the_options_of_others_and_no_option_that_turns_them_off(kind, idle):
    config = EVALUATIONS[kind]
    fields = dataclasses.fields(config)
    assert {f.name for f in fields if lacking(type(config), dataclasses.asdict(config), f.name)} == idle
    if "attack" in idle:
        assert changed(config, attack="none").attack == "none"
        with pytest.raises(InputError, match="attack='cw' has no effect: expected method!=.*, or attack='pgd'"):
            changed(config, attack="cw")
    if "attack_steps" not in idle and kind != "standard":
        with pytest.raises(InputError, match="attack_steps=3 has no effect: expected attack, or attack_steps=40"):
            changed(config, attack="none", attack_steps=3)


@pytest.mark.parametrize("preset", TRAINING_PRESETS)
@pytest.mark.parametrize("kind", ["none", "pgd", "fast", "free"])
def test_another_kind_of_training_of_any_preset_is_accepted(preset, kind):
    """Also with all options typed as the preset has them, as a command that was printed may."""
    new = changed(TRAINING_PRESETS[preset], adversarial=kind, held_out=0.0)
    typed = {name: value for name, value in dataclasses.asdict(TRAINING_PRESETS["digits"]).items() if name != "adversarial"}
    assert new.adversarial == kind and changed(new, **dataclasses.asdict(new)) == new
    assert changed(new, **{name: typed[name] for name in ("radius", "replays", "collapse", "val_attack_steps")})


@pytest.mark.parametrize(
    ("preset", "option", "expected"),
    [
        (TRAINING_PRESETS["digits"], {"epochs": 3, "lr_warmup_epochs": 4}, "lr_warmup_epochs=4: expected at most epochs=3"),
        (TRAINING_PRESETS["cifar10_fast"], {"radius_warmup_epochs": 20}, "radius_warmup_epochs=20: expected at most epochs=15"),
        (PRESETS["smoke"], {"warmup_epochs": 3}, "warmup_epochs=3: expected less than epochs=3"),
        (PRESETS["smoke"], {"weight_lr_warmup_epochs": 4}, "weight_lr_warmup_epochs=4: expected at most epochs=3"),
    ],
)
def test_a_warm_up_that_is_given_ends_with_the_run(preset, option, expected):
    with pytest.raises(InputError, match=expected):
        changed(preset, **option)


def test_the_warm_up_of_a_preset_or_of_a_saved_run_may_be_longer_than_a_short_run():
    short = changed(TRAINING_PRESETS["imagenet_dsrna"], epochs=1)
    assert short.lr_warmup_epochs == 5 and changed(short, lr_warmup_epochs=5, seed=1).seed == 1
    assert changed(TRAINING_PRESETS["digits"], epochs=3, lr_warmup_epochs=3).lr_warmup_epochs == 3


def test_what_a_change_leaves_without_effect_gets_its_default():
    assert changed(PRESETS["digits_enas"], strategy="random").controller_lr == FIELDS["controller_lr"].default
    assert changed(PRESETS["digits_darts_es"], stop_eigenvalue=0.0).stop_eigenvalue_from == 10


def test_earlier_trainings_with_options_of_an_attack_that_they_did_not_make_are_loaded():
    saved = dataclasses.asdict(TRAINING_PRESETS["digits"]) | {"radius": 0.1, "replays": 4, "collapse": 0.3}
    assert TrainingConfig(**in_todays_names(TrainingConfig, saved)) == TRAINING_PRESETS["digits"]


def test_earlier_configurations_in_which_an_option_had_no_effect_are_loaded():
    saved = dataclasses.asdict(PRESETS["cifar10_random"]) | {"alpha_lr": 3e-4, "order": "unrolled"}
    assert SearchConfig(**in_todays_names(SearchConfig, saved)) == PRESETS["cifar10_random"]
