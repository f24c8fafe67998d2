"""The frame of every command: errors, signals, threads."""

import os
import subprocess
import sys

from dsrna_jax.commands.process import disable_loop_unrolling

FAULTS = """
import resource, sys, threading
import numpy as np
from dsrna_jax.commands.process import retain_heap, use_many_heaps

if sys.argv[1] in ("kept", "kept in many heaps"):
    retain_heap()
if sys.argv[1] == "kept in many heaps":
    use_many_heaps()
faults = []


def step():
    np.ones(10_000_000)  # 80 MB, taken and freed
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)


def steps():
    for _ in range(3):
        step()


thread = threading.Thread(target=steps)  # XLA's programs run in threads too
thread.start()
thread.join()
print(faults[-1] - faults[-2])
"""


def page_faults(how):
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


def test_memory_that_was_freed_is_not_cleared_again():
    assert page_faults("kept") < 100 < page_faults("given back")
    assert page_faults("kept in many heaps") > 100  # which shows that the thread has a heap of its own


def test_a_flag_of_xla_is_given_once(monkeypatch):
    """The flags are part of the name under which programs are kept: with another copy of one, all would be compiled again."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=a")
    for _ in range(3):
        disable_loop_unrolling()
    given = os.environ["XLA_FLAGS"].split()
    assert sorted(given) == ["--xla_backend_extra_options=xla_cpu_disable_loop_unrolling=true", "--xla_dump_to=a"]
