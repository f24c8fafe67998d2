"""The frame of all tests: how programs are compiled, a cache of them, and checked signatures."""

import gc
import itertools
import os
import shutil
import signal
from importlib.metadata import version
from pathlib import Path

import jaxtyping
import pytest

# Programs of tests run once: XLA is to compile fast, not to make fast programs. `XLA_FLAGS= pytest` compiles as users do.
flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
flags += " --xla_cpu_parallel_codegen_split_count=1"  # a program's code in one piece, which takes 20 % less CPU time than 32
flags += " --xla_backend_extra_options=xla_cpu_disable_loop_unrolling=true"  # as searches do, so that they find their programs
if version("jaxlib").startswith("0.10."):  # the last release with older emitters, which take 40 % less time
    flags += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", flags)
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")  # as a notebook of a careful user may have it

# What one test compiles others load, also in processes that tests start and in later runs. JAX reads this when it is imported.
ROOT = Path(__file__).parents[1]
PROGRAMS = ROOT / "build" / "test_programs"
MOST_BYTES = 1 << 30  # one run adds at most 100 MB, once for each version of the sources
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(PROGRAMS))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

# Of a process that is started by nohup, or behind &, these are ignored, and so they would be in the processes that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

pytest_plugins = ["checkpoint_states", "compared_runs", "finished_runs"]  # fixtures of several files of tests

# Tracing makes many objects, and most of them stay: a process of the suite spent a tenth of its time on looking for garbage.
gc.set_threshold(100_000, 50, 100)

# Signatures of arrays are checked; modules without any are left alone, since every call of a wrapped function takes time.
ANNOTATED = [file for file in (ROOT / "dsrna_jax").rglob("*.py") if "from jaxtyping import" in file.read_text(encoding="utf-8")]
jaxtyping.install_import_hook(
    [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in ANNOTATED], "typechecking.checked"
)


def pytest_configure(config):
    """Makes the folder of compiled programs, anew where it has grown large. Gives each process of a suite its share of the cores.

    With threads on the core of another process, what two processes run takes 6 % longer.
    """
    is_worker = hasattr(config, "workerinput")
    if is_worker and hasattr(os, "sched_setaffinity"):
        count, number = config.workerinput["workercount"], int(config.workerinput["workerid"].removeprefix("gw"))
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[number % len(cores) :: count] or cores)
    if not is_worker and sum(file.stat().st_size for file in PROGRAMS.rglob("*") if file.is_file()) > MOST_BYTES:
        shutil.rmtree(PROGRAMS)
    PROGRAMS.mkdir(parents=True, mode=0o700, exist_ok=True)  # programs that others could write are not run


_finished_files = itertools.count(1)


def pytest_runtest_teardown(item, nextitem):
    """Forgets all programs after every eighth file: JAX keeps the MLIR context of each, and the next is made the slower."""
    if nextitem is not None and nextitem.path != item.path and next(_finished_files) % 8 == 0:
        import jax

        jax.clear_caches()


def pytest_sessionfinish():
    """Keeps pytest from looking for garbage in gigabytes that end with the process."""
    gc.freeze()


@pytest.fixture
def unchecked_signatures():
    """Signatures that are not checked, for tests of our own messages about arrays that a signature excludes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
