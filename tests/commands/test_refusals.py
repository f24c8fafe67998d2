"""Numbers out of their range, and paths to pipes and the like, are refused at once by every command and study, in one line."""

import contextlib
import importlib
import io
import os
import re

import pytest

from dsrna_jax.commands.process import status

# Without those whose flags are the fields of a configuration, which tests/commands/test_nonsense.py walks.
COMMANDS, STUDIES = "dsrna_jax.commands", "experiments.studies"
MODULES = [f"{COMMANDS}.reproduce", f"{COMMANDS}.sweep", "experiments.benchmark", "experiments.gpu.measure"]
MODULES += ["experiments.question", *(f"{STUDIES}.{name}" for name in ("following", "gradients", "ranking", "searches"))]
PATHS = [  # with where a path is
    (f"{COMMANDS}.sweep", "--dry_run", "{}"),
    (f"{COMMANDS}.sweep", "--run_dir={}"),
    (f"{COMMANDS}.reproduce", "--out={}"),
    (f"{COMMANDS}.verify", "--instances={}"),
    (f"{COMMANDS}.verify", "--instances=x.csv", "--results={}"),
    (f"{COMMANDS}.verify", "x.onnx", "x.vnnlib", "--results={}"),
    (f"{COMMANDS}.export", "--checkpoint=x", "--out={}"),
    ("experiments.pictures", "--runs={}"),
    ("experiments.pretrained", "--runs={}"),
    ("experiments.render_notebooks", "{}"),
    ("experiments.benchmark", "--what=latency", "--table={}"),
    (f"{STUDIES}.following", "--run_dir={}"),
    (f"{STUDIES}.gradients", "--run_dir={}"),
    (f"{STUDIES}.ranking", "--run_dir={}"),
    (f"{STUDIES}.searches", "--run_dir={}"),
    (f"{STUDIES}.searches", "--rows={}"),
]
NONSENSE = ("", "x", "nan", "inf", "-1000000000", "1e999", "[]", "1" * 50, "1" * 5000)


def number_flags(main):
    """The flags of a command whose values are numbers, by its --help."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        main(["command", "--help"])
    blocks = re.split(r"^  (?:-\w,)?--", said.getvalue(), flags=re.MULTILINE)[1:]
    assert (found := [block.split(":")[0] for block in blocks if re.search(r"\(an? (integer|number)\)", block)])
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_number_that_is_none_or_out_of_range_is_refused_at_once(tmp_path, monkeypatch, capsys, module):
    monkeypatch.chdir(tmp_path)
    main = importlib.import_module(module).main
    for flag in number_flags(main):
        for value in NONSENSE:
            assert flag in refused(capsys, main, f"--{flag}={value}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("module", "arguments"), [(module, arguments) for module, *arguments in PATHS])
def test_a_path_to_what_is_no_file_or_folder_is_refused_at_once(tmp_path, monkeypatch, capsys, module, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").touch()
    os.mkfifo(tmp_path / "pipe")
    os.symlink("loop", tmp_path / "loop")
    before = sorted(tmp_path.iterdir())
    main = importlib.import_module(module).main
    for path in ("pipe", "pipe/x", "loop/x", "a\0b", "a" * 5000):
        refused(capsys, main, *(argument.format(path) for argument in arguments))
    assert sorted(tmp_path.iterdir()) == before


def refused(capsys, main, *arguments):
    """The line with which a command refuses its arguments."""
    assert status(main, ["command", *arguments]) == 1, arguments
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1 and len(err) < 9000 and not out, (arguments, out, err)
    return err
