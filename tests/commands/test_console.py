"""The console command: which command it runs, how it answers bad input, and what --help costs."""

import subprocess
import sys
import types
from pathlib import Path

import pytest

from dsrna_jax import __version__
from dsrna_jax.commands import console
from dsrna_jax.commands.process import status
from dsrna_jax.runtime.invocation import COMMANDS, command_line, in_users_words

ROOT = Path(__file__).parents[2]


def test_help_lists_every_command(capsys):
    for arguments in ([], ["--help"]):
        assert status(console.main, ["dsrna_jax", *arguments]) == 0
        out = capsys.readouterr().out
        lines = [line for line in out.splitlines() if line.startswith("  ")]
        assert [line.split()[0] for line in lines] == list(COMMANDS)
        assert len({line.index(line.split()[1], len(name) + 2) for line, name in zip(lines, COMMANDS, strict=True)}) == 1


def test_the_version_is_printed(capsys):
    assert status(console.main, ["dsrna_jax", "--version"]) == 0
    assert capsys.readouterr().out == f"dsrna_jax {__version__}\n"


@pytest.mark.parametrize("arguments", [["serach"], ["--flag"], [""]])
def test_an_unknown_command_is_one_line_that_lists_the_commands(arguments, capsys):
    assert status(console.main, ["dsrna_jax", *arguments]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"unknown command {arguments[0]!r}" in err and all(name in err for name in COMMANDS)


def test_an_unknown_command_is_answered_by_the_one_that_comes_close(capsys):
    assert status(console.main, ["dsrna_jax", "trian"]) == 1
    assert "unknown command 'trian' (did you mean train?): expected" in capsys.readouterr().err


def test_arguments_reach_the_command(capsys):
    assert status(console.main, ["dsrna_jax", "search", "--cels=3"]) == 1
    assert "cels" in capsys.readouterr().err


def test_python_m_runs_the_console_command():
    done = subprocess.run([sys.executable, "-m", "dsrna_jax", "certify"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "a training by python -m dsrna_jax train" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (None, "dsrna_jax attack"),
        ("dsrna_jax.__main__", "python -m dsrna_jax attack"),
        ("experiments.search", "python -m experiments.attack"),
        ("ipykernel_launcher", "dsrna_jax attack"),
    ],
)
def test_messages_name_commands_as_the_user_called_this_one(module, expected, monkeypatch):
    spec = module and types.SimpleNamespace(name=module)
    monkeypatch.setitem(sys.modules, "__main__", types.SimpleNamespace(__spec__=spec))
    assert command_line("attack") == expected
    assert in_users_words("dsrna_jax attack --resume\nof dsrna_jax") == f"{expected} --resume\nof dsrna_jax"


@pytest.mark.parametrize("module", [*(f"dsrna_jax.commands.{name}" for name in COMMANDS), "experiments.question"])
def test_help_imports_no_jax(module):
    """Flags are made from configurations, presets and names alone: importing JAX would take seconds."""
    name = module.rpartition(".")[2]
    code = f"""
import sys
from {module} import main
main(["{name}", "--help"])
heavy = {{"jax", "flax", "optax", "orbax", "numpy", "scipy", "matplotlib", "sklearn", "tensorflow_datasets"}}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert name in done.stdout and done.stderr == "[]\n"
