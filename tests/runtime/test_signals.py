"""Commands end within seconds of a signal, whatever they are doing, and survive what terminals and pipes do to them."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import pytest
from threads_as_processes import statuses

from dsrna_jax.runtime.processes import current
from dsrna_jax.runtime.signals import SIGNALS, Stopped, ending, stop_requests
from dsrna_jax.runtime.working_time import working_time

ROOT = Path(__file__).parents[2]
# Python's handlers wait for C code, such as XLA's compiler, which this stands for.
BUSY = """
import hashlib, signal, sys
from dsrna_jax.runtime.signals import ending, stop_requests
number = int(sys.argv[1])
if "ignored" in sys.argv:
    signal.signal(number, signal.SIG_IGN)
with ending(lambda: " in RUN; go on by COMMAND", grace=0.2):
    with stop_requests():
        print("busy", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9 if "ignored" not in sys.argv else 10**6)
print("ended")
"""


def busy(*arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "busy\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_a_process_that_is_outside_of_python(number):
    process = busy(int(number))
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert err == f"stopped by {number.name} while busy; what was saved is kept in RUN; go on by COMMAND\n"


def test_an_ignored_signal_stays_ignored():
    """A process under nohup ignores SIGHUP, and goes on doing so."""
    process = busy(int(signal.SIGHUP), "ignored")
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out, err) == (0, "ended\n", "")


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_stops_python_code_at_once_and_is_a_request_where_a_run_reads_them(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped, ending(lambda: " in RUN; go on by COMMAND"):
        os.kill(os.getpid(), number)
        time.sleep(60)
    assert stopped.value.number == number
    assert str(stopped.value) == f"stopped by {number.name}; what was saved is kept in RUN; go on by COMMAND"
    with ending(str), stop_requests() as requests:
        os.kill(os.getpid(), number)
        assert requests == [number]
    assert signal.getsignal(number) == before and "signals" not in {thread.name for thread in threading.enumerate()}


def test_a_signal_is_heard_where_python_drops_exceptions(monkeypatch):
    """Callbacks of garbage collection are such a place: in that of JAX a SIGTERM was lost, and a traceback printed."""
    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)

    class Signalled:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    with pytest.raises(Stopped) as stopped, ending(str):
        Signalled()
        time.sleep(60)
    assert stopped.value.number == signal.SIGTERM and not said
    assert "signals" not in {thread.name for thread in threading.enumerate()}


def test_a_stop_that_was_asked_for_is_told_as_no_error_by_processes_too(monkeypatch, capsys):
    def main(argv):
        if current().is_first:
            current().gathered(None)
        raise Stopped(signal.SIGTERM, "stopped by SIGTERM; 2 of 5 images are done")

    assert statuses(monkeypatch, 2, main) == [128 + signal.SIGTERM] * 2
    assert capsys.readouterr().err == "process 1 of 2 on host: stopped by SIGTERM; 2 of 5 images are done\n"


def as_command(body, shell="{}", **environment):
    """The exit status, standard output and error of a command whose main function has that body, inside a line of shell."""
    code = f"from dsrna_jax.commands.process import execute\ndef main(argv):\n    {body}\nexecute(main)"
    line = shell.format(f'"{sys.executable}" -c "$CODE"')
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=os.environ | {"CODE": code} | environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_a_reader_that_goes_away_ends_a_command_in_silence():
    body = "[print(i, flush=True) for i in range(100000)]"
    assert as_command(body, "{} | head -1; exit ${{PIPESTATUS[0]}}") == (128 + signal.SIGPIPE, "0\n", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_end_no_command_and_are_no_file_of_it(tmp_path, closed):
    body = f"import os, sys; print('x'); print('y', file=sys.stderr); os.write(2, b'z'); file = open('{tmp_path}/f', 'w')"
    code, out, err = as_command(f"{body}; assert file.fileno() > 2", f"{{}} {closed}")
    assert code == 0 and (out, err) == ("" if ">&-" in f" {closed}".split() else "x\n", "" if "2>&-" in closed else "y\nz")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_utf8_gets_question_marks(encoding):
    assert as_command(r"print('1 \u2014 2')", PYTHONIOENCODING=encoding) == (0, "1 ? 2\n", "")


def test_alarms_of_the_compiler_do_not_reach_the_terminal():
    body = "import os; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    for given, now in (("", "3"), ("1", "3"), ("2", "3"), ("3", "3"), ("0", "0")):
        assert as_command(body, TF_CPP_MIN_LOG_LEVEL=given)[1] == f"{now}\n"


def test_compiling_is_not_work():
    """If this fails with a new version of JAX, look for the beginning of its events: `_COMPILING`."""

    def loops(x):
        for i in range(30):
            x = jax.lax.fori_loop(0, 3, lambda _, x, i=i: jax.numpy.sort(x * i), x)
        return x

    working, passed = working_time(), time.monotonic()
    jax.jit(loops).lower(jax.numpy.ones(5)).compile()
    working, passed = working_time() - working, time.monotonic() - passed
    assert 0 <= working < passed / 2
    before = working_time()
    time.sleep(0.02)
    assert working_time() - before >= 0.02
