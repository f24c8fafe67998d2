"""Flags: their sections in the help, and the names that earlier versions had, which still work."""

import dataclasses
import re

import pytest

from dsrna_jax.commands import attack, compare, export, processes, reproduce, search, sweep, train, verify
from dsrna_jax.commands.flags import OF_PROCESSES, config_flags, overridden, parse
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack.config import AttackConfig
from dsrna_jax.evaluation.certify.config import CertificationConfig
from dsrna_jax.evaluation.verify.config import VerificationConfig
from dsrna_jax.runtime.options import sections
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.training.config import TrainingConfig


@pytest.mark.parametrize("kind", [SearchConfig, TrainingConfig, AttackConfig, CertificationConfig, VerificationConfig])
def test_help_lists_every_flag_once_under_its_section(kind):
    lines, section, listed = config_flags(kind()).get_help().splitlines(), "", {}
    for line in lines:
        if heading := re.fullmatch(r"(\w.*):", line):
            section = heading[1]
        elif flag := re.match(r"  --(?:\[no\])?(\w+):", line):
            listed.setdefault(section, []).append(flag[1])
    assert listed == {name: sorted(field.name for field in fields) for name, fields in sections(kind).items()}
    assert sorted(sum(listed.values(), [])) == sorted(field.name for field in dataclasses.fields(kind))


def config_of(*arguments):
    """The configuration of a search by a command line."""
    values = config_flags(SearchConfig())
    parse(values, ["search", *arguments], SearchConfig())
    return overridden(SearchConfig(), values)


@pytest.mark.parametrize(
    ("arguments", "field", "value", "now"),
    [
        (["--steps=3"], "nodes", 3, "--steps=3 is now --nodes=3"),
        (["-steps", "3"], "nodes", 3, "-steps=3 is now --nodes=3"),
        (["--norm=row_l2"], "jacobian_norm", "row_l2", "--norm=row_l2 is now --jacobian_norm=row_l2"),
        (["--norm=l1"], "jacobian_norm", "row_l1", "--norm=l1 is now --jacobian_norm=row_l1"),
        (["--norm", "l1"], "jacobian_norm", "row_l1", "--norm=l1 is now --jacobian_norm=row_l1"),
        (["--jacobian_norm=fro2"], "jacobian_norm", "fro_squared", "--jacobian_norm=fro2 is now --jacobian_norm=fro_squared"),
        (["--metric_unit=deviation"], "metric_unit", "std", "--metric_unit=deviation is now --metric_unit=std"),
        (["--method=exact"], "jacobian_method", "exact", "--method=exact is now --jacobian_method=exact"),
    ],
)
def test_old_names_and_values_are_accepted_with_a_line_that_says_the_new(capsys, arguments, field, value, now):
    assert getattr(config_of(*arguments), field) == value
    assert capsys.readouterr().err == f"note: {now}\n"


def test_names_of_today_are_accepted_silently(capsys):
    config = config_of("--nodes", "3", "--jacobian_norm=row_l1", "--jacobian_method", "exact", "--flip", "--seed=2")
    changes = {"nodes": 3, "jacobian_norm": "row_l1", "jacobian_method": "exact", "flip": True, "seed": 2}
    assert config == dataclasses.replace(SearchConfig(), **changes)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("main", "arguments", "named"),
    [
        (search.main, ["--run_dir=", "--dry_run"], "--run_dir="),
        (train.main, ["--run_dir", "", "--dry_run"], "--run_dir="),
        (attack.main, ["--checkpoint=RUN", "--out="], "--out="),
        (attack.main, ["--checkpoint="], "--checkpoint="),
        (verify.main, ["n.onnx", "p.vnnlib", "--results="], "--results="),
        (sweep.main, ["--run_dir="], "--run_dir="),
        (compare.main, ["RUN", ""], "an argument"),
    ],
)
def test_a_path_is_not_empty(main, arguments, named):
    with pytest.raises(InputError, match=f"^{named} is empty, as if from a variable that is not set"):
        main(["command", *arguments])
    assert config_of("--data_dir=").data_dir == ""  # its default


@pytest.mark.parametrize("main", [compare.main, export.main, reproduce.main, sweep.main])
@pytest.mark.parametrize("name", OF_PROCESSES)
def test_commands_of_one_process_say_which_have_several(main, name):
    with pytest.raises(InputError, match=f"--{name}: this command runs in one process; search, train, attack, certify"):
        main(["command", f"--{name}=1"])


def test_the_flags_of_processes_are_those_that_are_named():
    assert tuple(processes.FLAGS) == OF_PROCESSES


@pytest.mark.parametrize(
    "arguments",
    [["--norm=l3"], ["--steps"], ["--stepz=3"], ["--flagfile=/dev/zero"], ["-flagfile", "x"], ["--undefok=a", "--a=1"]],
)
def test_what_no_version_had_is_refused(arguments):
    with pytest.raises(InputError):
        config_of(*arguments)
