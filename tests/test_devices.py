"""Two devices end as one does; their number and their memory are checked."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from smoke_run import SMOKE

from dsrna_jax.bounds.explanation import free_memory, memory_of_device
from dsrna_jax.errors import InputError
from dsrna_jax.runtime import compilation, memory, sharding
from dsrna_jax.runtime.device_data import on_devices
from dsrna_jax.search.programs import arguments, search_programs
from dsrna_jax.search.setup import search_setup


def test_peak_memory_of_a_chain_is_that_of_three_of_its_arrays():
    """x, its sine and the sine's cosine never live all three with another: argument, one result and the next."""

    def chain(x):
        return jnp.sum(jnp.exp(jnp.cos(jnp.sin(x))))

    assert memory.peak_bytes(chain, jnp.zeros(1000)) == 3 * 4000
    assert memory.peak_bytes(jax.jit(chain), jnp.zeros(1000)) == pytest.approx(3 * 4000, abs=8)


def test_all_processes_refuse_bounds_by_the_least_free_memory_of_their_devices(monkeypatch):
    monkeypatch.setattr(memory, "current", lambda: SimpleNamespace(gathered=lambda value: [value, 1000, None]))
    with memory_of_device(2000), memory.memory_of(sharding.mesh(1)):
        assert free_memory() == 1000


def test_a_batch_that_does_not_divide_among_devices_is_refused():
    mesh = SimpleNamespace(size=3)
    sharding.check_divides(63, mesh)
    with pytest.raises(InputError, match="batch_size=64 does not divide among 3 devices: .* 63 or 66"):
        sharding.check_divides(64, mesh)


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(InputError, match="devices=99: expected 1 to"):
        sharding.mesh(99)


def three_steps(devices):
    """Weights, alphas and batch statistics after three steps of the preset `smoke`, alphas included."""
    setup, mesh = search_setup(SMOKE), sharding.mesh(devices)
    data, programs = on_devices(setup.data, mesh), search_programs(setup.functions, mesh)
    compiled = compilation.compiled(programs, arguments(setup, mesh), mesh, setup.identity)
    state = compilation.initial_state(setup.functions.init, 0, mesh)
    key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
    for step in range(3):
        halves = ("search_train", "search_val")
        train, val = (jax.device_put(setup.batch(half, step), sharding.split(mesh)) for half in halves)
        assert len(train.sharding.device_set) == devices
        state, _ = compiled.alpha_step.result()(state, data, train, val, key)
        state, _ = compiled.weight_step.result()(state, data, train, key)
    trees = {"weights": state.weights, "alphas": state.alphas, "batch_stats": state.batch_stats}
    return {name: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for name, tree in trees.items()}


@pytest.mark.slow
def test_two_devices_equal_one(tmp_path):
    code = "import sys, numpy, test_devices; numpy.savez(sys.argv[1], **test_devices.three_steps(2))"
    path = os.pathsep.join(str(folder) for folder in (Path(__file__).parent, Path(__file__).parent.parent))
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code, tmp_path / "two.npz"], env=os.environ | flags, check=True)
    two = np.load(tmp_path / "two.npz")
    for name, one in three_steps(1).items():
        assert np.abs(one - two[name]).max() < 2e-5 * np.abs(one).max(), name
