"""Compiled programs kept in the folder of JAX's compilation cache, for runs that start again.

JAX's own cache spares them XLA but not the tracing, which for a supernet takes half a minute. Here a program is found by
what it was made of, before it is traced. Like that cache, the folder must be one that nobody else can write to.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import pickle
import tempfile
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.experimental import serialize_executable

KEPT = 24  # programs; the one that was not used for longest goes first


def path(identity: Any, devices: Sequence[jax.Device]) -> Path | None:
    """Where the program of that identity lies, or will lie; None if JAX was given no folder for its cache.

    Args:
      identity: all that decides the program besides this package, its libraries and the devices; told apart by its repr.
    """
    if not jax.config.jax_compilation_cache_dir:
        return None
    placement = [(device.platform, device.device_kind, device.id) for device in devices]
    facts = (identity, placement, jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision, _surroundings())
    return Path(jax.config.jax_compilation_cache_dir) / f"program-{hashlib.sha256(repr(facts).encode()).hexdigest()}"


@functools.cache
def _surroundings() -> tuple[str, ...]:
    """Fingerprints of this package, its libraries, XLA's flags and the processor."""
    sources = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        sources.update(file.read_bytes())
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "flax", "optax", "numpy")]
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return sources.hexdigest(), *versions, os.environ.get("XLA_FLAGS", ""), features


def kept(file: Path | None, devices: Sequence[jax.Device], compiled: Callable[[], jax.stages.Compiled]) -> jax.stages.Compiled:
    """The program in `file`, or what `compiled` gives, which is then kept there. What cannot be read or written is no error."""
    if file is None:
        return compiled()
    with contextlib.suppress(Exception):  # absent, truncated, or of a version that reads otherwise
        content = pickle.loads(zlib.decompress(file.read_bytes()))
        program = serialize_executable.deserialize_and_load(*content, execution_devices=list(devices))
        file.touch()
        return program
    _hits.count = 0
    _listen()
    program = compiled()
    if _hits.count:
        return program  # what JAX's cache gave cannot be written again: XLA would leave the machine code out
    with contextlib.suppress(OSError, ValueError, NotImplementedError, jax.errors.JaxRuntimeError):
        _write(file, zlib.compress(pickle.dumps(serialize_executable.serialize(program)), level=1))
    return program


_hits = threading.local()  # in JAX's cache, by the compilations of this thread


@functools.cache
def _listen() -> None:
    def listener(event: str, **_):
        if event == "/jax/compilation_cache/cache_hits":
            _hits.count = getattr(_hits, "count", 0) + 1

    jax.monitoring.register_event_listener(listener)


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all; then the oldest programs go."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as temporary:
        try:
            temporary.write(content)
            temporary.close()
            os.replace(temporary.name, file)
        except OSError:
            os.unlink(temporary.name)
            raise
    newest = sorted(file.parent.glob("program-*"), key=lambda f: f.stat().st_mtime, reverse=True)
    for old in newest[KEPT:]:
        old.unlink(missing_ok=True)
