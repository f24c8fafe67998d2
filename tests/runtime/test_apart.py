"""A function in a process of its own: answers, exceptions, deadlines, and ends of that process and of this one."""

import os
import subprocess
import sys
import time

import pytest
from apart_functions import obedient

from dsrna_jax.runtime.apart import Apart


def test_a_process_answers_until_it_ends_and_another_takes_its_place():
    apart = Apart(obedient)
    first = apart("number", seconds=60)
    assert first != os.getpid()
    with pytest.raises(ZeroDivisionError) as caught:
        apart("divide", seconds=60)
    assert "apart_functions.py" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="the answer cannot be pickled: "):
        apart("function", seconds=60)
    assert apart("number", seconds=60) == first  # what it has compiled stays
    with pytest.raises(ChildProcessError, match="exit status 3"):
        apart("exit", seconds=60)
    with pytest.raises(ChildProcessError, match="SIGKILL, as where memory runs out"):
        apart("kill", seconds=60)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer within 0.1 s"):
        apart("sleep", seconds=0.1)
    assert time.monotonic() - began < 30
    assert apart("number", seconds=60) != first
    apart.end()


def test_a_process_ends_with_the_one_that_is_killed():
    program = "from apart_functions import *; from dsrna_jax.runtime.apart import *; a = Apart(obedient)\n"
    program += "print(a('number', seconds=60), flush=True); a('sleep', seconds=60)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline().strip().isdigit()
        process.kill()
        began = time.monotonic()
        assert process.stdout.read() == "" and time.monotonic() - began < 60  # its end has closed the last copy of the pipe
