"""Checked signatures, a cache of compiled programs and finished runs, which tests share."""

import os
import shutil
import signal
import tempfile
from importlib.metadata import version

import jaxtyping
import pytest

# Programs of tests run once: XLA is to compile fast, not to make fast programs. `XLA_FLAGS= pytest` compiles as users do.
flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if version("jaxlib").startswith("0.10."):  # the last release with older emitters, which take 40 % less time
    flags += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", flags)
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")  # as a notebook of a careful user may have it

# Of a process that is started by nohup, or behind &, these are ignored, and so they would be in the processes that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

pytest_plugins = ["compared_runs", "tiny_training"]  # fixtures of several files of tests

jaxtyping.install_import_hook("dsrna_jax", "typechecking.checked")  # costs a tenth of the time that tracing takes


def pytest_configure(config):
    """Keeps what one test compiles for the next ones, also for the processes that tests start."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="dsrna_jax-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


@pytest.fixture
def unchecked_signatures():
    """Signatures that are not checked, for tests of our own messages about arrays that a signature excludes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """The run folder of the preset `smoke`, never interrupted, and what the run said."""
    import io

    from dsrna_jax.commands.presets import PRESETS
    from dsrna_jax.search.run import run

    path, said = tmp_path_factory.mktemp("smoke") / "run", io.StringIO()
    run(PRESETS["smoke"], path, devices=1, file=said)
    return path, said.getvalue()


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """The run folder of a small training on the digits: a network for attacks and certificates."""
    import io

    from dsrna_jax import genotypes
    from dsrna_jax.training import run as training_run
    from dsrna_jax.training.config import TrainingConfig

    folder, cell = tmp_path_factory.mktemp("trained"), (("sep_conv_3x3", 0), ("skip_connect", 1))
    genotypes.save(genotypes.Genotype(cell, (2,), cell, (2,)), folder / "tiny.json")
    size = {"cells": 3, "channels": 4, "auxiliary_weight": 0.0, "epochs": 6, "batch_size": 64}
    config = TrainingConfig(genotype=str(folder / "tiny.json"), **size)
    training_run.run(config, folder / "run", devices=1, file=io.StringIO())
    return folder / "run"
