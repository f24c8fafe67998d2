"""Compiled programs kept in the folder of JAX's compilation cache, for runs that start again.

JAX's own cache spares them XLA but not the tracing, which for a supernet takes half a minute. Here a program is looked up before
it is traced, by a hash of all that decides it. Like that cache, the folder must be one that nobody else can write to.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import pickle
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.experimental import serialize_executable

from dsrna_jax.files import replacing

KEPT = 24  # programs; the least recently used goes first
PACKAGE = Path(__file__).parents[1]
_CACHE_HIT = "/jax/compilation_cache/cache_hits"  # of JAX's monitoring, which does not document it; a test tells if it changes


def path(identity: Any, devices: Sequence[Any]) -> Path | None:
    """The file of the program of that identity, written or not; None if JAX was given no folder for its cache.

    Args:
      identity: all that decides the program besides this package, its libraries and the devices; told apart by its repr.
      devices: jax.Device, those that run the program.
    """
    config: Any = jax.config
    if not config.jax_compilation_cache_dir:
        return None
    placement = [(device.platform, device.device_kind, device.id) for device in devices]
    facts = (identity, placement, config.jax_enable_x64, config.jax_default_matmul_precision, _surroundings())
    return Path(config.jax_compilation_cache_dir) / f"program-{hashlib.sha256(repr(facts).encode()).hexdigest()}"


def kept(file: Path | None, devices: Sequence[Any], compiled: Callable[[], jax.stages.Compiled]) -> jax.stages.Compiled:
    """The program in `file`, or else the result of `compiled`, which is then written there; nothing is kept without a file.

    A file that cannot be read or written is no error. A program from JAX's own cache is not written: XLA would leave its
    machine code out.
    """
    if file is None:
        return compiled()
    with contextlib.suppress(Exception):  # absent, truncated, or written by a version with another format
        content = pickle.loads(zlib.decompress(file.read_bytes()))
        program = serialize_executable.deserialize_and_load(*content, execution_devices=list(devices))
        file.touch()
        return program
    with counted_cache_hits() as hits:
        program = compiled()
    if not hits:
        with contextlib.suppress(OSError, ValueError, NotImplementedError, jax.errors.JaxRuntimeError):
            _write(file, zlib.compress(pickle.dumps(serialize_executable.serialize(program)), level=1))
    return program


@contextlib.contextmanager
def counted_cache_hits() -> Iterator[list[str]]:
    """Yields a list that grows by an entry for each program that JAX's own cache gives to this thread inside the block."""
    _listen()
    _hits.list = []
    try:
        yield _hits.list
    finally:
        del _hits.list


_hits = threading.local()


@functools.cache
def _listen() -> None:
    """Registers, once in a process, the listener that fills the lists of `counted_cache_hits`."""

    def listener(event: str, **_):
        if event == _CACHE_HIT and hasattr(_hits, "list"):
            _hits.list.append(event)

    jax.monitoring.register_event_listener(listener)


@functools.cache
def _surroundings() -> tuple[str, ...]:
    """Fingerprints of this package's sources, its libraries, XLA's flags and the processor."""
    sources = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        sources.update(file.read_bytes())
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "flax", "optax", "numpy")]
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return sources.hexdigest(), *versions, os.environ.get("XLA_FLAGS", ""), features


def _write(file: Path, content: bytes) -> None:
    """Writes a program as a whole or not at all, then deletes those that have not been used for longest."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_bytes(content)
    newest = sorted(file.parent.glob("program-*"), key=lambda f: f.stat().st_mtime, reverse=True)
    for old in newest[KEPT:]:
        old.unlink(missing_ok=True)
