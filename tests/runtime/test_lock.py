"""One process at a time works in a folder of results; names under which results would be lost are refused before the work."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.lock import LOCK, locked
from dsrna_jax.runtime.paths import check_path
from dsrna_jax.search.run import run

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from dsrna_jax.runtime.lock import locked
with locked(sys.argv[1], "run_dir"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def held(tmp_path):
    """A folder, and another process that holds its lock."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    yield tmp_path, holder
    holder.kill()
    holder.communicate()


def test_the_second_process_is_told_who_holds_the_folder_and_changes_nothing(held):
    folder, holder = held
    before = {file: file.read_bytes() for file in folder.rglob("*")}
    with pytest.raises(InputError, match=f"in use by process {holder.pid} on .* since 20.*give another --run_dir"):
        run(PRESETS["smoke"], folder, devices=1, file=io.StringIO())
    assert {file: file.read_bytes() for file in folder.rglob("*")} == before


def test_a_killed_holder_leaves_no_lock(held):
    folder, holder = held
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(folder, "run_dir"):
        assert json.loads((folder / LOCK).read_text())["pid"] == os.getpid()
    assert not (folder / LOCK).exists()


def test_a_folder_that_stays_empty_is_not_left_behind(tmp_path):
    with pytest.raises(InputError), locked(tmp_path / "a" / "b", "run_dir"):
        assert (tmp_path / "a" / "b").is_dir()
        raise InputError("what the user gave cannot be used")
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "a", "run_dir"):
        (tmp_path / "a" / "file").write_text("result")
    assert [file.name for file in tmp_path.rglob("*")] == ["a", "file"]


def test_two_locks_in_one_process_exclude_each_other(tmp_path):
    with (
        locked(tmp_path, "out"),
        pytest.raises(InputError, match=f"process {os.getpid()} .* another --out"),
        locked(tmp_path, "out"),
    ):
        pass


@pytest.mark.parametrize(
    "name", ["a[x]", "runs [lr=0.1]/x", "a\\b", "end\\", "gs:/x", "new\nline", "a\x1bb", "a\x7f", "\udcff", "a\u2028b"]
)
def test_names_under_which_results_would_be_lost_are_refused_in_one_line(tmp_path, name):
    with pytest.raises(InputError) as error, locked(tmp_path / name, "run_dir"):
        pass
    assert len(str(error.value).splitlines()) == 1 and "run_dir" in str(error.value) and not list(tmp_path.iterdir())


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="out .*file is a file"):
        check_path(tmp_path / "file", "out")
