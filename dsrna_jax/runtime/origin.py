"""The origin of results: version and commit of the package, the command line, Python and the processor."""

import contextlib
import functools
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsrna_jax import __version__
from dsrna_jax.strict_json import Nullable

ORIGIN = {"version": str, "commit": Nullable(str), "command": str, "python": str, "processor": str}
"""Its shape in files, for `strict_json.check`."""


def origin() -> dict[str, Any]:
    """The origin of what this process computes, as JSON; the commit is None without a clone."""
    return {
        "version": __version__,
        "commit": _commit(),
        "command": shlex.join([*_program(), *sys.argv[1:]]).encode("utf-8", "replace").decode()[:4096],
        "python": sys.version.split()[0],
        "processor": processor(),
    }


def processor() -> str:
    """The name of the CPU, as its maker gives it where the system tells."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8", errors="replace").splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def described(made: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, str]:
    """An `origin` and a `machine.machine`, as far as they are recorded, for readers: the command, the package, the machine."""
    facts = {"command": made["command"]} if made else {}
    if made:
        facts["dsrna_jax"] = made["version"] + (f", commit {made['commit']}" if made["commit"] else "")
    if machine:
        of = f" of {made['processor']}" if made.get("processor") else ""
        facts["machine"] = f"{machine['devices']}, {machine['cores']} cores{of}, JAX {machine['jax']}"
    return facts


def _program() -> list[str]:
    """The start of the command line: the module that this process was started with, or the name of its script."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        return ["python", "-m", spec.name.removesuffix(".__main__")]
    return [Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"]


@functools.cache
def _commit() -> str | None:
    """The commit of the clone that the package lies in, with "+" if its files have changed since; None without a clone."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        options = {"cwd": root, "capture_output": True, "text": True, "timeout": 5, "check": True}
        commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], **options).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], **options).stdout.strip()
        return commit + ("+" if changed else "")
    return None
