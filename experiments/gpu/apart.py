"""Rows that are made in processes of their own, which XLA may abort and a limit of time may end."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def row_of(
    module: str, name: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None, limit: float | None = None
) -> dict[str, Any]:
    """The last JSON line that `python -m module ARGUMENTS --here --only=name` prints; if it fails, its "error".

    limit: seconds after which it is ended; None for never.
    """
    command = [sys.executable, "-m", module, *arguments, "--here", f"--only={name}"]
    try:
        done = subprocess.run(command, env=os.environ | dict(environment or {}), capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"name": name, "error": f"it had not ended after {limit:g} s"}
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    said = [line for line in done.stderr.splitlines() if line.strip()]
    fatal = [line.partition("] ")[2] for line in said if line.startswith("F")]
    return {"name": name, "error": (fatal or said[-1:] or ["no message"])[0], "exit_status": done.returncode}
