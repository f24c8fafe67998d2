"""Two devices compute what one computes; their number and their memory are checked."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from dsrna_jax.bounds.explanation import free_memory, memory_of_device
from dsrna_jax.errors import InputError
from dsrna_jax.runtime import memory, sharding


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


@pytest.mark.parametrize("chosen", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_two_devices_compute_what_one_computes(chosen):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--quiet",
        "-p",
        "no:cacheprovider",
        "-m",
        chosen,
        "tests/helpers/on_two_devices.py",
    ]
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
