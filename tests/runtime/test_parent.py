"""A process ends, and saves its work, when the one that started it is killed."""

import subprocess
import sys
import threading
import time

import pytest

from dsrna_jax.errors import InputError
from dsrna_jax.runtime import lock
from dsrna_jax.sweeps import jobs, worker

CHILD = """
import os, pathlib, signal, sys, time
from dsrna_jax import parent
parent._EVERY = 0.05
def save(number, frame):
    pathlib.Path(sys.argv[1] + ".part").write_text(signal.Signals(number).name)
    os.rename(sys.argv[1] + ".part", sys.argv[1])
    sys.exit()
signal.signal(signal.SIGTERM, save)
parent.end_with_parent()
print(parent.PARENT in os.environ, flush=True)
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys
from dsrna_jax.parent import of_this_process
subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], env={**os.environ, **of_this_process()}).wait()
"""


def test_a_process_whose_parent_is_killed_gets_a_signal_to_save_its_work(tmp_path):
    command = [sys.executable, "-c", PARENT, CHILD, str(tmp_path / "saved")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "False\n"  # its own children do not inherit the variable
        process.kill()
        limit = time.monotonic() + 60
        while not (tmp_path / "saved").exists() and time.monotonic() < limit:
            time.sleep(0.05)
    assert (tmp_path / "saved").read_text() == "SIGTERM"


def test_a_job_waits_until_its_former_process_has_saved_its_work(tmp_path, monkeypatch):
    (job,) = jobs.keep(jobs.grid("train", []), tmp_path)
    monkeypatch.setattr(worker, "_status", lambda job, sweep: 0)
    is_over, took = threading.Event(), []
    with lock.locked(tmp_path / "jobs" / f"{job.name}.lock", "run_dir"):
        threading.Thread(target=lambda: (took.append(worker.run_job(tmp_path, job.name)), is_over.set())).start()
        assert not is_over.wait(0.5) and worker.state_of(tmp_path, job.name).state == "waiting"
    assert is_over.wait(60) and took == [0] and worker.state_of(tmp_path, job.name).state == "done"
    monkeypatch.setattr(worker, "_PATIENCE", 0.0)
    with lock.locked(tmp_path / "jobs" / f"{job.name}.lock", "run_dir"), pytest.raises(InputError, match="is in use by process"):
        worker.run_job(tmp_path, job.name)
