"""Processes that share a run or an evaluation: started, waited for, and what they said."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HELPERS = ROOT / "tests" / "helpers"


def port():
    """One that is free."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


def started(*arguments, devices=1, code=None, **environment):
    """A process that runs `tiny_run`, or a program given by its code."""
    path = os.pathsep.join(map(str, (HELPERS, ROOT)))
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": path, "XLA_FLAGS": flags} | environment
    command = [sys.executable, *(["-c", code] if code else [HELPERS / "tiny_run.py"]), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(*processes):
    """Their exit statuses, and all that they said on standard output and error."""
    try:
        said = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    errors = "".join(line for _, err in said for line in err.splitlines(keepends=True) if not line.startswith("[Gloo]"))
    return [process.returncode for process in processes], "".join(out for out, _ in said), errors


def pair(folder, *arguments, command=None, own=((), ()), faults=({}, {}), **options):
    """Two processes that share a run, or an evaluation by a command: what `ended` returns."""
    address = f"--coordinator_address=127.0.0.1:{port()}"
    begin = (command, f"--out={folder}") if command else (f"--run_dir={folder}",)
    common = (*begin, address, "--join_timeout=60", *arguments)
    numbered = [("--num_processes=2", f"--process_id={i}", *more) for i, more in enumerate(own)]
    return ended(*(started(*common, *more, **fault, **options) for more, fault in zip(numbered, faults, strict=True)))


def of_slurm(index):
    """The environment that Slurm sets in process `index` of two, for a job whose number makes a free port of JAX's choice."""
    job = next(number for number in range(os.getpid(), os.getpid() + 2**12) if is_free(number % 2**12 + 2**16 - 2**12))
    of_step = {"SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_NUM_NODES": "1", "SLURM_LOCALID": str(index)}
    return {"SLURM_JOB_ID": str(job), "SLURM_NTASKS": "2", "SLURM_PROCID": str(index), **of_step}


def is_free(number):
    try:
        socket.create_server(("127.0.0.1", number)).close()
    except OSError:
        return False
    return True
