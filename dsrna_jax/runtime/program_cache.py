"""Traced programs kept in the folder of JAX's compilation cache, for runs that start again.

JAX's own cache saves them the compilation but not the tracing, which is slow for a supernet (`trace_s` of
`python -m experiments.benchmark --what=search_step`). Here a program is looked up before it is traced, by a hash of the facts
that decide it. It is kept as StableHLO (`exported`), which reading does not run; its machine code is in JAX's cache. Both are
trusted only if nobody else can write to them.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import itertools
import json
import logging
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from dsrna_jax.files import replacing

MOST_BYTES = 1 << 28  # of all programs, which have 0.1 to 10 MB; the least recently used goes first
PACKAGE = Path(__file__).parents[1]
_log = logging.getLogger(__name__)


def folder() -> Path | None:
    """The folder of JAX's cache, where programs are kept; None if JAX has none, or one that others can write to."""
    config: Any = jax.config
    if not config.jax_compilation_cache_dir:
        return None
    path = Path(config.jax_compilation_cache_dir)
    with contextlib.suppress(OSError):
        if not path.exists():
            path.mkdir(parents=True, mode=0o700)
        if _is_private(path):
            return path
        _warn_of_others(path)
    return None


def path(identity: Any, devices: Sequence[Any]) -> Path | None:
    """The file of the program of that identity, written or not; None if there is no `folder`.

    Args:
      identity: all facts that decide the program besides this package, its libraries and the devices; compared by their repr.
      devices: jax.Device, those that run the program.
    """
    if (home := folder()) is None:
        return None
    placement = [(device.platform, device.device_kind, device.id) for device in devices]
    config: Any = jax.config
    facts = (identity, placement, config.jax_enable_x64, config.jax_default_matmul_precision, _surroundings())
    return home / f"program-{hashlib.sha256(repr(facts).encode()).hexdigest()}"


def read(file: Path | None) -> bytes | None:
    """The content of a program's file; None if it is absent or damaged, or if others own it or can write to it.

    Machine code in JAX's cache that has changed since is deleted: JAX would try to read it at every start. Damage is logged.
    """
    if file is None or not file.is_file():
        return None
    try:
        if not _is_private(file):
            _log.warning(
                "%s is not yours alone to write, so it is not read: delete it, or take it over (chown, chmod go-w)", file
            )
            return None
        header, _, content = file.read_bytes().partition(b"\n")
        sums = json.loads(header)
        is_whole = sums["content"] == _digest(content)
        for name, digest in sums["compiled"].items():
            entry = file.parent / Path(name).name
            if entry.is_file() and _digest(entry.read_bytes()) != digest:
                _log.warning("%s was damaged: it is deleted, and its program compiled anew", entry)
                entry.unlink()
    except OSError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        is_whole, content = False, b""
    if not is_whole:
        _log.warning("%s was damaged: its program is traced anew, and replaces it", file)
        return None
    with contextlib.suppress(OSError):
        _note_use(file)
    return content


def write(file: Path | None, content: bytes, module: str) -> None:
    """Writes a program as a whole or not at all, then deletes the least recently used ones; ignores OSErrors.

    Args:
      module: name of its compiled module, under which JAX's cache has its machine code.
    """
    if file is None:
        return
    with contextlib.suppress(OSError):
        entries = {entry.name: _digest(entry.read_bytes()) for entry in file.parent.glob(f"{module}-*-cache")}
        header = json.dumps({"content": _digest(content), "compiled": entries}).encode()
        whole = header + b"\n" + content
        if file.is_file() and file.read_bytes() == whole:
            return
        with replacing(file) as temporary:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(whole)
        _note_use(file)
        facts = [(program.stat(), program) for program in file.parent.glob("program-*")]
        newest = sorted(facts, key=lambda pair: pair[0].st_mtime_ns, reverse=True)
        sizes = itertools.accumulate(fact.st_size for fact, _ in newest)
        for (_, old), size in zip(newest, sizes, strict=True):
            if size > MOST_BYTES:
                old.unlink(missing_ok=True)


def _note_use(file: Path) -> None:
    """Dates a program by the clock itself: the time that a file system gives stands still for milliseconds."""
    now = time.time_ns()
    os.utime(file, ns=(now, now))


def _is_private(path: Path) -> bool:
    """Whether the user owns a file or folder, and nobody else may write to it."""
    facts = path.stat()
    is_own = not hasattr(os, "getuid") or facts.st_uid == os.getuid()
    return is_own and (os.name == "nt" or not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


@functools.cache
def _warn_of_others(path: Path) -> None:
    _log.warning(
        "%s is not yours alone to write, so traced programs are not kept there: close it (chmod 700), or set "
        "JAX_COMPILATION_CACHE_DIR to another folder",
        path,
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@functools.cache
def sources() -> str:
    """Fingerprint, in hexadecimal, of this package's sources."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


@functools.cache
def _surroundings() -> tuple[str, ...]:
    """Fingerprints of this package's sources, its libraries, XLA's flags and the processor."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "flax", "optax", "numpy")]
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return sources(), *versions, os.environ.get("XLA_FLAGS", ""), features
