"""Nonsense in any flag of any command, or in any field of any JSON file, ends in one line and leaves nothing half made."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from garbled import NO_JSON, OTHER_JSON, assert_garbled_is_refused_or_makes_no_difference, garbled
from prepared_set import write_tfds

from dsrna_jax import data, genotypes
from dsrna_jax.commands import attack, certify, compare, export, reproduce, search, sweep, train, verify
from dsrna_jax.commands.flags import config_flags, define
from dsrna_jax.commands.process import status
from dsrna_jax.commands.processes import FLAGS as PROCESSES
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack.completed import shape_of
from dsrna_jax.evaluation.attack.config import AttackConfig
from dsrna_jax.evaluation.certify.completed import certified_rows
from dsrna_jax.evaluation.certify.config import CertificationConfig
from dsrna_jax.evaluation.folder import completed_rows, evaluation_folder
from dsrna_jax.genotypes import zoo
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.options import check, interval
from dsrna_jax.runtime.run_folder import configuration_of, resolved_configuration
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.run import _saved_architecture

COMMANDS = {module.COMMAND.name: module for module in (search, train, attack, certify, verify)}
NUMBERS = ("", "x", "nan", "-1", "1e999", "[]", "None", "true", "0x", "1 2", "--", "1" * 5000)
KINDS = {
    "integer": (*NUMBERS, "1.5", "inf", "1" * 50),
    "float": (*NUMBERS, "inf", "-inf", "1e39", "1j"),
    "boolean": ("maybe", "2", "nan", "[]"),
    "enum": ("", "x", "nan", "[]", "1" * 5000, "a\0b"),
    "text": ("a\0b", "a" * 5000, "\udcff"),
}
TEXTS = {
    "genotype": ("", "x", "random:", "random:x", "random:-1", "~no-such-user", "/dev/null", "/dev/zero", "x.json", "a/b"),
    "dataset": ("", "x", "mnist:x", "folder:", "folder:x", "folder:~no-such-user", "folder:/dev/null", "~no-such-user"),
    "run_dir": ("/dev/null", "/proc/x", "a" * 300),
    "preset": ("", "x"),
    "split": ("", "x", "train[", "..", "held_out[:10%]"),
    "attacks": ("x", "pgd,x", "__init__", "keys"),
    "surrogate": ("x", "/dev/null", "~no-such-user"),
    "checkpoint": ("", "x", "/dev/null", "/", "."),
    "out": ("/dev/null", "/proc/x", "a" * 300),
}


def flags(command):
    """(name, kind) of every flag of a command; the last are those that every command has."""
    values = config_flags(command.defaults)
    for name, flag in command.own.items():
        define(values, name, flag.default, flag.text, flag.choices)
    kinds = {"int": "integer", "float": "float", "bool": "boolean", "string enum": "enum", "string": "text"}
    own = {name: kinds[values[name].flag_type()] for name in values if name not in ("help", "h")}
    processes = {name: "text" if isinstance(default, str) else "integer" for name, (default, *_) in PROCESSES.items()}
    return own | processes | {"devices": "integer", "resume": "boolean", "dry_run": "boolean"}


FLAGS = [(name, flag, kind) for name, module in COMMANDS.items() for flag, kind in flags(module.COMMAND).items()]


def refused(capsys, main, *arguments):
    """The line with which a command refuses its arguments."""
    assert status(main, ["command", *arguments]) == 1, arguments
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n") and len(err) < 9000, arguments
    assert "Traceback" not in err and not out, arguments
    return err


@pytest.mark.parametrize(("name", "flag", "kind"), FLAGS)
def test_nonsense_in_a_flag_is_refused_at_once_and_leaves_nothing(tmp_path, monkeypatch, capsys, name, flag, kind):
    monkeypatch.chdir(tmp_path)
    for value in KINDS[kind]:
        for more in "--devices=1", "--dry_run":
            checkpoint = [] if name in ("search", "train") else ["--checkpoint=x"]
            assert flag in refused(capsys, COMMANDS[name].main, *checkpoint, more, f"--{flag}={value}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "flag"), [(name, flag) for name, flag, _ in FLAGS if flag in TEXTS])
def test_a_text_that_names_nothing_is_refused_before_any_work(tmp_path, monkeypatch, capsys, trained_run, name, flag):
    monkeypatch.chdir(tmp_path)
    for value in TEXTS[flag]:
        checkpoint = [] if flag == "checkpoint" or name in ("search", "train") else [f"--checkpoint={trained_run}"]
        arguments = [*checkpoint, *([] if name in ("search", "train") else ["--out=out"]), "--devices=1"]
        arguments += [f"--data_dir={tmp_path}", f"--{flag}={value}"]
        for more in ([], ["--dry_run"]) if flag in ("dataset", "genotype", "checkpoint", "preset") else ([],):
            line = refused(capsys, COMMANDS[name].main, *more, *arguments)
            whole = re.sub(r"\[.*\]", "", value)  # without the part of a split, which is cut before the split is looked up
            assert value == "." or re.split("[:,]", whole)[-1][:40] in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argument", ["x", "", "/dev/null", "a\0b", "a" * 5000, "--out=/dev/null", "--nonsense", "--out"])
def test_nonsense_to_compare_is_refused(tmp_path, monkeypatch, capsys, argument):
    monkeypatch.chdir(tmp_path)
    refused(capsys, compare.main, argument)
    assert not list(tmp_path.iterdir())


OF_OTHERS = {
    "export": (export, ["--checkpoint=x"], {"to": "enum", "out": "text", "licence": "text", "checkpoint": "text"}),
    "sweep": (
        sweep,
        ["search"],
        {"run_dir": "text", "status": "boolean", "dry_run": "boolean", "engine": "enum", "retries": "integer"},
    ),
    "reproduce": (
        reproduce,
        ["--dry_run"],
        {"table": "text", "scale": "enum", "seeds": "integer", "methods": "text", "out": "text", "retries": "integer"},
    ),
}


@pytest.mark.parametrize(("name", "flag"), [(name, flag) for name, (_, _, flags) in OF_OTHERS.items() for flag in flags])
def test_nonsense_to_commands_without_a_configuration_is_refused(tmp_path, monkeypatch, capsys, name, flag):
    monkeypatch.chdir(tmp_path)
    module, arguments, kinds = OF_OTHERS[name]
    for value in {*KINDS[kinds[flag]], *TEXTS.get(flag, ())} - {"/proc/x"}:  # where a dry run writes nothing either
        refused(capsys, module.main, f"--{flag}={value}", *arguments)
    assert not list(tmp_path.iterdir())


# Configurations, which flags, saved files and callers of the library make


@pytest.mark.parametrize("defaults", [module.COMMAND.defaults for module in COMMANDS.values()], ids=COMMANDS)
def test_every_number_has_a_range_that_holds_its_default_and_no_infinity(defaults):
    for field in dataclasses.fields(defaults):
        if field.type in (int, float):
            within = field.metadata["within"]
            assert getattr(defaults, field.name) in within and float("inf") not in within and float("nan") not in within
            assert abs(within.high) < 3e38  # of float32


@pytest.mark.parametrize("defaults", [module.COMMAND.defaults for module in COMMANDS.values()], ids=COMMANDS)
def test_a_field_of_another_type_is_refused_by_name(defaults):
    strange = {
        int: (None, True, "1", 1.0, [1], float("nan"), 10**400, -(10**400)),
        float: (None, False, "1", [1.0], float("nan"), float("inf"), 10**400, -1e-9),
        bool: (None, 0, 1, "true", []),
        str: (None, 1, True, [], {}, b"x"),
    }
    for field in dataclasses.fields(defaults):
        for value in strange[field.type]:
            with pytest.raises(InputError, match=f"^{field.name}=.{{1,100}}: expected ") as caught:
                check(dataclasses.replace(defaults, **{field.name: value}))
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "inside", "outside"), [("[0, 1)", (0, 0.5), (1, -1)), ("(0, 1e3]", (1e-9, 1000), (0, 1001))])
def test_intervals_are_those_of_mathematics(text, inside, outside):
    assert all(value in interval(text) for value in inside) and not any(value in interval(text) for value in outside)
    assert str(interval(text)) == text


@pytest.mark.parametrize("text", ["", "[0; 1]", "0, 1", "[a, b]"])
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(ValueError):
        interval(text)


# JSON files


def test_a_garbled_genotype_is_refused_by_name(tmp_path):
    file = tmp_path / "genotype.json"
    for architecture in zoo.random(0, nodes=1), genotypes.RobNet((("11", "01"),)):
        genotypes.save(architecture, file)
        assert_garbled_is_refused_or_makes_no_difference(file, lambda: genotypes.load(file))


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_garbled_description_of_a_tfds_set_is_refused_by_name(tmp_path, monkeypatch, name):
    folder = write_tfds(tmp_path, [np.full((4, 4, 3), level, np.uint8) for level in (1, 2)], [0, 1])

    def read():
        found = data.load("toy", "train", str(tmp_path))
        return found.images.tolist(), found.labels.tolist(), found.class_names

    assert_garbled_is_refused_or_makes_no_difference(folder / name, read, named=folder)


ATTACK_ROW = {
    "row": "C&W-l2", "stage": "cw", "run": 0, "batch": 0, "fell": [1, 3], "distances": [0.5, 0.25], "broken": 0, "unconfirmed": 0,
    "seconds": 1.5,
}  # fmt: skip
CHECKS_ROW = {"row": "checks", "checks": [{"name": "a", "status": "PASS", "value": 0.5, "says": "b"}]}
CERTIFY_ROW = {
    "batch": 0, "predictions": [1, 2], "attack_radius": [0.5, 0.25], "smoothed": [1, -1],
    "radius": {"minimum": [0.1, 0.0], "runner_up": [0.2, 0.1]}, "seconds": 2.0,
}  # fmt: skip


@pytest.fixture
def run_folder(tmp_path, trained_run):
    """The configuration and the genotype of a training, in a folder of their own."""
    for name in ("config.json", "genotype.json"):
        shutil.copy(trained_run / name, tmp_path / name)
    return tmp_path


def test_a_garbled_configuration_is_refused_by_name(run_folder):
    def read():
        resolved = resolved_configuration(run_folder, TrainingConfig)
        config = configuration_of(resolved, TrainingConfig, run_folder / "config.json")
        return config, resolved["data"], _saved_architecture(run_folder)

    assert_garbled_is_refused_or_makes_no_difference(run_folder / "config.json", read, named=run_folder)


def test_garbled_settings_and_batches_of_an_evaluation_are_refused_by_name(tmp_path):
    mesh, identity = sharding.mesh(1), {"step": 1, "digest": "d"}
    for config, row, completed in (
        (AttackConfig(), ATTACK_ROW, lambda records: completed_rows(records, lambda record: shape_of(record, 5))),
        (AttackConfig(), CHECKS_ROW, lambda records: completed_rows(records, lambda record: shape_of(record, 5))),
        (CertificationConfig(), CERTIFY_ROW, lambda records: certified_rows(records, [2])),
    ):
        out = tmp_path / row.get("row", "certified")
        evaluation_folder(out, config, identity, 5, mesh, resume=False).write(row)

        def read(out=out, config=config, completed=completed):
            return completed(evaluation_folder(out, config, identity, 5, mesh, resume=True))

        assert_garbled_is_refused_or_makes_no_difference(out / "settings.json", read, named=out)
        good = (out / "batches.jsonl").read_bytes()
        for content in [*NO_JSON.values(), *OTHER_JSON.values()]:
            if b"\n" in content or content in (b"", b"{}"):
                continue
            (out / "batches.jsonl").write_bytes(good + content + b"\n")
            with pytest.raises(InputError, match="line 2 of .*batches.jsonl is damaged: .*delete it") as caught:
                read()
            assert "\n" not in str(caught.value)
        for done, value in garbled(json.loads(good)):
            (out / "batches.jsonl").write_text(json.dumps(value) + "\n")
            try:
                read()
            except InputError as error:
                assert str(out / "batches.jsonl") in str(error) and "\n" not in str(error)
            else:  # what is not read, may be missing, or is null where infinite
                assert re.fullmatch(r"settings.*|(distances|smoothed|radius.runner_up) left out|.*=None", done), done
